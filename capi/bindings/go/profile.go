package sequencelayers

// #include "calls.h"
// #include <stdlib.h>
import "C"

import (
	"encoding/json"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// Profile is what each layer costs in the runs that are recorded in it: those of a [State] or [Decoder] that was told to
// Record, and [Layer.ApplyRecorded]. They take place on one thread, and allocate. It serves one goroutine at a time.
type Profile struct {
	exclusive
	raw    *C.sl_profile
	err    *C.sl_error
	users  int32
	closed int32
}

// LayerCost is the sums of a layer's calls, without those of the layers within it.
type LayerCost struct {
	Path, Type  string
	Parent      *int // the index of the layer that called it; nil for the model
	Calls       int64
	SelfSeconds float64 `json:"self_seconds"`
	FLOP        float64 // multiplications, additions and elementwise functions
	Bytes       float64 // of kernels and, for layers without children, of input and output
	FoldedInto  *int    `json:"folded_into"` // the index of the layer whose kernel does this one's work; nil otherwise
}

// NewProfile makes a profile of nothing.
func NewProfile() (*Profile, error) {
	p := &Profile{err: newError(), users: 1}
	if err := check(C.sl_profile_create(&p.raw, p.err), p.err); err != nil {
		C.free(unsafe.Pointer(p.err))
		return nil, err
	}
	runtime.SetFinalizer(p, func(p *Profile) { p.Close() })
	return p, nil
}

// Close frees the profile when no state and no decoder records in it.
func (p *Profile) Close() error {
	if atomic.CompareAndSwapInt32(&p.closed, 0, 1) {
		runtime.SetFinalizer(p, nil)
		p.release()
	}
	return nil
}

func (p *Profile) release() {
	if p != nil && atomic.AddInt32(&p.users, -1) == 0 {
		C.sl_profile_free(p.raw)
		C.free(unsafe.Pointer(p.err))
	}
}

func (p *Profile) take() error {
	if p != nil {
		if atomic.LoadInt32(&p.closed) != 0 {
			return invalid("the profile is closed")
		}
		atomic.AddInt32(&p.users, 1)
	}
	return nil
}

// enter admits a recorded run; none is recorded in nil.
func (p *Profile) enter() error {
	if p == nil {
		return nil
	}
	return p.exclusive.enter()
}

func (p *Profile) leave() {
	if p != nil {
		p.exclusive.leave()
	}
}

func (p *Profile) number() C.uintptr_t {
	if p == nil {
		return 0
	}
	return number(unsafe.Pointer(p.raw))
}

func (p *Profile) do(call func() C.sl_status) error {
	if err := p.take(); err != nil {
		return err
	}
	defer p.release()
	return p.call(p.err, call)
}

// Reset forgets what was recorded.
func (p *Profile) Reset() error {
	return p.do(func() C.sl_status { return C.sl_profile_reset(p.raw, p.err) })
}

// Describe is the costs of the layers, in the order of their first calls.
func (p *Profile) Describe() ([]LayerCost, error) {
	var costs struct{ Layers []LayerCost }
	var text string
	err := p.do(func() C.sl_status {
		var needed C.size_t
		if status := C.sl_profile_describe(p.raw, nil, 0, &needed, p.err); status != C.SL_STATUS_OK {
			return status
		}
		buffer := (*C.char)(calloc(uintptr(needed)))
		defer C.free(unsafe.Pointer(buffer))
		status := C.sl_profile_describe(p.raw, buffer, needed, &needed, p.err)
		text = C.GoString(buffer)
		return status
	})
	if err == nil {
		err = json.Unmarshal([]byte(text), &costs)
	}
	return costs.Layers, err
}

// extras is what a run reads and writes beside x and y.
func extras(constants *Constants, emits *Emits, profile *Profile) C.slgo_extras {
	out := C.slgo_extras{profile: profile.number()}
	if constants != nil {
		out.constants = number(unsafe.Pointer(constants.raw))
		out.num_constants = C.int64_t(len(constants.values))
	}
	if emits != nil {
		out.emits = number(unsafe.Pointer(emits.raw))
		out.num_emits = C.int64_t(len(emits.Tensors))
	}
	return out
}
