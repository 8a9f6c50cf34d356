package sequencelayers

// #include "calls.h"
// #include <stdlib.h>
import "C"

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// Mode is how a model runs.
type Mode int32

// A whole sequence, or a step of a stream.
const (
	LayerMode Mode = C.SL_MODE_LAYER
	StepMode  Mode = C.SL_MODE_STEP
)

// Version is the library's.
func Version() (major, minor, patch int) {
	v := int(C.sl_version())
	return v >> 16, v >> 8 & 255, v & 255
}

// LayerOptions say how a model is made; the zero value is the default.
type LayerOptions struct {
	NumThreads int       // threads of whole runs, 1 to 256
	MaxBytes   int64     // maximum of bytes for weights, for each state and for each run
	Registry   *Registry // layer types beside the built-in ones
	// "float32", "bfloat16", "int8" or "int4", and exceptions by the names of tensors: "int8, *.output.kernel=float32"
	WeightFormat   string
	NumStepThreads int // threads of steps with large matrices, the caller's included, 1 to 64
	MatmulBackend  MatmulBackend
	KVFormat       string // how steps cache the keys and values of attention: "float32", "bfloat16" or "int8"
}

// MatmulBackend is what computes the large matrix products of layer-wise runs.
type MatmulBackend int32

// DefaultBackend is the one that is expected to be the fastest on this CPU.
const (
	DefaultBackend  MatmulBackend = C.SL_MATMUL_BACKEND_DEFAULT
	OwnBackend      MatmulBackend = C.SL_MATMUL_BACKEND_OWN
	OneDNNBackend   MatmulBackend = C.SL_MATMUL_BACKEND_ONEDNN
	OpenBLASBackend MatmulBackend = C.SL_MATMUL_BACKEND_OPENBLAS
)

func (o *LayerOptions) raw(call func(*C.sl_layer_options) C.sl_status) (C.sl_status, []*maker) {
	raw := (*C.sl_layer_options)(calloc(C.sizeof_sl_layer_options))
	defer C.free(unsafe.Pointer(raw))
	if o == nil {
		return call(raw), nil
	}
	raw.num_threads, raw.max_bytes = C.int32_t(o.NumThreads), C.int64_t(o.MaxBytes)
	raw.num_step_threads, raw.matmul_backend = C.int32_t(o.NumStepThreads), C.sl_matmul_backend(o.MatmulBackend)
	if o.WeightFormat != "" {
		raw.weight_format = C.CString(o.WeightFormat)
		defer C.free(unsafe.Pointer(raw.weight_format))
	}
	if o.KVFormat != "" {
		raw.kv_format = C.CString(o.KVFormat)
		defer C.free(unsafe.Pointer(raw.kv_format))
	}
	if o.Registry == nil {
		return call(raw), nil
	}
	o.Registry.lock.RLock()
	defer o.Registry.lock.RUnlock()
	raw.registry = o.Registry.raw
	return call(raw), o.Registry.makers
}

// model is the handle that a layer shares with its states.
type model struct {
	raw    *C.sl_layer
	users  int32
	makers []*maker
}

func (m *model) number() C.uintptr_t { return number(unsafe.Pointer(m.raw)) }

func (m *model) release() {
	if atomic.AddInt32(&m.users, -1) == 0 {
		C.sl_layer_free(m.raw)
		runtime.KeepAlive(m.makers)
	}
}

// take counts a further user, unless the last one has left.
func (m *model) take() error {
	for {
		users := atomic.LoadInt32(&m.users)
		if users == 0 {
			return invalid("the layer is closed")
		}
		if atomic.CompareAndSwapInt32(&m.users, users, users+1) {
			return nil
		}
	}
}

// Layer is a model, which never changes, and which any number of states and goroutines share.
type Layer struct {
	*model
	closed int32
}

// Open makes the model of a directory with config.json and, if it has weights, model.safetensors.
func Open(directory string, options *LayerOptions) (*Layer, error) {
	path := C.CString(directory)
	defer C.free(unsafe.Pointer(path))
	return newLayer(options, func(raw *C.sl_layer_options, out **C.sl_layer, e *C.sl_error) C.sl_status {
		return C.sl_layer_open(path, raw, out, e)
	})
}

// Create makes the model of a JSON config and its weights, which may be nil.
func Create(config string, weights *Weights, options *LayerOptions) (*Layer, error) {
	text := C.CString(config)
	defer C.free(unsafe.Pointer(text))
	var tensors *C.sl_weights
	if weights != nil {
		weights.lock.RLock()
		defer weights.lock.RUnlock()
		if tensors = weights.raw; tensors == nil {
			return nil, invalid("the weights are closed")
		}
	}
	return newLayer(options, func(raw *C.sl_layer_options, out **C.sl_layer, e *C.sl_error) C.sl_status {
		return C.sl_layer_create(text, C.size_t(len(config)), tensors, raw, out, e)
	})
}

func newLayer(options *LayerOptions,
	call func(*C.sl_layer_options, **C.sl_layer, *C.sl_error) C.sl_status) (*Layer, error) {
	e := newError()
	defer C.free(unsafe.Pointer(e))
	m := &model{users: 1}
	var status C.sl_status
	status, m.makers = options.raw(func(raw *C.sl_layer_options) C.sl_status { return call(raw, &m.raw, e) })
	if err := check(status, e); err != nil {
		return nil, err
	}
	layer := &Layer{model: m}
	runtime.SetFinalizer(layer, func(l *Layer) { l.Close() })
	return layer, nil
}

// Close frees the model when its states and decoders are closed too.
func (l *Layer) Close() error {
	if atomic.CompareAndSwapInt32(&l.closed, 0, 1) {
		runtime.SetFinalizer(l, nil)
		l.release()
	}
	return nil
}

// take keeps the model for a call or a state.
func (l *Layer) take() error {
	if atomic.LoadInt32(&l.closed) != 0 {
		return invalid("the layer is closed")
	}
	return l.model.take()
}

// do calls with an error of C, while the layer cannot be freed.
func (l *Layer) do(call func(e *C.sl_error) C.sl_status) error {
	if err := l.take(); err != nil {
		return err
	}
	defer l.release()
	e := newError()
	defer C.free(unsafe.Pointer(e))
	return check(call(e), e)
}

// InputSpec is recorded with the model, or implied by its first layers.
func (l *Layer) InputSpec() (ChannelSpec, error) {
	var raw C.sl_channel_spec
	err := l.do(func(e *C.sl_error) C.sl_status { return C.sl_layer_input_spec(l.raw, &raw, e) })
	return specOf(&raw), err
}

// OutputSpec is what comes out for an input.
func (l *Layer) OutputSpec(input ChannelSpec, constants *Constants) (ChannelSpec, error) {
	var out C.sl_channel_spec
	in, err := input.raw()
	if err == nil {
		values, count := constants.view()
		err = l.do(func(e *C.sl_error) C.sl_status {
			return C.sl_layer_output_spec(l.raw, &in, values, count, &out, e)
		})
		runtime.KeepAlive(constants)
	}
	return specOf(&out), err
}

// Metadata is an entry of the metadata of the weights, such as "sample_rate".
func (l *Layer) Metadata(key string) (value string, ok bool) {
	name := C.CString(key)
	defer C.free(unsafe.Pointer(name))
	if l.take() != nil {
		return "", false
	}
	defer l.release()
	text := C.sl_layer_metadata(l.raw, name)
	return C.GoString(text), text != nil
}

func (l *Layer) count(call func(*C.int64_t, *C.sl_error) C.sl_status) (int, error) {
	var out C.int64_t
	err := l.do(func(e *C.sl_error) C.sl_status { return call(&out, e) })
	return int(out), err
}

// BlockSize is the number of input steps of which the time of a step is a multiple.
func (l *Layer) BlockSize() (int, error) {
	return l.count(func(out *C.int64_t, e *C.sl_error) C.sl_status { return C.sl_layer_block_size(l.raw, out, e) })
}

// InputLatency is the number of invalid steps to append to a stream's input, to get all of its output.
func (l *Layer) InputLatency() (int, error) {
	return l.count(func(out *C.int64_t, e *C.sl_error) C.sl_status { return C.sl_layer_input_latency(l.raw, out, e) })
}

// OutputLatency is the number of steps to drop from the start of a stream's output.
func (l *Layer) OutputLatency() (int, error) {
	return l.count(func(out *C.int64_t, e *C.sl_error) C.sl_status { return C.sl_layer_output_latency(l.raw, out, e) })
}

// OutputRatio is the number of output steps for each input step, as a fraction in lowest terms.
func (l *Layer) OutputRatio() (numerator, denominator int, err error) {
	var over, under C.int64_t
	err = l.do(func(e *C.sl_error) C.sl_status { return C.sl_layer_output_ratio(l.raw, &over, &under, e) })
	return int(over), int(under), err
}

// SupportsStep tells whether the model steps in a stream without a maximum length.
func (l *Layer) SupportsStep() (bool, error) {
	var out C.int32_t
	err := l.do(func(e *C.sl_error) C.sl_status { return C.sl_layer_supports_step(l.raw, &out, e) })
	return out != 0, err
}

// ReceptiveField is the input steps that can affect an output step, relative to its own. Start may be -Unbounded, End
// Unbounded.
type ReceptiveField struct{ Start, End int64 }

// ReceptiveField is nil if no input step can affect an output step.
func (l *Layer) ReceptiveField() (*ReceptiveField, error) {
	var exists C.int32_t
	var start, end C.int64_t
	err := l.do(func(e *C.sl_error) C.sl_status { return C.sl_layer_receptive_field(l.raw, &exists, &start, &end, e) })
	if err != nil || exists == 0 {
		return nil, err
	}
	return &ReceptiveField{int64(start), int64(end)}, nil
}

// Condition tells when steps give other values than a whole run.
type Condition int32

// Always; if the input has invalid steps before valid ones; or depending on the invalid steps that end the input of a
// whole run.
const (
	Always    Condition = C.SL_STEP_DIFFERENCE_ALWAYS
	IfHoles   Condition = C.SL_STEP_DIFFERENCE_HOLES
	IfPadding Condition = C.SL_STEP_DIFFERENCE_PADDING
)

// StepDifference is a layer for which steps give other values than whole runs.
type StepDifference struct {
	Condition    Condition
	Layer, Type  string // the path, "" for the model itself
	Reason, Cure string // for people
}

// StepDifferences are those of the model; most have none.
func (l *Layer) StepDifferences() ([]StepDifference, error) {
	if err := l.take(); err != nil {
		return nil, err
	}
	defer l.release()
	var out []StepDifference
	for i := C.int64_t(0); i < C.sl_layer_step_difference_count(l.raw); i++ {
		var raw C.sl_step_difference
		err := l.do(func(e *C.sl_error) C.sl_status { return C.sl_layer_step_difference(l.raw, i, &raw, e) })
		if err != nil {
			return nil, err
		}
		out = append(out, StepDifference{Condition(raw.condition), C.GoString(raw.layer), C.GoString(raw._type),
			C.GoString(raw.reason), C.GoString(raw.cure)})
	}
	return out, nil
}

// SaveWeights writes a weights file whose matrices are packed, as the layer holds them.
func (l *Layer) SaveWeights(path string) error {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	return l.do(func(e *C.sl_error) C.sl_status { return C.sl_layer_save_weights(l.raw, name, e) })
}

// Describe is the model as JSON.
func (l *Layer) Describe(input ChannelSpec, constants *Constants) (string, error) {
	in, err := input.raw()
	if err != nil {
		return "", err
	}
	values, count := constants.view()
	var needed C.size_t
	describe := func(text *C.char, size C.size_t) error {
		return l.do(func(e *C.sl_error) C.sl_status {
			return C.sl_layer_describe(l.raw, &in, values, count, text, size, &needed, e)
		})
	}
	if err := describe(nil, 0); err != nil {
		return "", err
	}
	text := (*C.char)(calloc(uintptr(needed)))
	defer C.free(unsafe.Pointer(text))
	err = describe(text, needed)
	runtime.KeepAlive(constants)
	return C.GoString(text), err
}

// ConstantInfo is a constant that a model reads.
type ConstantInfo struct {
	Name, Layer        string
	Required, Streamed bool
}

// Constants are those that the model reads.
func (l *Layer) Constants() ([]ConstantInfo, error) {
	if err := l.take(); err != nil {
		return nil, err
	}
	defer l.release()
	var out []ConstantInfo
	for i := C.int64_t(0); i < C.sl_layer_constant_count(l.raw); i++ {
		var raw C.sl_constant_info
		if err := l.do(func(e *C.sl_error) C.sl_status { return C.sl_layer_constant(l.raw, i, &raw, e) }); err != nil {
			return nil, err
		}
		out = append(out, ConstantInfo{C.GoString(raw.name), C.GoString(raw.layer), raw.required != 0, raw.streamed != 0})
	}
	return out, nil
}

// NewOutput makes room for what a run makes of x.
func (l *Layer) NewOutput(mode Mode, x *Tensor, constants *Constants) (*Tensor, error) {
	values, count := constants.view()
	y := (*C.sl_sequence)(calloc(C.sizeof_sl_sequence))
	defer C.free(unsafe.Pointer(y))
	err := l.do(func(e *C.sl_error) C.sl_status {
		run := newRun(values, count, nil)
		defer C.free(unsafe.Pointer(run))
		return C.sl_layer_output_shape(l.raw, C.sl_mode(mode), x.raw, run, y, e)
	})
	runtime.KeepAlive(constants)
	runtime.KeepAlive(x)
	if err != nil {
		return nil, err
	}
	return tensorLike(y)
}

func newRun(constants *C.sl_constant, count C.int64_t, state *C.sl_state) *C.sl_run_options {
	run := (*C.sl_run_options)(calloc(C.sizeof_sl_run_options))
	run.constants, run.num_constants, run.state = constants, count, state
	return run
}

// NewEmits makes room for the auxiliary outputs of a run over x.
func (l *Layer) NewEmits(x *Tensor, constants *Constants) (*Emits, error) {
	return l.newEmits(LayerMode, x, constants, nil)
}

func (l *Layer) newEmits(mode Mode, x *Tensor, constants *Constants, state *C.sl_state) (*Emits, error) {
	const capacity = 4096
	values, count := constants.view()
	run := newRun(values, count, state)
	defer C.free(unsafe.Pointer(run))
	shape := (*C.sl_sequence)(calloc(C.sizeof_sl_sequence))
	defer C.free(unsafe.Pointer(shape))
	path := (*C.char)(calloc(capacity))
	defer C.free(unsafe.Pointer(path))
	spec, err := ChannelSpec{x.DType(), x.Dims()[2:]}.raw()
	if err != nil {
		return nil, err
	}
	var emits C.int64_t
	err = l.do(func(e *C.sl_error) C.sl_status {
		if emits = C.sl_layer_emit_count(l.raw, &spec, values, count, e); emits < 0 {
			return e.code
		}
		return C.SL_STATUS_OK
	})
	var paths []string
	var tensors []*Tensor
	for i := C.int64_t(0); err == nil && i < emits; i++ {
		err = l.do(func(e *C.sl_error) C.sl_status {
			return C.sl_layer_emit_shape(l.raw, C.sl_mode(mode), x.raw, run, i, path, capacity, shape, e)
		})
		var tensor *Tensor
		if err == nil {
			tensor, err = tensorLike(shape)
		}
		paths, tensors = append(paths, C.GoString(path)), append(tensors, tensor)
	}
	runtime.KeepAlive(constants)
	runtime.KeepAlive(x)
	if err != nil {
		return nil, err
	}
	return newEmits(paths, tensors), nil
}

// Apply runs a whole sequence. Constants and emits may be nil.
func (l *Layer) Apply(x *Tensor, constants *Constants, emits *Emits) (*Tensor, error) {
	y, err := l.NewOutput(LayerMode, x, constants)
	if err != nil {
		return nil, err
	}
	return y, l.ApplyTo(x, y, constants, emits)
}

// ApplyTo runs a whole sequence into y.
func (l *Layer) ApplyTo(x, y *Tensor, constants *Constants, emits *Emits) error {
	return l.ApplyRecorded(nil, x, y, constants, emits)
}

// ApplyRecorded runs a whole sequence into y, and records in the profile what that costs.
func (l *Layer) ApplyRecorded(profile *Profile, x, y *Tensor, constants *Constants, emits *Emits) error {
	if err := profile.take(); err != nil {
		return err
	}
	defer profile.release()
	if err := profile.enter(); err != nil {
		return err
	}
	defer profile.leave()
	err := l.do(func(e *C.sl_error) C.sl_status {
		return C.slgo_apply(l.raw, x.raw, y.raw, extras(constants, emits, profile), e)
	})
	for _, alive := range []interface{}{x, y, constants, emits} {
		runtime.KeepAlive(alive)
	}
	return err
}
