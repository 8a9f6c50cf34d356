package sequencelayers

// #include "calls.h"
// #include <stdlib.h>
import "C"

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// PipeChannels says how channels of a host go through a model.
type PipeChannels int32

// DefaultChannels is EachChannel for a model that makes one channel of one, ModelChannels for any other. With
// EachChannel a model of one channel hears each of the host's alone, with MixedChannels their mean; with ModelChannels the
// model's channels are the host's.
const (
	DefaultChannels PipeChannels = C.SL_PIPE_CHANNELS_DEFAULT
	EachChannel     PipeChannels = C.SL_PIPE_CHANNELS_EACH
	MixedChannels   PipeChannels = C.SL_PIPE_CHANNELS_MIX
	ModelChannels   PipeChannels = C.SL_PIPE_CHANNELS_MODEL
)

// PipeQuality says how well sample rates are converted.
type PipeQuality int32

// The qualities of the C ABI; DefaultQuality is MediumQuality.
const (
	DefaultQuality PipeQuality = C.SL_PIPE_QUALITY_DEFAULT
	FastQuality    PipeQuality = C.SL_PIPE_QUALITY_FAST
	MediumQuality  PipeQuality = C.SL_PIPE_QUALITY_MEDIUM
	BestQuality    PipeQuality = C.SL_PIPE_QUALITY_BEST
)

// PipeOptions say how audio goes through a model; zero stands for the default.
type PipeOptions struct {
	Channels     PipeChannels
	HostRate     float64 // frames a second; default: ModelRate
	ModelRate    float64 // steps a second; default: the "sample_rate" of the model's metadata
	HostChannels int     // default: those of the model
	MaxFrames    int     // maximum of frames in one call; default: 4096
	MinLatency   int     // frames that the latency is at least
	FadeFrames   int     // frames of a cross-fade after Swap; default: a fiftieth of a second
	Dry          float32 // share of the input in the output, 0 to 1
	Quality      PipeQuality
}

// Pipe is a front of a stream for audio: it takes any number of frames a call and gives as many, late by Latency.
type Pipe struct {
	exclusive
	layer     *Layer
	raw       *C.sl_pipe
	err       *C.sl_error
	maxFrames int
	channels  int
	// Frames in memory of C, channel after channel, and pointers to the channels.
	in, out             []float32
	inPlaces, outPlaces **C.float
	retired             *Pipe // has the model of before the last swap
}

// NewPipe makes a pipe at the start of its stream. It is for models whose input and output are audio: float32, one output
// step for each input step.
func (l *Layer) NewPipe(options PipeOptions) (*Pipe, error) {
	raw := (*C.sl_pipe_options)(calloc(C.sizeof_sl_pipe_options))
	defer C.free(unsafe.Pointer(raw))
	raw.struct_size = C.sizeof_sl_pipe_options
	raw.channels, raw.quality = C.sl_pipe_channels(options.Channels), C.sl_pipe_quality(options.Quality)
	raw.host_rate, raw.model_rate = C.double(options.HostRate), C.double(options.ModelRate)
	raw.host_channels, raw.max_frames = C.int64_t(options.HostChannels), C.int64_t(options.MaxFrames)
	raw.min_latency, raw.fade_frames = C.int64_t(options.MinLatency), C.int64_t(options.FadeFrames)
	raw.dry = C.float(options.Dry)
	if err := l.take(); err != nil {
		return nil, err
	}
	p := &Pipe{layer: &Layer{model: l.model}, err: newError(), maxFrames: options.MaxFrames}
	if err := check(C.sl_pipe_create(l.raw, raw, &p.raw, p.err), p.err); err != nil {
		C.free(unsafe.Pointer(p.err))
		l.release()
		return nil, err
	}
	if p.maxFrames == 0 {
		p.maxFrames = 4096
	}
	p.channels = int(C.sl_pipe_host_channels(p.raw))
	p.in, p.inPlaces = planes(p.channels, p.maxFrames)
	p.out, p.outPlaces = planes(p.channels, p.maxFrames)
	runtime.SetFinalizer(p, func(p *Pipe) { p.Close() })
	return p, nil
}

// planes is memory of C for so many channels, and pointers to each.
func planes(channels, frames int) ([]float32, **C.float) {
	memory := calloc(uintptr(4 * channels * frames))
	places := (**C.float)(calloc(uintptr(channels) * unsafe.Sizeof(uintptr(0))))
	pointers := unsafe.Slice(places, channels)
	for i := range pointers {
		pointers[i] = (*C.float)(unsafe.Add(memory, 4*i*frames))
	}
	return unsafe.Slice((*float32)(memory), channels*frames), places
}

// Close frees the pipe; it fails while another goroutine uses it.
func (p *Pipe) Close() error {
	if ended, err := p.end(); !ended {
		return err
	}
	runtime.SetFinalizer(p, nil)
	C.sl_pipe_free(p.raw)
	for _, memory := range []unsafe.Pointer{unsafe.Pointer(p.err), unsafe.Pointer(&p.in[0]), unsafe.Pointer(p.inPlaces),
		unsafe.Pointer(&p.out[0]), unsafe.Pointer(p.outPlaces)} {
		C.free(memory)
	}
	p.layer.release()
	if p.retired != nil {
		p.retired.Close()
	}
	return nil
}

// Channels is the number of channels.
func (p *Pipe) Channels() int { return p.channels }

// Latency is the number of frames by which the output is late. It changes with Swap only.
func (p *Pipe) Latency() (int, error) {
	if err := p.enter(); err != nil {
		return 0, err
	}
	defer p.leave()
	return int(C.sl_pipe_latency(p.raw)), nil
}

// Process takes the next frames, a slice for each channel, and writes as many. An output may be its input. It allocates
// nothing.
func (p *Pipe) Process(in, out [][]float32) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.leave()
	frames := 0
	if len(in) > 0 {
		frames = len(in[0])
	}
	if !p.fits(in, frames) || !p.fits(out, frames) {
		return &Error{Shape, "expected a slice for each channel, all of one length"}
	}
	for begin := 0; begin < frames; begin += p.maxFrames {
		size := frames - begin
		if size > p.maxFrames {
			size = p.maxFrames
		}
		for i, channel := range in {
			copy(p.in[i*p.maxFrames:(i+1)*p.maxFrames], channel[begin:begin+size])
		}
		status := C.slgo_pipe_process(number(unsafe.Pointer(p.raw)), number(unsafe.Pointer(p.inPlaces)),
			number(unsafe.Pointer(p.outPlaces)), C.int64_t(size), p.err)
		for i, channel := range out {
			copy(channel[begin:begin+size], p.out[i*p.maxFrames:(i+1)*p.maxFrames])
		}
		if err := check(status, p.err); err != nil {
			return err
		}
	}
	return p.dropRetired()
}

func (p *Pipe) fits(channels [][]float32, frames int) bool {
	for _, channel := range channels {
		if len(channel) != frames {
			return false
		}
	}
	return len(channels) == p.channels
}

// Flush ends the input and gives what is still to come: Latency frames of each channel.
func (p *Pipe) Flush() ([][]float32, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	out := make([][]float32, p.channels)
	for {
		count := int(C.sl_pipe_flush(p.raw, p.outPlaces, C.int64_t(p.maxFrames), p.err))
		if count < 0 {
			return nil, failure(p.err.code, p.err)
		}
		if count == 0 {
			return out, nil
		}
		for i := range out {
			out[i] = append(out[i], p.out[i*p.maxFrames:i*p.maxFrames+count]...)
		}
	}
}

// Reset sets the pipe back to the start of its stream, and ends a cross-fade.
func (p *Pipe) Reset() error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.leave()
	if err := check(C.sl_pipe_reset(p.raw, p.err), p.err); err != nil {
		return err
	}
	return p.dropRetired()
}

// SetDry sets the share of the input, late by Latency, in the output: 0 to 1.
func (p *Pipe) SetDry(dry float32) error {
	return p.call(p.err, func() C.sl_status { return C.sl_pipe_set_dry(p.raw, C.float(dry), p.err) })
}

// Swap exchanges the model for that of next, which was made for the same rate, channels and frames, is at its start, and
// is closed by this. The old model is heard until the new one has had Latency frames, and then fades into it.
func (p *Pipe) Swap(next *Pipe) error {
	if next == p {
		return invalid("a pipe cannot be swapped for itself")
	}
	if err := p.enter(); err != nil {
		return err
	}
	defer p.leave()
	if err := next.enter(); err != nil {
		return err
	}
	if err := check(C.sl_pipe_swap(p.raw, next.raw, p.err), p.err); err != nil {
		next.leave()
		return err
	}
	// The caller's pipe is closed; this one keeps what it had, with the old model, as long as that is heard.
	p.layer, next.layer = next.layer, p.layer
	runtime.SetFinalizer(next, nil)
	p.retired = &Pipe{layer: next.layer, raw: next.raw, err: next.err, in: next.in, out: next.out,
		inPlaces: next.inPlaces, outPlaces: next.outPlaces, retired: next.retired}
	atomic.StoreInt32(&next.user, closed)
	return p.dropRetired()
}

// IsFading says whether the model of before the last Swap is still heard.
func (p *Pipe) IsFading() (bool, error) {
	if err := p.enter(); err != nil {
		return false, err
	}
	defer p.leave()
	return C.sl_pipe_is_fading(p.raw) != 0, nil
}

// dropRetired frees the model of before the last swap, once it is no longer heard.
func (p *Pipe) dropRetired() error {
	if p.retired == nil || C.sl_pipe_is_fading(p.raw) != 0 {
		return nil
	}
	retired := p.retired
	p.retired = nil
	return retired.Close()
}
