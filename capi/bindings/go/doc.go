// Package sequencelayers runs streamable sequence models, trained in JAX with Google's SequenceLayers, on CPUs: whole
// sequences at once, or streams step by step with the same result. It calls libsequence_layers, which must be installed
// where pkg-config finds it.
//
// # Threads
//
// A [Layer] serves any number of goroutines at once. A [State], [Stepper], [Decoder] or [Profile] serves one at a time; a second
// one inside it gets an [Error]. A [Tensor], [Constants] or [Emits] belongs to the calls that it is given to.
//
// # Memory
//
// Close frees a handle at once, and a finalizer frees what is forgotten. The order does not matter: a layer that is
// closed before its states lives on in them. A [Tensor] is memory of C, used in place: slices of it are valid while the
// tensor is reachable and not closed.
//
// # Real time
//
// [Stepper.Step], [Stepper.StepSlots], [Stepper.Process], [State.Step], [State.StepSlots], [Decoder.Sample] and
// [Decoder.SampleSlots] allocate nothing, unless they fail or are recorded in a [Profile].
//
// # Why cgo
//
// A step of a model that does nearly nothing, measured side by side on a loaded machine: 221 ns and no allocation by
// cgo; 1099 ns and one allocation by purego 0.9.1; 6790 ns and two allocations by purego 0.10.2, the last version for
// Go 1.19. A step must not allocate.
package sequencelayers
