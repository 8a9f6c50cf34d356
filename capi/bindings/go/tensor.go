package sequencelayers

// #include <sequence_layers/sequence_layers.h>
// #include <stdlib.h>
import "C"

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"
)

// DType is the type of an element.
type DType int32

// The types of elements.
const (
	Float32   DType = C.SL_DTYPE_FLOAT32
	Int32     DType = C.SL_DTYPE_INT32
	Bool      DType = C.SL_DTYPE_BOOL
	Complex64 DType = C.SL_DTYPE_COMPLEX64
	BFloat16  DType = C.SL_DTYPE_BFLOAT16
	Float16   DType = C.SL_DTYPE_FLOAT16
	Int8      DType = C.SL_DTYPE_INT8
)

// Size is the number of bytes of one element.
func (d DType) Size() int { return int(C.sl_dtype_size(C.sl_dtype(d))) }

// String is the name as configs spell it.
func (d DType) String() string { return C.GoString(C.sl_dtype_name(C.sl_dtype(d))) }

// ChannelSpec is the content of one timestep. The zero value stands for one float32.
type ChannelSpec struct {
	DType DType
	Shape []int
}

func (s ChannelSpec) raw() (C.sl_channel_spec, error) {
	var out C.sl_channel_spec
	if len(s.Shape) > C.SL_MAX_CHANNEL_RANK {
		return out, invalid(fmt.Sprintf("%d channel dimensions are too many", len(s.Shape)))
	}
	out.dtype, out.rank = C.sl_dtype(s.DType), C.int32_t(len(s.Shape))
	for i, dim := range s.Shape {
		out.dims[i] = C.int64_t(dim)
	}
	return out, nil
}

func specOf(raw *C.sl_channel_spec) ChannelSpec {
	out := ChannelSpec{DType: DType(raw.dtype)}
	for _, dim := range raw.dims[:raw.rank] {
		out.Shape = append(out.Shape, int(dim))
	}
	return out
}

// Tensor is a sequence, values [batch, time, channels...] with a mask [batch, time], or an array without time and mask.
// Its memory is C's: slices of it are valid while it is reachable and not closed.
type Tensor struct {
	raw   *C.sl_sequence
	owned bool
}

// NewSequence makes zeros of dims [batch, time, channels...], all valid.
func NewSequence(dtype DType, dims ...int) (*Tensor, error) {
	if len(dims) < 2 {
		return nil, invalid("a sequence has a batch and a time")
	}
	t, err := newTensor(dtype, dims)
	if err != nil {
		return nil, err
	}
	t.raw.mask = (*C.uint8_t)(calloc(uintptr(dims[0] * dims[1])))
	for i := range t.Mask() {
		t.Mask()[i] = 1
	}
	return t, nil
}

// NewArray makes zeros without time.
func NewArray(dtype DType, dims ...int) (*Tensor, error) {
	t, err := newTensor(dtype, dims)
	if err != nil {
		return nil, err
	}
	t.raw.is_array = 1
	return t, nil
}

func newTensor(dtype DType, dims []int) (*Tensor, error) {
	size := dtype.Size()
	if size == 0 || len(dims) > C.SL_MAX_RANK {
		return nil, invalid(fmt.Sprintf("no tensor has dtype %d and dims %v", dtype, dims))
	}
	for _, dim := range dims {
		if dim < 0 || (dim > 0 && size > math.MaxInt/2/dim) {
			return nil, invalid(fmt.Sprintf("no tensor has dims %v", dims))
		}
		size *= dim
	}
	raw := (*C.sl_sequence)(calloc(C.sizeof_sl_sequence))
	raw.dtype, raw.rank = C.sl_dtype(dtype), C.int32_t(len(dims))
	for i, dim := range dims {
		raw.dims[i] = C.int64_t(dim)
	}
	raw.data = calloc(uintptr(size))
	t := &Tensor{raw, true}
	runtime.SetFinalizer(t, (*Tensor).Close)
	return t, nil
}

// tensorLike makes zeros of the shape of a view.
func tensorLike(raw *C.sl_sequence) (*Tensor, error) {
	dims := (&Tensor{raw: raw}).Dims()
	if raw.is_array != 0 {
		return NewArray(DType(raw.dtype), dims...)
	}
	return NewSequence(DType(raw.dtype), dims...)
}

// Close frees the memory.
func (t *Tensor) Close() {
	if t.owned {
		t.owned = false
		runtime.SetFinalizer(t, nil)
		C.free(t.raw.data)
		C.free(unsafe.Pointer(t.raw.mask))
		C.free(unsafe.Pointer(t.raw))
	}
	t.raw = &C.sl_sequence{}
}

// Dims are [batch, time, channels...], or those of an array.
func (t *Tensor) Dims() []int {
	out := make([]int, t.raw.rank)
	for i := range out {
		out[i] = int(t.raw.dims[i])
	}
	return out
}

// DType is the type of the elements.
func (t *Tensor) DType() DType { return DType(t.raw.dtype) }

// IsArray tells whether it is an array.
func (t *Tensor) IsArray() bool { return t.raw.is_array != 0 }

func (t *Tensor) size() int {
	out := 1
	for _, dim := range t.raw.dims[:t.raw.rank] {
		out *= int(dim)
	}
	if t.raw.data == nil {
		return 0
	}
	return out
}

// Bytes are the values as they lie in memory.
func (t *Tensor) Bytes() []byte {
	return unsafe.Slice((*byte)(t.raw.data), t.size()*t.DType().Size())
}

// Float32s are the values; it panics for another dtype.
func (t *Tensor) Float32s() []float32 {
	t.expect(Float32)
	return unsafe.Slice((*float32)(t.raw.data), t.size())
}

// Int32s are the values; it panics for another dtype.
func (t *Tensor) Int32s() []int32 {
	t.expect(Int32)
	return unsafe.Slice((*int32)(t.raw.data), t.size())
}

func (t *Tensor) expect(dtype DType) {
	if t.DType() != dtype {
		panic(fmt.Sprintf("sequencelayers: a tensor of %v is not one of %v", t.DType(), dtype))
	}
}

// Mask is [batch, time], not zero where a step is valid; nil without one.
func (t *Tensor) Mask() []byte {
	if t.raw.mask == nil {
		return nil
	}
	return unsafe.Slice((*byte)(t.raw.mask), int(t.raw.dims[0]*t.raw.dims[1]))
}

// AsFloat32s views the state of a custom layer as numbers.
func AsFloat32s(state []byte) []float32 {
	if len(state) < 4 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&state[0])), len(state)/4)
}

// Constants are inputs of a model beside x, by name. Values written to their tensors are read by the next call.
type Constants struct {
	raw    *C.sl_constant
	values []*Tensor
}

// Constant is one of them.
type Constant struct {
	Name  string
	Value *Tensor
}

// NewConstants makes constants in their order, which is that of a state's options and of its steps.
func NewConstants(constants ...Constant) *Constants {
	c := &Constants{raw: (*C.sl_constant)(calloc(uintptr(len(constants)) * C.sizeof_sl_constant))}
	for i, raw := range unsafe.Slice(c.raw, len(constants)) {
		raw.name, raw.value = C.CString(constants[i].Name), *constants[i].Value.raw
		unsafe.Slice(c.raw, len(constants))[i] = raw
		c.values = append(c.values, constants[i].Value)
	}
	runtime.SetFinalizer(c, func(c *Constants) {
		for _, raw := range unsafe.Slice(c.raw, len(c.values)) {
			C.free(unsafe.Pointer(raw.name))
		}
		C.free(unsafe.Pointer(c.raw))
	})
	return c
}

func (c *Constants) view() (*C.sl_constant, C.int64_t) {
	if c == nil {
		return nil, 0
	}
	return c.raw, C.int64_t(len(c.values))
}

// Emits are auxiliary outputs of a model, in order of their index.
type Emits struct {
	raw     *C.sl_sequence
	Paths   []string
	Tensors []*Tensor
}

func newEmits(paths []string, tensors []*Tensor) *Emits {
	e := &Emits{(*C.sl_sequence)(calloc(uintptr(len(paths)) * C.sizeof_sl_sequence)), paths, tensors}
	for i := range tensors {
		unsafe.Slice(e.raw, len(tensors))[i] = *tensors[i].raw
	}
	runtime.SetFinalizer(e, func(e *Emits) { C.free(unsafe.Pointer(e.raw)) })
	return e
}

// Find is the tensor of a path; nil if there is none.
func (e *Emits) Find(path string) *Tensor {
	for i := range e.Paths {
		if e.Paths[i] == path {
			return e.Tensors[i]
		}
	}
	return nil
}
