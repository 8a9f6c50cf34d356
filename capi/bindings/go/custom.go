package sequencelayers

// #include "calls.h"
// #include <stdlib.h>
import "C"

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/cgo"
	"sync"
	"unsafe"
)

// Unbounded is an end of a receptive field without a bound, and -Unbounded such a start.
const Unbounded = math.MaxInt64

// Properties are those of a custom layer; the zero value is a pointwise layer without state.
type Properties struct {
	LayerWiseOnly               bool
	BlockSize                   int    // 0: 1
	OutputRatio                 [2]int // numerator and denominator; 0: 1
	InputLatency                int
	OutputLatency               int // 0: InputLatency times the ratio; negative: none
	FieldStart, FieldEnd        int64
	ReadsInvalid, CountsInvalid bool // whether the values or the number of invalid steps matter
}

// CustomLayer is a layer written in Go. Any number of goroutines may call it at once. Tensors and states are borrowed
// for the call. A panic becomes an error.
type CustomLayer interface {
	Properties() (Properties, error)
	OutputSpec(input ChannelSpec) (ChannelSpec, error) // asked once for an input
	StateSize(input ChannelSpec) (int, error)          // bytes of one item of a batch, which start as zeros; asked once
	Layer(x, y *Tensor) error                          // runs a whole sequence
	Step(state []byte, x, y *Tensor) error             // runs a block; state is that of all items, one after another
}

// WeightSource gives a custom layer the tensors that belong to it, while it is made.
type WeightSource struct{ raw *C.sl_weight_source }

// Find is a copy of the tensor of that name under the layer's own path, of the collection "params".
func (w *WeightSource) Find(name string) (*Tensor, error) {
	if w.raw == nil {
		return nil, invalid("weights are given while a layer is made only")
	}
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	return copied(func(view *C.sl_sequence, e *C.sl_error) C.sl_status {
		return C.sl_weight_source_find(w.raw, nil, text, view, e)
	})
}

// Factory makes a custom layer of its JSON object and its weights.
type Factory func(config string, weights *WeightSource) (CustomLayer, error)

// maker is alive as long as the registry or a model that was made with it.
type maker struct {
	create Factory
	handle cgo.Handle
}

// Registry is the layer types that a model may be made of.
type Registry struct {
	lock   sync.RWMutex
	raw    *C.sl_registry
	makers []*maker
}

// NewRegistry makes one of the built-in layers.
func NewRegistry() (*Registry, error) {
	r := &Registry{}
	e := newError()
	defer C.free(unsafe.Pointer(e))
	if err := check(C.sl_registry_create(&r.raw, e), e); err != nil {
		return nil, err
	}
	runtime.SetFinalizer(r, func(r *Registry) { r.Close() })
	return r, nil
}

// Close frees the registry; layers made with it live on.
func (r *Registry) Close() error {
	r.lock.Lock()
	defer r.lock.Unlock()
	runtime.SetFinalizer(r, nil)
	C.sl_registry_free(r.raw)
	r.raw = nil
	return nil
}

// Add makes a custom layer usable as a type in any config.
func (r *Registry) Add(layerType string, create Factory) error {
	r.lock.Lock()
	defer r.lock.Unlock()
	name := C.CString(layerType)
	defer C.free(unsafe.Pointer(name))
	e := newError()
	defer C.free(unsafe.Pointer(e))
	m := &maker{create: create}
	m.handle = cgo.NewHandle(create)
	if err := check(C.slgo_registry_add(r.raw, name, C.uintptr_t(m.handle), e), e); err != nil {
		m.handle.Delete()
		return err
	}
	runtime.SetFinalizer(m, func(m *maker) { m.handle.Delete() })
	r.makers = append(r.makers, m)
	return nil
}

// instance is a custom layer and its answers, which the library asks for more than once and which must not change.
type instance struct {
	CustomLayer
	specs, sizes sync.Map // by C.sl_channel_spec
}

func (i *instance) stateSize(input C.sl_channel_spec) (int, error) {
	if size, ok := i.sizes.Load(input); ok {
		return size.(int), nil
	}
	size, err := i.StateSize(specOf(&input))
	if err != nil {
		return 0, err
	}
	if size < 0 {
		return 0, invalid(fmt.Sprintf("a state of %d bytes", size))
	}
	known, _ := i.sizes.LoadOrStore(input, size)
	return known.(int), nil
}

func (i *instance) outputSpec(input C.sl_channel_spec) (C.sl_channel_spec, error) {
	if spec, ok := i.specs.Load(input); ok {
		return spec.(C.sl_channel_spec), nil
	}
	spec, err := i.OutputSpec(specOf(&input))
	if err != nil {
		return input, err
	}
	raw, err := spec.raw()
	if err != nil {
		return input, err
	}
	known, _ := i.specs.LoadOrStore(input, raw)
	return known.(C.sl_channel_spec), nil
}

func instanceOf(handle C.uintptr_t) *instance { return cgo.Handle(handle).Value().(*instance) }

// specKey is a spec without its struct_size.
func specKey(raw *C.sl_channel_spec) C.sl_channel_spec {
	out := C.sl_channel_spec{dtype: raw.dtype, rank: raw.rank}
	copy(out.dims[:raw.rank], raw.dims[:raw.rank])
	return out
}

// guarded runs what a callback does, and reports its error or its panic.
func guarded(e *C.sl_error, run func() error) (status C.sl_status) {
	defer func() {
		if reason := recover(); reason != nil {
			status = report(e, C.SL_STATUS_CALLBACK, fmt.Sprintf("panicked: %v", reason))
		}
	}()
	err := run()
	if err == nil {
		return C.SL_STATUS_OK
	}
	var known *Error
	if errors.As(err, &known) && known.Code != 0 {
		return report(e, C.sl_status(known.Code), known.Message)
	}
	return report(e, C.SL_STATUS_CALLBACK, err.Error())
}

func report(e *C.sl_error, status C.sl_status, message string) C.sl_status {
	room := int(e.struct_size) - int(unsafe.Offsetof(e.message))
	if e.code = status; room > 0 {
		bytes := unsafe.Slice((*byte)(unsafe.Pointer(&e.message)), room)
		bytes[copy(bytes[:room-1], message)] = 0
	}
	return status
}

//export slgoCreate
func slgoCreate(handle C.uintptr_t, config *C.char, weights *C.sl_weight_source, out *C.uintptr_t,
	e *C.sl_error) C.sl_status {
	return guarded(e, func() error {
		source := &WeightSource{weights}
		defer func() { source.raw = nil }()
		layer, err := cgo.Handle(handle).Value().(Factory)(C.GoString(config), source)
		if err == nil && layer == nil {
			err = errors.New("no layer was made")
		}
		if err == nil {
			*out = C.uintptr_t(cgo.NewHandle(&instance{CustomLayer: layer}))
		}
		return err
	})
}

//export slgoDestroy
func slgoDestroy(handle C.uintptr_t) { cgo.Handle(handle).Delete() }

//export slgoProperties
func slgoProperties(handle C.uintptr_t, out *C.sl_layer_properties, e *C.sl_error) C.sl_status {
	return guarded(e, func() error {
		p, err := instanceOf(handle).Properties()
		flag := func(set bool) C.int32_t {
			if set {
				return 1
			}
			return 0
		}
		out.layer_wise_only, out.block_size = flag(p.LayerWiseOnly), C.int64_t(p.BlockSize)
		out.output_ratio_numerator, out.output_ratio_denominator = C.int64_t(p.OutputRatio[0]), C.int64_t(p.OutputRatio[1])
		out.input_latency, out.output_latency = C.int64_t(p.InputLatency), C.int64_t(p.OutputLatency)
		out.receptive_field_start, out.receptive_field_end = C.int64_t(p.FieldStart), C.int64_t(p.FieldEnd)
		out.reads_invalid_steps, out.counts_invalid_steps = flag(p.ReadsInvalid), flag(p.CountsInvalid)
		return err
	})
}

//export slgoOutputSpec
func slgoOutputSpec(handle C.uintptr_t, input, out *C.sl_channel_spec, e *C.sl_error) C.sl_status {
	return guarded(e, func() error {
		spec, err := instanceOf(handle).outputSpec(specKey(input))
		out.dtype, out.rank, out.dims = spec.dtype, spec.rank, spec.dims
		return err
	})
}

//export slgoStateSize
func slgoStateSize(handle C.uintptr_t, input *C.sl_channel_spec, out *C.size_t, e *C.sl_error) C.sl_status {
	return guarded(e, func() error {
		size, err := instanceOf(handle).stateSize(specKey(input))
		*out = C.size_t(size)
		return err
	})
}

//export slgoLayer
func slgoLayer(handle C.uintptr_t, x, y *C.sl_sequence, e *C.sl_error) C.sl_status {
	return guarded(e, func() error { return instanceOf(handle).Layer(&Tensor{raw: x}, &Tensor{raw: y}) })
}

//export slgoStep
func slgoStep(handle C.uintptr_t, state unsafe.Pointer, x, y *C.sl_sequence, e *C.sl_error) C.sl_status {
	return guarded(e, func() error {
		i := instanceOf(handle)
		input := C.sl_channel_spec{dtype: x.dtype, rank: x.rank - 2}
		copy(input.dims[:input.rank], x.dims[2:x.rank])
		size, err := i.stateSize(input)
		if err != nil {
			return err
		}
		var bytes []byte
		if state != nil && size > 0 {
			bytes = unsafe.Slice((*byte)(state), size*int(x.dims[0]))
		}
		return i.Step(bytes, &Tensor{raw: x}, &Tensor{raw: y})
	})
}
