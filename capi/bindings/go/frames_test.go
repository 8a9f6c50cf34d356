package sequencelayers_test

import (
	"testing"

	sl "sequencelayers.org/sequencelayers"
)

// frames is a model of several tokens a step, with the tokens [stream, time, token] that its streams give.
type frames struct {
	t      testing.TB
	layer  *sl.Layer
	source *sl.Tensor
	tokens *sl.Tensor
}

func newFrames(t testing.TB) frames {
	part := suite(t).Frames
	return frames{t, open(t, part.Model), sequence(t, part.Constants[0]), array(t, part.Tokens)}
}

// constants are those of some streams in the steps [t, t + count).
func (f frames) constants(t, count int, streams ...int) *sl.Constants {
	blocks := make([]int, len(streams))
	part := steps(f.t, f.source, t, t+count)
	return sl.NewConstants(sl.Constant{Name: "source", Value: items(f.t, part, streams, blocks, count)})
}

// frame is what some streams give in step t.
func (f frames) frame(t int, streams ...int) (out []int32) {
	dims := f.tokens.Dims()
	for _, stream := range streams {
		out = append(out, f.tokens.Int32s()[(stream*dims[1]+t)*dims[2]:][:dims[2]]...)
	}
	return out
}

// prompt is the first tokens of some streams.
func (f frames) prompt(time int, streams ...int) *sl.Tensor {
	out := must1(sl.NewSequence(sl.Int32, len(streams), time, f.tokens.Dims()[2]))(f.t)
	values := out.Int32s()[:0]
	for _, stream := range streams {
		for t := 0; t < time; t++ {
			values = append(values, f.frame(t, stream)...)
		}
	}
	return out
}

func TestFramesOfTokens(t *testing.T) {
	f := newFrames(t)
	dims := f.tokens.Dims()
	decoder := must1(f.layer.NewDecoder(sl.DecoderOptions{Batch: dims[0], Constants: f.constants(0, 1, 0, 1)}))(t)
	if decoder.StepTokens() != dims[2] {
		t.Fatalf("%d tokens a step", decoder.StepTokens())
	}
	logProbs := floats(t, suite(t).Frames.LogProbs)
	whole := must1(decoder.LogProb(f.prompt(dims[1], 0, 1), f.constants(0, dims[1], 0, 1)))(t).Float32s()
	assertNear(t, whole, logProbs, suite(t).Frames.Tolerance, "given tokens")
	for step := 0; step < dims[1]; step++ {
		choice := must1(decoder.Sample(f.constants(step, 1, 0, 1)))(t)
		assertTokens(t, choice.Tokens, f.frame(step, 0, 1), "frame")
		for stream := 0; stream < dims[0]; stream++ {
			want := logProbs[(stream*dims[1]+step)*dims[2]:][:dims[2]]
			found := choice.LogProbs[stream*dims[2]:][:dims[2]]
			assertNear(t, found, want, suite(t).Frames.Tolerance, "log probabilities")
		}
		if len(choice.Mask) != 2 || choice.Mask[0] != 1 || choice.Mask[1] != 1 {
			t.Fatalf("mask %v", choice.Mask)
		}
	}

	must(t, decoder.Reset())
	must(t, decoder.Prefill(f.prompt(3, 0, 1), f.constants(0, 3, 0, 1)))
	must(t, decoder.StartSlot(1, nil))
	must(t, decoder.PrefillSlot(1, f.prompt(3, 1), f.constants(0, 3, 1)))
	for step := 3; step < dims[1]; step++ {
		choice := must1(decoder.SampleSlots([]int{1}, f.constants(step, 1, 1)))(t)
		assertTokens(t, choice.Tokens, f.frame(step, 1), "slot 1")
		choice = must1(decoder.SampleSlots([]int{0}, f.constants(step, 1, 0)))(t)
		assertTokens(t, choice.Tokens, f.frame(step, 0), "slot 0")
	}
	flat := must1(sl.NewSequence(sl.Int32, 2, 3))(t)
	if err := decoder.Prefill(flat, f.constants(0, 3, 0, 1)); err == nil {
		t.Fatal("a prompt without an axis of tokens is taken")
	}
}

func TestFramesAreGuided(t *testing.T) {
	f, part := newFrames(t), suite(t).Frames.Guided
	options := sl.DecoderOptions{Guidance: part.Guidance, Constants: f.constants(0, 1, 0, 1)}
	decoder := must1(f.layer.NewDecoder(options))(t)
	want := ints(t, part.Tokens)
	for start := 0; start < 2; start++ {
		for step := 0; step < part.Tokens.Shape[0]; step++ {
			choice := must1(decoder.Sample(f.constants(step, 1, 0, 1)))(t)
			assertTokens(t, choice.Tokens, want[step*part.Tokens.Shape[1]:][:part.Tokens.Shape[1]], "guided frame")
		}
		must(t, decoder.StartSlot(0, &options))
	}
}
