package sequencelayers

/*
#cgo pkg-config: sequence_layers
#include <sequence_layers/sequence_layers.h>
#include <stdlib.h>
*/
import "C"

import (
	"sync/atomic"
	"unsafe"
)

// Status says why a call failed.
type Status int32

// The statuses of the C ABI.
const (
	InvalidArgument Status = C.SL_STATUS_INVALID_ARGUMENT
	Config          Status = C.SL_STATUS_CONFIG
	BadWeights      Status = C.SL_STATUS_WEIGHTS
	Shape           Status = C.SL_STATUS_SHAPE
	Unsupported     Status = C.SL_STATUS_UNSUPPORTED
	IO              Status = C.SL_STATUS_IO
	OutOfMemory     Status = C.SL_STATUS_OUT_OF_MEMORY
	BadState        Status = C.SL_STATUS_STATE
	Callback        Status = C.SL_STATUS_CALLBACK
	Internal        Status = C.SL_STATUS_INTERNAL
	Length          Status = C.SL_STATUS_LENGTH
)

// String is the library's name of the status.
func (s Status) String() string { return C.GoString(C.sl_status_name(C.sl_status(s))) }

// Error is what every call that fails returns.
type Error struct {
	Code    Status // for programs
	Message string // for people
}

func (e *Error) Error() string { return e.Message }

func invalid(message string) error { return &Error{InvalidArgument, message} }

// check turns the status of a call into an error.
func check(status C.sl_status, e *C.sl_error) error {
	if status == C.SL_STATUS_OK {
		return nil
	}
	return failure(status, e)
}

func failure(status C.sl_status, e *C.sl_error) error {
	return &Error{Status(status), C.GoString(&e.message[0])}
}

// calloc returns zeroed memory of C; where there is none, the program ends, as it does in Go.
func calloc(size uintptr) unsafe.Pointer {
	memory := C.calloc(1, C.size_t(size)+1)
	if memory == nil {
		panic("sequencelayers: out of memory")
	}
	return memory
}

// number is an address for calls that take no pointer.
func number(address unsafe.Pointer) C.uintptr_t { return C.uintptr_t(uintptr(address)) }

func newError() *C.sl_error {
	e := (*C.sl_error)(calloc(C.sizeof_sl_error))
	e.struct_size = C.sizeof_sl_error
	return e
}

const (
	idle int32 = iota
	busy
	closed
)

// exclusive admits one goroutine at a time, and none after the end.
type exclusive struct{ user int32 }

func (x *exclusive) enter() error {
	if atomic.CompareAndSwapInt32(&x.user, idle, busy) {
		return nil
	}
	if atomic.LoadInt32(&x.user) == closed {
		return invalid("it is closed")
	}
	return invalid("another goroutine uses it")
}

func (x *exclusive) leave() { atomic.StoreInt32(&x.user, idle) }

// end admits none from now on, and tells whether that is new; it fails while a goroutine is inside.
func (x *exclusive) end() (bool, error) {
	if atomic.CompareAndSwapInt32(&x.user, idle, closed) {
		return true, nil
	}
	if atomic.LoadInt32(&x.user) == closed {
		return false, nil
	}
	return false, invalid("another goroutine uses it")
}

// call makes a call inside, whose error is e.
func (x *exclusive) call(e *C.sl_error, call func() C.sl_status) error {
	if err := x.enter(); err != nil {
		return err
	}
	defer x.leave()
	return check(call(), e)
}
