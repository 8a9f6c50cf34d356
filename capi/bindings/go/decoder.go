package sequencelayers

// #include "calls.h"
// #include <stdlib.h>
import "C"

import (
	"runtime"
	"unsafe"
)

// DecoderOptions say how a decoder chooses; the zero value takes the most likely token, without an end.
type DecoderOptions struct {
	StartToken  int32
	StopToken   int32 // ends its stream, as its last token; 0 or -1: none, but see StopAtZero
	StopAtZero  bool  // token 0 is the stop token
	PadToken    int32
	Batch       int
	Seed        uint64
	Temperature float32
	TopP        float32
	TopK        int
	MaxLength   int
	Constants   *Constants
}

// Decoder is a batch of streams of tokens in which the choices of a model are its next inputs.
type Decoder struct {
	exclusive
	layer *Layer
	raw   *C.sl_decoder
	err   *C.sl_error
	// What the last Sample wrote, in memory of C.
	tokens   *C.int32_t
	logProbs *C.float
	mask     *C.uint8_t
	choice   Choice
}

// Choice is what a step chose, for each stream of the batch; it is overwritten by the next Sample.
type Choice struct {
	Tokens   []int32
	LogProbs []float32
	Mask     []byte
}

// NewDecoder makes a decoder at the start of its streams.
func (l *Layer) NewDecoder(options DecoderOptions) (*Decoder, error) {
	raw := (*C.sl_decoder_options)(calloc(C.sizeof_sl_decoder_options))
	defer C.free(unsafe.Pointer(raw))
	raw.start_token, raw.stop_token = C.int32_t(options.StartToken), C.int32_t(options.StopToken)
	raw.pad_token, raw.batch = C.int32_t(options.PadToken), C.int64_t(options.Batch)
	raw.seed, raw.temperature = C.uint64_t(options.Seed), C.float(options.Temperature)
	raw.top_p, raw.top_k = C.float(options.TopP), C.int64_t(options.TopK)
	raw.max_length = C.int64_t(options.MaxLength)
	if options.StopAtZero {
		raw.stop_at_zero = 1
	}
	raw.constants, raw.num_constants = options.Constants.view()
	if err := l.take(); err != nil {
		return nil, err
	}
	d := &Decoder{layer: &Layer{model: l.model}, err: newError()}
	status := C.sl_decoder_create(l.raw, raw, &d.raw, d.err)
	runtime.KeepAlive(options.Constants)
	if err := check(status, d.err); err != nil {
		C.free(unsafe.Pointer(d.err))
		l.release()
		return nil, err
	}
	batch := options.Batch
	if batch == 0 {
		batch = 1
	}
	d.tokens, d.logProbs = (*C.int32_t)(calloc(uintptr(4*batch))), (*C.float)(calloc(uintptr(4*batch)))
	d.mask = (*C.uint8_t)(calloc(uintptr(batch)))
	d.choice = Choice{make([]int32, batch), make([]float32, batch), make([]byte, batch)}
	runtime.SetFinalizer(d, func(d *Decoder) { d.Close() })
	return d, nil
}

// Close frees the decoder.
func (d *Decoder) Close() error {
	if ended, err := d.end(); !ended {
		return err
	}
	runtime.SetFinalizer(d, nil)
	C.sl_decoder_free(d.raw)
	for _, memory := range []unsafe.Pointer{unsafe.Pointer(d.err), unsafe.Pointer(d.tokens),
		unsafe.Pointer(d.logProbs), unsafe.Pointer(d.mask)} {
		C.free(memory)
	}
	d.layer.release()
	return nil
}

func (d *Decoder) do(call func() C.sl_status) error {
	return d.call(d.err, call)
}

// Prefill appends a prompt, int32 [batch, time], without the start token.
func (d *Decoder) Prefill(tokens *Tensor, constants *Constants) error {
	values, count := constants.view()
	run := newRun(values, count, nil)
	defer C.free(unsafe.Pointer(run))
	err := d.do(func() C.sl_status { return C.sl_decoder_prefill(d.raw, tokens.raw, run, d.err) })
	runtime.KeepAlive(tokens)
	runtime.KeepAlive(constants)
	return err
}

// Sample chooses the next token of each stream. It allocates nothing.
func (d *Decoder) Sample(constants *Constants) (*Choice, error) {
	if err := d.enter(); err != nil {
		return nil, err
	}
	defer d.leave()
	values, count := constants.view()
	number := C.uintptr_t(uintptr(unsafe.Pointer(d.raw)))
	status := C.slgo_sample(number, d.tokens, d.logProbs, d.mask, values, count, d.err)
	runtime.KeepAlive(constants)
	if err := check(status, d.err); err != nil {
		return nil, err
	}
	copy(d.choice.Tokens, unsafe.Slice((*int32)(unsafe.Pointer(d.tokens)), len(d.choice.Tokens)))
	copy(d.choice.LogProbs, unsafe.Slice((*float32)(unsafe.Pointer(d.logProbs)), len(d.choice.LogProbs)))
	copy(d.choice.Mask, unsafe.Slice((*byte)(unsafe.Pointer(d.mask)), len(d.choice.Mask)))
	return &d.choice, nil
}

// LogProb is the log probabilities of given tokens, int32 [batch, time], from the start of a sequence.
func (d *Decoder) LogProb(tokens *Tensor, constants *Constants) (*Tensor, error) {
	out, err := NewSequence(Float32, tokens.Dims()...)
	if err != nil {
		return nil, err
	}
	values, count := constants.view()
	run := newRun(values, count, nil)
	defer C.free(unsafe.Pointer(run))
	err = d.do(func() C.sl_status { return C.sl_decoder_log_prob(d.raw, tokens.raw, out.raw, run, d.err) })
	runtime.KeepAlive(tokens)
	runtime.KeepAlive(constants)
	return out, err
}

// CopyFrom makes these streams continue where those of another decoder stand.
func (d *Decoder) CopyFrom(source *Decoder) error {
	if source == d {
		return nil
	}
	if err := source.enter(); err != nil {
		return err
	}
	defer source.leave()
	return d.do(func() C.sl_status { return C.sl_decoder_copy(d.raw, source.raw, d.err) })
}

// Reset sets all streams back to their start.
func (d *Decoder) Reset() error {
	return d.do(func() C.sl_status { return C.sl_decoder_reset(d.raw, d.err) })
}
