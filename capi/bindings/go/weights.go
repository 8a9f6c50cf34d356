package sequencelayers

// #include "calls.h"
// #include <stdlib.h>
import "C"

import (
	"runtime"
	"sync"
	"unsafe"
)

// Weights are named tensors.
type Weights struct {
	lock sync.RWMutex
	raw  *C.sl_weights
}

func newWeights(call func(**C.sl_weights, *C.sl_error) C.sl_status) (*Weights, error) {
	w := &Weights{}
	e := newError()
	defer C.free(unsafe.Pointer(e))
	if err := check(call(&w.raw, e), e); err != nil {
		return nil, err
	}
	runtime.SetFinalizer(w, func(w *Weights) { w.Close() })
	return w, nil
}

// NewWeights makes an empty set.
func NewWeights() (*Weights, error) {
	return newWeights(func(out **C.sl_weights, e *C.sl_error) C.sl_status { return C.sl_weights_create(out, e) })
}

// OpenWeights maps a safetensors file, which must not change while the set and its layers live.
func OpenWeights(path string) (*Weights, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	return newWeights(func(out **C.sl_weights, e *C.sl_error) C.sl_status { return C.sl_weights_open(name, out, e) })
}

// ReadWeights copies the tensors of a safetensors image.
func ReadWeights(image []byte) (*Weights, error) {
	data := C.CBytes(image)
	defer C.free(data)
	return newWeights(func(out **C.sl_weights, e *C.sl_error) C.sl_status {
		return C.sl_weights_read(data, C.size_t(len(image)), out, e)
	})
}

// Close frees the set; layers made of it live on.
func (w *Weights) Close() error {
	w.lock.Lock()
	defer w.lock.Unlock()
	runtime.SetFinalizer(w, nil)
	C.sl_weights_free(w.raw)
	w.raw = nil
	return nil
}

// Add adds a copy of a tensor, such as "params.conv1d.kernel".
func (w *Weights) Add(name string, tensor *Tensor) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	e := newError()
	defer C.free(unsafe.Pointer(e))
	status := C.sl_weights_add(w.raw, text, tensor.raw, e)
	runtime.KeepAlive(tensor)
	return check(status, e)
}

// Names are those of the tensors, in order.
func (w *Weights) Names() []string {
	w.lock.RLock()
	defer w.lock.RUnlock()
	var out []string
	for i := C.int64_t(0); i < C.sl_weights_tensor_count(w.raw); i++ {
		var name *C.char
		if C.sl_weights_tensor(w.raw, i, &name, nil, nil) == C.SL_STATUS_OK {
			out = append(out, C.GoString(name))
		}
	}
	return out
}

// Find is a copy of a tensor.
func (w *Weights) Find(name string) (*Tensor, error) {
	w.lock.RLock()
	defer w.lock.RUnlock()
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	return copied(func(view *C.sl_sequence, e *C.sl_error) C.sl_status {
		return C.sl_weights_find(w.raw, text, view, e)
	})
}

// copied is an array with the values of a view that the library gives.
func copied(call func(*C.sl_sequence, *C.sl_error) C.sl_status) (*Tensor, error) {
	e := newError()
	defer C.free(unsafe.Pointer(e))
	view := (*C.sl_sequence)(calloc(C.sizeof_sl_sequence))
	defer C.free(unsafe.Pointer(view))
	if err := check(call(view, e), e); err != nil {
		return nil, err
	}
	return arrayOf(view)
}

// arrayOf is an array with the values of a view.
func arrayOf(view *C.sl_sequence) (*Tensor, error) {
	borrowed := &Tensor{raw: view}
	out, err := NewArray(borrowed.DType(), borrowed.Dims()...)
	if err == nil {
		C.slgo_copy(view, out.raw)
	}
	return out, err
}
