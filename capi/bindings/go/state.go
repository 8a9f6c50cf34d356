package sequencelayers

// #include "calls.h"
// #include <stdlib.h>
import "C"

import (
	"fmt"
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
	streams
	layer   *Layer
	raw     *C.sl_state
	slots   *C.int64_t // room for the numbers of a call
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
	s.slots = (*C.int64_t)(calloc(uintptr(8 * s.batch())))
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
	C.free(unsafe.Pointer(s.slots))
	s.profile.release()
	s.layer.release()
	return nil
}

func (s *State) batch() int {
	if s.options.Batch == 0 {
		return 1
	}
	return s.options.Batch
}

// writeSlots puts the numbers of slots where C reads them, which has room for as many as there are in all.
func writeSlots(room *C.int64_t, size int, slots []int) error {
	if len(slots) > size {
		return invalid("there are fewer slots")
	}
	for i, slot := range slots {
		unsafe.Slice(room, size)[i] = C.int64_t(slot)
	}
	return nil
}

func (s *State) number() C.uintptr_t { return number(unsafe.Pointer(s.raw)) }

// Step runs the next block of the stream into y. Constants are those of the options, emits those of NewEmits; both may
// be nil. It allocates nothing.
func (s *State) Step(x, y *Tensor, constants *Constants, emits *Emits) error {
	if err := s.enterRun(); err != nil {
		return err
	}
	status := C.slgo_step(s.layer.number(), s.number(), x.raw, y.raw, extras(constants, emits, s.profile), s.err)
	runtime.KeepAlive(x)
	runtime.KeepAlive(y)
	runtime.KeepAlive(constants)
	runtime.KeepAlive(emits)
	err := check(status, s.err)
	s.leaveRun()
	return err
}

// StepSlots runs the next block of some of the streams, the different items of the batch that slots names, in any order:
// x, y, constants and emits have their items in that order. All other streams stay as they are. It allocates nothing.
func (s *State) StepSlots(slots []int, x, y *Tensor, constants *Constants, emits *Emits) error {
	if err := s.enterRun(); err != nil {
		return err
	}
	err := writeSlots(s.slots, s.batch(), slots)
	if err == nil {
		status := C.slgo_step_slots(s.layer.number(), s.number(), s.slots, C.int64_t(len(slots)), x.raw, y.raw,
			extras(constants, emits, s.profile), s.err)
		err = check(status, s.err)
	}
	runtime.KeepAlive(x)
	runtime.KeepAlive(y)
	runtime.KeepAlive(constants)
	runtime.KeepAlive(emits)
	s.leaveRun()
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
	return s.from(&source.streams, func() C.sl_status { return C.sl_state_copy(s.raw, source.raw, s.err) })
}

// CopyItemFrom makes an item continue where one of the source stands.
func (s *State) CopyItemFrom(item int, source *State, sourceItem int) error {
	return s.from(&source.streams, func() C.sl_status {
		return C.sl_state_copy_item(s.raw, C.int64_t(item), source.raw, C.int64_t(sourceItem), s.err)
	})
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
	size := func() C.size_t { return C.sl_state_save_size(s.raw) }
	return s.save(size, func(out unsafe.Pointer, size C.size_t) C.sl_status {
		return C.sl_state_save(s.raw, out, size, s.err)
	})
}

// Load makes the stream continue where the saved one stood.
func (s *State) Load(saved []byte) error {
	return s.restore("state", saved, func(from unsafe.Pointer, size C.size_t) C.sl_status {
		return C.sl_state_load(s.raw, from, size, s.err)
	})
}

// SaveItem is one item of the batch as bytes, which a state of batch 1 loads too, and saves.
func (s *State) SaveItem(item int) ([]byte, error) {
	size := func() C.size_t { return C.sl_state_save_item_size(s.raw) }
	return s.save(size, func(out unsafe.Pointer, size C.size_t) C.sl_status {
		return C.sl_state_save_item(s.raw, C.int64_t(item), out, size, s.err)
	})
}

// LoadItem makes one item continue where the saved one stood; the others continue as they are.
func (s *State) LoadItem(item int, saved []byte) error {
	return s.restore("item", saved, func(from unsafe.Pointer, size C.size_t) C.sl_status {
		return C.sl_state_load_item(s.raw, C.int64_t(item), from, size, s.err)
	})
}

// StateTensor is a copy of one of the tensors that make up a state.
type StateTensor struct {
	Name  string
	Value *Tensor // an array
}

// Tensors are copies of those that make up the state, to print and check it.
func (s *State) Tensors() ([]StateTensor, error) {
	var out []StateTensor
	err := s.eachTensor(func(name string, view *C.sl_sequence) error {
		value, err := arrayOf(view)
		out = append(out, StateTensor{name, value})
		return err
	})
	return out, err
}

// SetTensor sets a tensor of the state, such as a carry, to a value of its dtype and dims. Integers are indices, which
// only the library changes.
func (s *State) SetTensor(name string, value *Tensor) error {
	found := false
	err := s.eachTensor(func(known string, view *C.sl_sequence) error {
		if known != name {
			return nil
		}
		found = true
		target := &Tensor{raw: view}
		if target.DType() == Int32 || target.DType() == Int8 || target.DType() == Bool {
			return &Error{Unsupported, "the state tensor " + name + " is an index"}
		}
		if target.DType() != value.DType() || fmt.Sprint(target.Dims()) != fmt.Sprint(value.Dims()) {
			return &Error{Shape, fmt.Sprintf("the state tensor is %v %v", target.DType(), target.Dims())}
		}
		C.slgo_copy(value.raw, view)
		runtime.KeepAlive(value)
		return nil
	})
	if err == nil && !found {
		err = invalid("no state tensor " + name)
	}
	return err
}

func (s *State) eachTensor(use func(name string, view *C.sl_sequence) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	view := (*C.sl_sequence)(calloc(C.sizeof_sl_sequence))
	defer C.free(unsafe.Pointer(view))
	for i := C.int64_t(0); i < C.sl_state_tensor_count(s.raw); i++ {
		var name *C.char
		if err := check(C.sl_state_tensor(s.raw, i, &name, view, s.err), s.err); err != nil {
			return err
		}
		if err := use(C.GoString(name), view); err != nil {
			return err
		}
	}
	return nil
}

// Stepper steps a stream block after block of one size, with buffers of its own. It serves one goroutine at a time.
type Stepper struct {
	state     *State
	Input     *Tensor // the next block, [batch, time, channels...]
	Output    *Tensor // the last step's output
	constants *Constants
	emits     *Emits
	room      *room
}

// room has structs for constants and emits of fewer items.
type room struct{ extras C.slgo_extras }

func newRoom(constants *Constants, emits *Emits) *room {
	r := &room{extras(constants, emits, nil)}
	sizes := []uintptr{uintptr(r.extras.num_constants) * C.sizeof_sl_constant, uintptr(r.extras.num_emits) * C.sizeof_sl_sequence}
	memory := calloc(sizes[0] + sizes[1])
	r.extras.constants = C.uintptr_t(uintptr(memory))
	r.extras.emits = r.extras.constants + C.uintptr_t(sizes[0])
	runtime.SetFinalizer(r, func(*room) { C.free(memory) })
	return r
}

// NewStepper makes buffers for blocks of that many steps. Constants, whose values the steps read in place, are those of
// the state's options, with the share of a block of a streamed one.
func (s *State) NewStepper(steps int, constants *Constants) (*Stepper, error) {
	x, err := NewSequence(s.options.Input.DType, append([]int{s.batch(), steps}, s.options.Input.Shape...)...)
	if err != nil {
		return nil, err
	}
	y, err := s.layer.NewOutput(StepMode, x, constants)
	if err != nil {
		return nil, err
	}
	return &Stepper{s, x, y, constants, nil, newRoom(constants, nil)}, nil
}

// WithEmits has the auxiliary outputs written, which it returns.
func (p *Stepper) WithEmits() (*Emits, error) {
	emits, err := p.state.NewEmits(p.Input, p.constants)
	p.emits, p.room = emits, newRoom(p.constants, emits)
	return emits, err
}

// State is the stream, to reset, save or copy it.
func (p *Stepper) State() *State { return p.state }

// Step runs the block in Input into Output. It allocates nothing.
func (p *Stepper) Step() error { return p.state.Step(p.Input, p.Output, p.constants, p.emits) }

// StepSlots runs the next block of some of the streams, in any order; all others stay as they are. Input, Output, emits and
// constants have the items of these slots first, in that order. It allocates nothing.
func (p *Stepper) StepSlots(slots []int) error {
	s := p.state
	if err := s.enterRun(); err != nil {
		return err
	}
	err := writeSlots(s.slots, s.batch(), slots)
	if err == nil {
		status := C.slgo_step_first(s.layer.number(), s.number(), s.slots, C.int64_t(len(slots)), p.Input.raw, p.Output.raw,
			extras(p.constants, p.emits, s.profile), p.room.extras, s.err)
		err = check(status, s.err)
	}
	runtime.KeepAlive(p)
	s.leaveRun()
	return err
}

// Process runs a block of the caller's, which is not copied. What it returns is Output's memory. It allocates nothing.
func (p *Stepper) Process(block []float32) ([]float32, error) {
	if p.Input.DType() != Float32 || p.Output.DType() != Float32 || len(block) != p.Input.size() || len(block) == 0 {
		return nil, &Error{Shape, "a block is float32, and of the size of the stepper's"}
	}
	s := p.state
	if err := s.enterRun(); err != nil {
		return nil, err
	}
	samples := (*C.char)(unsafe.Pointer(&block[0]))
	status := C.slgo_process(s.layer.number(), s.number(), p.Input.raw, samples, p.Output.raw,
		extras(p.constants, p.emits, s.profile), s.err)
	runtime.KeepAlive(p)
	err := check(status, s.err)
	s.leaveRun()
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
