package sequencelayers_test

import (
	"fmt"
	"testing"

	sl "sequencelayers.org/sequencelayers"
)

// items is a copy of the blocks of a sequence that go with a step: of streams[i] the block blocks[i]. Of an array, and
// with a block of 0, it is all of each stream.
func items(t testing.TB, source *sl.Tensor, streams, blocks []int, block int) *sl.Tensor {
	dims := source.Dims()
	row := len(source.Bytes()) / dims[0]
	if source.IsArray() {
		dims[0] = len(streams)
		out := must1(sl.NewArray(source.DType(), dims...))(t)
		for i, stream := range streams {
			copy(out.Bytes()[i*row:(i+1)*row], source.Bytes()[stream*row:])
		}
		return out
	}
	time := dims[1]
	if block == 0 {
		block = time
	}
	dims[0], dims[1] = len(streams), block
	out := must1(sl.NewSequence(source.DType(), dims...))(t)
	size := row / time * block
	for i, stream := range streams {
		begin := 0
		if block < time {
			begin = blocks[i] * block
		}
		copy(out.Bytes()[i*size:(i+1)*size], source.Bytes()[stream*row+begin*row/time:])
		copy(out.Mask()[i*block:(i+1)*block], source.Mask()[stream*time+begin:])
	}
	return out
}

// slotsRun runs the script of a case.
type slotsRun struct {
	t           testing.TB
	part        slotsCase
	layer       *sl.Layer
	x, expected *sl.Tensor
	constants   []*sl.Tensor
	alone       [][]*sl.Tensor // by stream and block
}

func newSlotsRun(t testing.TB, part slotsCase) *slotsRun {
	r := &slotsRun{t: t, part: part, layer: open(t, part.Model), x: sequence(t, part.Input), expected: sequence(t, part.Expected)}
	for _, file := range part.Constants {
		r.constants = append(r.constants, constantOf(t, file))
	}
	for stream := 0; stream < r.x.Dims()[0]; stream++ {
		state, made := r.state(1), []*sl.Tensor{}
		for block := 0; block < r.x.Dims()[1]/part.Block; block++ {
			x, constants := r.inputs([]int{stream}, []int{block})
			y := must1(r.layer.NewOutput(sl.StepMode, x, constants))(t)
			must(t, state.Step(x, y, constants, nil))
			made = append(made, y)
		}
		r.alone = append(r.alone, made)
	}
	return r
}

func (r *slotsRun) inputs(streams, blocks []int) (*sl.Tensor, *sl.Constants) {
	var list []sl.Constant
	for i, file := range r.part.Constants {
		block := 0
		if file.Streamed {
			block = r.part.Block
		}
		list = append(list, sl.Constant{Name: file.Name, Value: items(r.t, r.constants[i], streams, blocks, block)})
	}
	return items(r.t, r.x, streams, blocks, r.part.Block), sl.NewConstants(list...)
}

func (r *slotsRun) state(batch int) *sl.State {
	_, constants := r.inputs(make([]int, batch), make([]int, batch))
	options := &sl.StateOptions{Batch: batch, Input: sl.ChannelSpec{Shape: r.part.ChannelShape}, Constants: constants}
	return must1(r.layer.NewState(options))(r.t)
}

// check compares the output of a step with what each stream gives alone, and with what was recorded.
func (r *slotsRun) check(call slotCall, y *sl.Tensor, what string) {
	steps := y.Dims()[1]
	for i, stream := range call.Streams {
		found := items(r.t, y, []int{i}, []int{0}, steps)
		what := fmt.Sprintf("%s: slot %d, stream %d, block %d", what, call.Slots[i], stream, call.Blocks[i])
		assertClose(r.t, found, r.alone[stream][call.Blocks[i]], 0, what)
		expected := items(r.t, r.expected, []int{stream}, []int{call.Blocks[i]}, steps)
		assertClose(r.t, found, expected, r.part.Tolerance, what)
	}
}

func (r *slotsRun) run(states []*sl.State, step func(state *sl.State, call slotCall, what string)) {
	for i, call := range r.part.Script {
		state := states[call.State]
		switch call.Call {
		case "reset":
			must(r.t, state.ResetItem(call.Slot))
		case "step":
			step(state, call, fmt.Sprintf("%s, call %d", r.part.Name, i))
		case "copy":
			must(r.t, state.CopyItemFrom(call.Slot, states[call.FromState], call.FromSlot))
		case "load":
			must(r.t, state.LoadItem(call.Slot, must1(states[call.FromState].SaveItem(call.FromSlot))(r.t)))
		default:
			r.t.Fatalf("an unknown call, %s", call.Call)
		}
	}
}

func (r *slotsRun) states() (out []*sl.State) {
	for _, batch := range r.part.Batches {
		out = append(out, r.state(batch))
	}
	return out
}

func TestSlots(t *testing.T) {
	for _, part := range suite(t).Slots {
		r := newSlotsRun(t, part)
		r.run(r.states(), func(state *sl.State, call slotCall, what string) {
			x, constants := r.inputs(call.Streams, call.Blocks)
			y := must1(r.layer.NewOutput(sl.StepMode, x, constants))(t)
			must(t, state.StepSlots(call.Slots, x, y, constants, nil))
			r.check(call, y, what)
		})
	}
}

func TestSlotsOfAStepper(t *testing.T) {
	for _, part := range suite(t).Slots {
		r := newSlotsRun(t, part)
		states, constants := r.states(), map[*sl.State][]sl.Constant{}
		steppers, emits := map[*sl.State]*sl.Stepper{}, map[*sl.State]*sl.Emits{}
		for i, state := range states {
			batch := part.Batches[i]
			for i, file := range part.Constants {
				whole := 0
				if file.Streamed {
					whole = part.Block
				}
				value := items(t, r.constants[i], make([]int, batch), make([]int, batch), whole)
				constants[state] = append(constants[state], sl.Constant{Name: file.Name, Value: value})
			}
			steppers[state] = must1(state.NewStepper(part.Block, sl.NewConstants(constants[state]...)))(t)
			emits[state] = must1(steppers[state].WithEmits())(t)
		}
		r.run(states, func(state *sl.State, call slotCall, what string) {
			stepper := steppers[state]
			x, _ := r.inputs(call.Streams, call.Blocks)
			copy(stepper.Input.Bytes(), x.Bytes())
			copy(stepper.Input.Mask(), x.Mask())
			for i, constant := range constants[state] {
				block := 0
				if part.Constants[i].Streamed {
					block = part.Block
				}
				value := items(t, r.constants[i], call.Streams, call.Blocks, block)
				copy(constant.Value.Bytes(), value.Bytes())
				copy(constant.Value.Mask(), value.Mask())
			}
			must(t, stepper.StepSlots(call.Slots))
			r.check(call, stepper.Output, what)
			if encoded := emits[state].Find("layers_5.encoded"); encoded != nil && encoded.Float32s()[0] == 0 {
				t.Errorf("%s: no emit", what)
			}
		})
		slots := []int{1, 0}
		step := func() { must(t, steppers[states[1]].StepSlots(slots)) }
		if (emits[states[0]].Find("layers_5.encoded") != nil) != (part.Name == "conformer") {
			t.Errorf("%s: %v", part.Name, emits[states[0]].Paths)
		}
		if allocations := testing.AllocsPerRun(5, step); part.Name == "vad" && allocations != 0 {
			t.Errorf("%v allocations a step", allocations)
		}
		for _, slots := range [][]int{{2}, {0, 0}, {0, 1, 0}, {-1}} {
			refused := errorCase{Name: fmt.Sprint(slots), Code: int32(sl.InvalidArgument), Message: "slot"}
			assertError(t, steppers[states[1]].StepSlots(slots), refused)
		}
	}
}

func TestSlotsOfADecoder(t *testing.T) {
	part := suite(t).Decoder.Slots
	layer := open(t, suite(t).Decoder.Model)
	prompt := func(stream int) *sl.Tensor {
		tokens := part.Streams[stream].Prompt
		out := must1(sl.NewSequence(sl.Int32, 1, len(tokens)))(t)
		copy(out.Int32s(), tokens)
		return out
	}
	var choices []sl.DecoderOptions
	var alone []sl.Choice
	for i, stream := range part.Streams {
		o := stream.Options
		choices = append(choices, sl.DecoderOptions{StartToken: o.StartToken, StopToken: o.StopToken, PadToken: o.PadToken,
			Seed: o.Seed, Temperature: o.Temperature, TopK: o.TopK, TopP: o.TopP})
		decoder := must1(layer.NewDecoder(choices[i]))(t)
		must(t, decoder.Prefill(prompt(i), nil))
		tokens, logProbs, mask := samples(t, decoder, len(stream.Tokens))
		assertTokens(t, tokens, stream.Tokens, "alone")
		for step, valid := range mask {
			if (valid != 0) != (step < stream.Count) {
				t.Errorf("stream %d, token %d: mask %d", i, step, valid)
			}
		}
		alone = append(alone, sl.Choice{Tokens: tokens, LogProbs: logProbs, Mask: mask})
	}
	var decoders []*sl.Decoder
	for _, batch := range part.Batches {
		decoders = append(decoders, must1(layer.NewDecoder(sl.DecoderOptions{Batch: batch}))(t))
	}
	for i, call := range part.Script {
		decoder := decoders[call.State]
		switch call.Call {
		case "start":
			must(t, decoder.StartSlot(call.Slot, &choices[call.Stream]))
			must(t, decoder.PrefillSlot(call.Slot, prompt(call.Stream), nil))
		case "sample":
			found := must1(decoder.SampleSlots(call.Slots, nil))(t)
			var expected sl.Choice
			for j, stream := range call.Streams {
				step := call.Blocks[j]
				expected.Tokens = append(expected.Tokens, alone[stream].Tokens[step])
				expected.LogProbs = append(expected.LogProbs, alone[stream].LogProbs[step])
				expected.Mask = append(expected.Mask, alone[stream].Mask[step])
			}
			if fmt.Sprint(*found) != fmt.Sprint(expected) {
				t.Errorf("call %d: %v, not %v", i, *found, expected)
			}
		case "copy":
			must(t, decoder.CopySlotFrom(call.Slot, decoders[call.FromState], call.FromSlot))
		case "load":
			must(t, decoder.LoadSlot(call.Slot, must1(decoders[call.FromState].SaveSlot(call.FromSlot))(t)))
		default:
			t.Fatalf("an unknown call, %s", call.Call)
		}
	}
	slots := []int{2, 0}
	if allocations := testing.AllocsPerRun(5, func() { decoders[0].SampleSlots(slots, nil) }); allocations != 0 {
		t.Errorf("%v allocations a sample", allocations)
	}
	must(t, decoders[0].StartSlot(0, nil))
	_, err := decoders[0].SampleSlots([]int{3}, nil)
	assertError(t, err, errorCase{Name: "slot", Code: int32(sl.InvalidArgument), Message: "slot"})
}
