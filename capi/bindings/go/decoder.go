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
	// Guidance says how far each negative pushes the logits, if steps have several tokens: at most 8 numbers. The batch of the
	// constants is then Batch * (1 + len(Guidance)), each stream followed by its negatives.
	Guidance  []float32
	Constants *Constants
}

// Decoder is a batch of streams of tokens in which the choices of a model are its next inputs.
type Decoder struct {
	streams
	layer *Layer
	raw   *C.sl_decoder
	// What the last Sample wrote, in memory of C.
	tokens   *C.int32_t
	logProbs *C.float
	mask     *C.uint8_t
	parts    int // tokens of a step of one stream
	choice   Choice
	some     Choice // the part of it that SampleSlots gives
	slots    *C.int64_t
	options  *C.sl_decoder_options // of StartSlot
}

// Choice is what a step chose, for each stream of the batch; it is overwritten by the next Sample. Tokens and LogProbs are
// [stream][StepTokens], flat: one number for each stream, unless the model's steps have several tokens.
type Choice struct {
	Tokens   []int32
	LogProbs []float32
	Mask     []byte
}

// maxNegatives is the maximum of the library, which refuses more.
const maxNegatives = 8

// newDecoderOptions makes a struct of zeros that is followed by the numbers of its guidance.
func newDecoderOptions() *C.sl_decoder_options {
	return (*C.sl_decoder_options)(calloc(C.sizeof_sl_decoder_options + maxNegatives*C.sizeof_float))
}

// write puts how a stream chooses into a struct that newDecoderOptions made.
func (o *DecoderOptions) write(raw *C.sl_decoder_options) {
	raw.start_token, raw.stop_token, raw.pad_token = C.int32_t(o.StartToken), C.int32_t(o.StopToken), C.int32_t(o.PadToken)
	raw.seed, raw.temperature = C.uint64_t(o.Seed), C.float(o.Temperature)
	raw.top_p, raw.top_k = C.float(o.TopP), C.int64_t(o.TopK)
	raw.stop_at_zero = 0
	if o.StopAtZero {
		raw.stop_at_zero = 1
	}
	raw.num_negatives = C.int64_t(len(o.Guidance))
	raw.guidance = (*C.float)(unsafe.Add(unsafe.Pointer(raw), C.sizeof_sl_decoder_options))
	copy(unsafe.Slice((*float32)(unsafe.Pointer(raw.guidance)), maxNegatives), o.Guidance)
}

// NewDecoder makes a decoder at the start of its streams.
func (l *Layer) NewDecoder(options DecoderOptions) (*Decoder, error) {
	raw := newDecoderOptions()
	defer C.free(unsafe.Pointer(raw))
	options.write(raw)
	raw.batch, raw.max_length = C.int64_t(options.Batch), C.int64_t(options.MaxLength)
	raw.constants, raw.num_constants = options.Constants.view()
	if err := l.take(); err != nil {
		return nil, err
	}
	d := &Decoder{streams: streams{err: newError()}, layer: &Layer{model: l.model}}
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
	d.parts = int(C.sl_decoder_step_tokens(d.raw))
	count := batch * d.parts
	d.tokens, d.logProbs = (*C.int32_t)(calloc(uintptr(4*count))), (*C.float)(calloc(uintptr(4*count)))
	d.mask = (*C.uint8_t)(calloc(uintptr(batch)))
	d.slots = (*C.int64_t)(calloc(uintptr(8 * batch)))
	d.options = newDecoderOptions()
	d.choice = Choice{make([]int32, count), make([]float32, count), make([]byte, batch)}
	runtime.SetFinalizer(d, func(d *Decoder) { d.Close() })
	return d, nil
}

// StepTokens is the number of tokens of a step of one stream: 1, but for a model whose outermost layer is a
// MultivariateDecoder.
func (d *Decoder) StepTokens() int { return d.parts }

// Close frees the decoder.
func (d *Decoder) Close() error {
	if ended, err := d.end(); !ended {
		return err
	}
	runtime.SetFinalizer(d, nil)
	C.sl_decoder_free(d.raw)
	for _, memory := range []unsafe.Pointer{unsafe.Pointer(d.err), unsafe.Pointer(d.tokens),
		unsafe.Pointer(d.logProbs), unsafe.Pointer(d.mask), unsafe.Pointer(d.slots), unsafe.Pointer(d.options)} {
		C.free(memory)
	}
	d.profile.release()
	d.layer.release()
	return nil
}

// Prefill appends a prompt, int32 [batch, time], without the start token. Where steps have several tokens, it is [batch, time,
// StepTokens], as those of PrefillSlot and LogProb are.
func (d *Decoder) Prefill(tokens *Tensor, constants *Constants) error {
	return d.prefill(-1, tokens, constants)
}

func (d *Decoder) prefill(slot int, tokens *Tensor, constants *Constants) error {
	if err := d.enterRun(); err != nil {
		return err
	}
	defer d.leaveRun()
	status := C.slgo_prefill(d.raw, C.int64_t(slot), tokens.raw, extras(constants, nil, d.profile), d.err)
	runtime.KeepAlive(tokens)
	runtime.KeepAlive(constants)
	return check(status, d.err)
}

// Sample chooses the next token of each stream. It allocates nothing.
func (d *Decoder) Sample(constants *Constants) (*Choice, error) {
	if err := d.sample(nil, len(d.choice.Mask), constants); err != nil {
		return nil, err
	}
	return &d.choice, nil
}

// sample writes the choices of all streams, without slots, or of some.
func (d *Decoder) sample(slots []int, count int, constants *Constants) error {
	if err := d.enterRun(); err != nil {
		return err
	}
	defer d.leaveRun()
	var numbers *C.int64_t
	if slots != nil {
		numbers = d.slots
		if err := writeSlots(numbers, len(d.choice.Mask), slots); err != nil {
			return err
		}
	}
	status := C.slgo_sample(number(unsafe.Pointer(d.raw)), numbers, C.int64_t(count), d.tokens, d.logProbs, d.mask,
		extras(constants, nil, d.profile), d.err)
	runtime.KeepAlive(constants)
	if err := check(status, d.err); err != nil {
		return err
	}
	copy(d.choice.Tokens, unsafe.Slice((*int32)(unsafe.Pointer(d.tokens)), count*d.parts))
	copy(d.choice.LogProbs, unsafe.Slice((*float32)(unsafe.Pointer(d.logProbs)), count*d.parts))
	copy(d.choice.Mask, unsafe.Slice((*byte)(unsafe.Pointer(d.mask)), count))
	return nil
}

// StartSlot sets one stream of the batch to its start, with choices of its own: all options but Batch, MaxLength and
// Constants. It then gives what a decoder of batch 1 with these options gives, bit for bit, whatever runs beside it.
// Without options it starts as Reset sets it.
func (d *Decoder) StartSlot(slot int, options *DecoderOptions) error {
	return d.do(func() C.sl_status {
		if options == nil {
			return C.sl_decoder_start_slot(d.raw, C.int64_t(slot), nil, d.err)
		}
		options.write(d.options)
		return C.sl_decoder_start_slot(d.raw, C.int64_t(slot), d.options, d.err)
	})
}

// PrefillSlot appends a prompt, int32 [1, time], to one stream.
func (d *Decoder) PrefillSlot(slot int, tokens *Tensor, constants *Constants) error {
	if slot < 0 {
		return invalid("no slot is negative")
	}
	return d.prefill(slot, tokens, constants)
}

// SampleSlots chooses the next token of some streams, in any order; all others stay as they are. Choice and constants have
// their items in that order. It allocates nothing.
func (d *Decoder) SampleSlots(slots []int, constants *Constants) (*Choice, error) {
	if len(slots) == 0 {
		return nil, invalid("no slot is given")
	}
	if err := d.sample(slots, len(slots), constants); err != nil {
		return nil, err
	}
	all, count := &d.choice, len(slots)
	d.some = Choice{all.Tokens[:count*d.parts], all.LogProbs[:count*d.parts], all.Mask[:count]}
	return &d.some, nil
}

// CopySlotFrom makes a stream continue where one of the source stands, with the choices of that one.
func (d *Decoder) CopySlotFrom(slot int, source *Decoder, sourceSlot int) error {
	return d.from(&source.streams, func() C.sl_status {
		return C.sl_decoder_copy_slot(d.raw, C.int64_t(slot), source.raw, C.int64_t(sourceSlot), d.err)
	})
}

// SaveSlot is one stream with its choices as bytes, for LoadSlot of a decoder of the same model, constants and MaxLength.
func (d *Decoder) SaveSlot(slot int) ([]byte, error) {
	size := func() C.size_t { return C.sl_decoder_save_slot_size(d.raw) }
	return d.save(size, func(out unsafe.Pointer, size C.size_t) C.sl_status {
		return C.sl_decoder_save_slot(d.raw, C.int64_t(slot), out, size, d.err)
	})
}

// LoadSlot makes one stream continue where the saved one stood; the others continue as they are.
func (d *Decoder) LoadSlot(slot int, saved []byte) error {
	return d.restore("slot", saved, func(from unsafe.Pointer, size C.size_t) C.sl_status {
		return C.sl_decoder_load_slot(d.raw, C.int64_t(slot), from, size, d.err)
	})
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
	return d.from(&source.streams, func() C.sl_status { return C.sl_decoder_copy(d.raw, source.raw, d.err) })
}

// Reset sets all streams back to their start.
func (d *Decoder) Reset() error {
	return d.do(func() C.sl_status { return C.sl_decoder_reset(d.raw, d.err) })
}
