package sequencelayers_test

import (
	"strings"
	"testing"

	sl "sequencelayers.org/sequencelayers"
)

func newPipe(t testing.TB, config string, options sl.PipeOptions) *sl.Pipe {
	t.Helper()
	layer := must1(sl.Create(config, nil, nil))(t)
	defer layer.Close() // the pipe keeps it alive
	options.HostRate = 48000
	return must1(layer.NewPipe(options))(t)
}

func ramp(channels, frames int) [][]float32 {
	out := make([][]float32, channels)
	for i := range out {
		out[i] = make([]float32, frames)
		for j := range out[i] {
			out[i][j] = float32(i*frames + j + 1)
		}
	}
	return out
}

const lookahead = `{"type": "Lookahead", "length": 37}`

func TestPipeIsLateByItsLatencyAtAnySizes(t *testing.T) {
	pipe := newPipe(t, lookahead, sl.PipeOptions{HostChannels: 2, MaxFrames: 64})
	defer pipe.Close()
	x, y := ramp(2, 1000), ramp(2, 1000)
	begin := 0
	for _, size := range []int{0, 1, 63, 200, 736} {
		part := func(of [][]float32) [][]float32 {
			return [][]float32{of[0][begin : begin+size], of[1][begin : begin+size]}
		}
		if err := pipe.Process(part(x), part(y)); err != nil {
			t.Fatal(err)
		}
		begin += size
	}
	if latency := must1(pipe.Latency())(t); latency != 37 || pipe.Channels() != 2 {
		t.Fatalf("latency %d, %d channels", latency, pipe.Channels())
	}
	if rest := must1(pipe.Flush())(t); len(rest[1]) != 37 {
		t.Errorf("%d frames flushed", len(rest[1]))
	}
	for i := range y {
		for j, value := range y[i] {
			expected := float32(0)
			if j >= 37 {
				expected = x[i][j] // of 37 frames ahead, 37 frames late
			}
			if value != expected {
				t.Fatalf("channel %d, frame %d: %g, expected %g", i, j, value, expected)
			}
		}
	}
	if err := pipe.Process(x, y); err == nil {
		t.Error("processed after the flush")
	}
	if err := pipe.Reset(); err != nil || pipe.Process(x, y) != nil || y[0][37] != x[0][37] {
		t.Errorf("after a reset: %v, %g", err, y[0][37])
	}
}

func TestPipeSwapsModels(t *testing.T) {
	pipe := newPipe(t, `{"type": "Scale", "scale": 1.0}`, sl.PipeOptions{})
	next := newPipe(t, `{"type": "Scale", "scale": 3.0}`, sl.PipeOptions{})
	if err := pipe.Swap(next); err != nil {
		t.Fatal(err)
	}
	if !must1(pipe.IsFading())(t) || next.Reset() == nil {
		t.Error("it does not fade, or the pipe swapped in is open")
	}
	another := newPipe(t, `{"type": "Scale", "scale": 4.0}`, sl.PipeOptions{})
	if err := pipe.Swap(another); err == nil {
		t.Error("swapped during a cross-fade")
	}
	x, y := ramp(1, 48000), ramp(1, 48000)
	if err := pipe.Process(x, y); err != nil || y[0][47999] != 3*48000 || must1(pipe.IsFading())(t) {
		t.Errorf("%v, %g", err, y[0][47999])
	}
	if err := pipe.Swap(another); err != nil {
		t.Error(err)
	}
	if pipe.Close() != nil || next.Close() != nil || another.Close() != nil {
		t.Error("close")
	}
}

func TestPipeDryAndErrors(t *testing.T) {
	pipe := newPipe(t, `{"type": "Scale", "scale": 0.0}`, sl.PipeOptions{Dry: 1})
	defer pipe.Close()
	x, y := ramp(1, 4800), ramp(1, 4800)
	if err := pipe.Process(x, y); err != nil || y[0][99] != x[0][99] {
		t.Errorf("%v: %g", err, y[0][99])
	}
	if err := pipe.SetDry(0); err != nil || pipe.Process(x, y) != nil || y[0][4799] != 0 {
		t.Errorf("%v: %g", err, y[0][4799])
	}
	if err := pipe.SetDry(2); err == nil {
		t.Error("dry is 2")
	}
	if err := pipe.Process(ramp(2, 8), y); err == nil || !strings.Contains(err.Error(), "each channel") {
		t.Errorf("%v", err)
	}
	if count := testing.AllocsPerRun(100, func() {
		if pipe.Process(x, y) != nil {
			t.Error("process")
		}
	}); count != 0 {
		t.Errorf("%g allocations", count)
	}
	layer := must1(sl.Create(`{"type": "Downsample1D", "rate": 2}`, nil, nil))(t)
	defer layer.Close()
	if _, err := layer.NewPipe(sl.PipeOptions{}); err == nil || err.(*sl.Error).Code != sl.Unsupported {
		t.Errorf("%v", err)
	}
}
