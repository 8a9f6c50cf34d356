package sequencelayers

// #include "calls.h"
// #include <stdlib.h>
import "C"

import (
	"runtime"
	"unsafe"
)

// StateOptions are sizes and inputs of a stream; the zero value is one stream of one float32 a step, one block a call.
type StateOptions struct {
	Batch     int
	MaxSteps  int         // maximum of input steps in one call
	MaxLength int         // maximum of input steps of the whole stream; 0: it has no end
	Input     ChannelSpec // content of a step of x
	Constants *Constants  // their shapes, with a streamed one as long as goes with MaxSteps
}

// State is a stream through a model.
type State struct {
	exclusive
	layer   *Layer
	raw     *C.sl_state
	err     *C.sl_error
	options StateOptions
}

// NewState makes a stream at its start; options may be nil.
func (l *Layer) NewState(options *StateOptions) (*State, error) {
	s := &State{layer: &Layer{model: l.model}} // open as long as the state, whenever the caller closes l
	if options != nil {
		s.options = *options
	}
	spec, err := s.options.Input.raw()
	if err != nil {
		return nil, err
	}
	raw := (*C.sl_state_options)(calloc(C.sizeof_sl_state_options))
	defer C.free(unsafe.Pointer(raw))
	raw.batch, raw.max_steps, raw.max_length = C.int64_t(s.options.Batch), C.int64_t(s.options.MaxSteps),
		C.int64_t(s.options.MaxLength)
	raw.input = spec
	raw.constants, raw.num_constants = s.options.Constants.view()
	if err := l.take(); err != nil {
		return nil, err
	}
	s.err = newError()
	if err := check(C.sl_state_alloc(l.raw, raw, &s.raw, s.err), s.err); err != nil {
		C.free(unsafe.Pointer(s.err))
		l.release()
		return nil, err
	}
	runtime.SetFinalizer(s, func(s *State) { s.Close() })
	return s, nil
}

// Close frees the stream; it fails while another goroutine uses it.
func (s *State) Close() error {
	if ended, err := s.end(); !ended {
		return err
	}
	runtime.SetFinalizer(s, nil)
	C.sl_state_free(s.raw)
	C.free(unsafe.Pointer(s.err))
	s.layer.release()
	return nil
}

func (s *State) number() C.uintptr_t { return C.uintptr_t(uintptr(unsafe.Pointer(s.raw))) }

func (s *State) do(call func() C.sl_status) error {
	return s.call(s.err, call)
}

// Step runs the next block of the stream into y. Constants are those of the options, emits those of NewEmits; both may
// be nil. It allocates nothing.
func (s *State) Step(x, y *Tensor, constants *Constants, emits *Emits) error {
	if err := s.enter(); err != nil {
		return err
	}
	values, count := constants.view()
	places, number := emits.view()
	status := C.slgo_step(s.layer.number(), s.number(), x.raw, y.raw, values, count, places, number, s.err)
	runtime.KeepAlive(x)
	runtime.KeepAlive(y)
	runtime.KeepAlive(constants)
	runtime.KeepAlive(emits)
	err := check(status, s.err)
	s.leave()
	return err
}

// NewEmits makes room for the auxiliary outputs of a step over x.
func (s *State) NewEmits(x *Tensor, constants *Constants) (*Emits, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	return s.layer.newEmits(StepMode, x, constants, s.raw)
}

// Reset sets the stream back to its start.
func (s *State) Reset() error {
	return s.do(func() C.sl_status { return C.sl_state_reset(s.raw, s.err) })
}

// ResetItem sets one item of the batch back to its start.
func (s *State) ResetItem(item int) error {
	return s.do(func() C.sl_status { return C.sl_state_reset_item(s.raw, C.int64_t(item), s.err) })
}

// CopyFrom makes this stream continue where another one stands, of the same layer and options.
func (s *State) CopyFrom(source *State) error {
	return s.from(source, func() C.sl_status { return C.sl_state_copy(s.raw, source.raw, s.err) })
}

// CopyItemFrom makes an item continue where one of the source stands.
func (s *State) CopyItemFrom(item int, source *State, sourceItem int) error {
	return s.from(source, func() C.sl_status {
		return C.sl_state_copy_item(s.raw, C.int64_t(item), source.raw, C.int64_t(sourceItem), s.err)
	})
}

func (s *State) from(source *State, call func() C.sl_status) error {
	if source == s {
		return s.do(call)
	}
	if err := source.enter(); err != nil {
		return err
	}
	defer source.leave()
	return s.do(call)
}

// Fork makes a further stream that continues where this one stands.
func (s *State) Fork() (*State, error) {
	fork, err := s.layer.NewState(&s.options)
	if err != nil {
		return nil, err
	}
	if err := fork.CopyFrom(s); err != nil {
		fork.Close()
		return nil, err
	}
	return fork, nil
}

// Save is the stream as bytes, for Load in this or another process.
func (s *State) Save() ([]byte, error) {
	var out []byte
	err := s.do(func() C.sl_status {
		out = make([]byte, C.sl_state_save_size(s.raw))
		return C.sl_state_save(s.raw, unsafe.Pointer(&out[0]), C.size_t(len(out)), s.err)
	})
	return out, err
}

// Load makes the stream continue where the saved one stood.
func (s *State) Load(saved []byte) error {
	if len(saved) == 0 {
		return &Error{BadState, "a saved state has bytes"}
	}
	return s.do(func() C.sl_status {
		return C.sl_state_load(s.raw, unsafe.Pointer(&saved[0]), C.size_t(len(saved)), s.err)
	})
}

// Stepper steps a stream block after block of one size, with buffers of its own. It serves one goroutine at a time.
type Stepper struct {
	state     *State
	Input     *Tensor // the next block, [batch, time, channels...]
	Output    *Tensor // the last step's output
	constants *Constants
	emits     *Emits
}

// NewStepper makes buffers for blocks of that many steps. Constants, whose values the steps read in place, are those of
// the state's options, with the share of a block of a streamed one.
func (s *State) NewStepper(steps int, constants *Constants) (*Stepper, error) {
	batch := s.options.Batch
	if batch == 0 {
		batch = 1
	}
	x, err := NewSequence(s.options.Input.DType, append([]int{batch, steps}, s.options.Input.Shape...)...)
	if err != nil {
		return nil, err
	}
	y, err := s.layer.NewOutput(StepMode, x, constants)
	if err != nil {
		return nil, err
	}
	return &Stepper{s, x, y, constants, nil}, nil
}

// WithEmits has the auxiliary outputs written, which it returns.
func (p *Stepper) WithEmits() (*Emits, error) {
	emits, err := p.state.NewEmits(p.Input, p.constants)
	p.emits = emits
	return emits, err
}

// State is the stream, to reset, save or copy it.
func (p *Stepper) State() *State { return p.state }

// Step runs the block in Input into Output. It allocates nothing.
func (p *Stepper) Step() error { return p.state.Step(p.Input, p.Output, p.constants, p.emits) }

// Process runs a block of the caller's, which is not copied. What it returns is Output's memory. It allocates nothing.
func (p *Stepper) Process(block []float32) ([]float32, error) {
	if p.Input.DType() != Float32 || p.Output.DType() != Float32 || len(block) != p.Input.size() || len(block) == 0 {
		return nil, &Error{Shape, "a block is float32, and of the size of the stepper's"}
	}
	s := p.state
	if err := s.enter(); err != nil {
		return nil, err
	}
	values, count := p.constants.view()
	places, number := p.emits.view()
	samples := (*C.char)(unsafe.Pointer(&block[0]))
	status := C.slgo_process(s.layer.number(), s.number(), p.Input.raw, samples, p.Output.raw, values, count, places, number, s.err)
	runtime.KeepAlive(p)
	err := check(status, s.err)
	s.leave()
	if err != nil {
		return nil, err
	}
	return p.Output.Float32s(), nil
}

// Close frees the stream and the buffers.
func (p *Stepper) Close() error {
	if err := p.state.Close(); err != nil {
		return err
	}
	p.Input.Close()
	p.Output.Close()
	return nil
}
