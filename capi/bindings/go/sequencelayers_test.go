package sequencelayers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	sl "sequencelayers.org/sequencelayers"
)

func open(t testing.TB, model string) *sl.Layer {
	t.Helper()
	return must1(sl.Open(suitePath(model), nil))(t)
}

func vadStream(t testing.TB, layer *sl.Layer, block int) *sl.Stepper {
	t.Helper()
	return must1(must1(layer.NewState(nil))(t).NewStepper(block, nil))(t)
}

func probabilities(t testing.TB, stream *sl.Stepper, samples []float32, block int) []float32 {
	t.Helper()
	var out []float32
	for ; len(samples) >= block; samples = samples[block:] {
		out = append(out, must1(stream.Process(samples[:block]))(t)[0])
	}
	return out
}

func TestVadStreamsAsOnnxruntimeDoes(t *testing.T) {
	part := suite(t).Vad
	layer := open(t, part.Model)
	defer layer.Close()
	for key, value := range part.Metadata {
		if found, ok := layer.Metadata(key); !ok || found != value {
			t.Errorf("%s is %q", key, found)
		}
	}
	if _, ok := layer.Metadata("no such key"); ok || len(part.Metadata) == 0 {
		t.Error("metadata")
	}
	input, expected := floats(t, part.Input), floats(t, part.Expected)
	found := probabilities(t, vadStream(t, layer, part.Block), input, part.Block)
	if len(found) != 713 {
		t.Errorf("%d probabilities", len(found))
	}
	assertNear(t, found, expected, part.Tolerance, "step-wise")

	x := must1(sl.NewSequence(sl.Float32, 1, len(input)))(t)
	copy(x.Float32s(), input)
	assertNear(t, must1(layer.Apply(x, nil, nil))(t).Float32s(), expected, part.Tolerance, "layer-wise")
}

func TestExample(t *testing.T) {
	part := suite(t).Vad
	var out bytes.Buffer
	must(t, detect(open(t, part.Model), bytes.NewReader(array(t, part.Input).Bytes()), &out))
	if lines := strings.Count(out.String(), "\n"); lines != 713 {
		t.Errorf("%d lines", lines)
	}
}

func assertSame(t testing.TB, found, expected []float32, what string) {
	t.Helper()
	assertNear(t, found, expected, 0, what)
}

func TestSavedAndForkedStreamsContinueBitForBit(t *testing.T) {
	part := suite(t).Vad
	layer := open(t, part.Model)
	input := floats(t, part.Input)
	unbroken := probabilities(t, vadStream(t, layer, part.Block), input, part.Block)
	before, after := input[:part.SaveAt*part.Block], input[part.SaveAt*part.Block:]

	stream := vadStream(t, layer, part.Block)
	probabilities(t, stream, before, part.Block)
	saved := must1(stream.State().Save())(t)
	loaded, copied := vadStream(t, layer, part.Block), vadStream(t, layer, part.Block)
	must(t, loaded.State().Load(saved))
	must(t, copied.State().CopyFrom(stream.State()))
	layer.Close() // lives on in its states
	forked := must1(must1(stream.State().Fork())(t).NewStepper(part.Block, nil))(t)
	must(t, stream.State().Reset())
	for what, stream := range map[string]*sl.Stepper{"loaded": loaded, "copied": copied, "forked": forked} {
		assertSame(t, probabilities(t, stream, after, part.Block), unbroken[part.SaveAt:], what)
	}
	assertSame(t, probabilities(t, stream, before, part.Block), unbroken[:part.SaveAt], "reset")
}

// interleaved is the probabilities of streams that begin at starts, block after block of all of them.
func interleaved(t testing.TB, layer *sl.Layer, input []float32, starts []int, block, blocks int) [][]float32 {
	streams := make([]*sl.Stepper, len(starts))
	for i := range streams {
		streams[i] = vadStream(t, layer, block)
	}
	out := make([][]float32, len(starts))
	for index := 0; index < blocks; index++ {
		for i, start := range starts {
			samples := input[start+index*block:][:block]
			probability, err := streams[i].Process(samples)
			if err != nil {
				t.Error(err)
				return out
			}
			out[i] = append(out[i], probability[0])
		}
	}
	return out
}

func TestHundredStreamsOnFourThreads(t *testing.T) {
	part := suite(t).Streams
	layer := open(t, part.Model)
	input, expected := floats(t, part.Input), floats(t, part.Expected)
	found := make([][]float32, len(part.Starts))
	if len(found) != 100 || part.Threads != 4 {
		t.Fatal("another suite")
	}
	share := len(found) / part.Threads
	var threads sync.WaitGroup
	for begin := 0; begin < len(found); begin += share {
		threads.Add(1)
		go func(begin int) {
			defer threads.Done()
			runtime.LockOSThread()
			starts := part.Starts[begin : begin+share]
			copy(found[begin:], interleaved(t, layer, input, starts, part.Block, part.Blocks))
		}(begin)
	}
	threads.Wait()
	for i, start := range part.Starts {
		what := fmt.Sprintf("stream %d", i)
		assertNear(t, found[i], expected[i*part.Blocks:(i+1)*part.Blocks], part.Tolerance, what)
		samples := input[start:][:part.Block*part.Blocks]
		assertSame(t, found[i], probabilities(t, vadStream(t, layer, part.Block), samples, part.Block), what)
	}
}

func constantOf(t testing.TB, file sequenceFile) *sl.Tensor {
	if file.Kind == "array" {
		return array(t, file.Values)
	}
	return sequence(t, file)
}

func TestConformerRunsWhole(t *testing.T) {
	part := suite(t).Conformer
	layer := open(t, part.Model)
	x := sequence(t, part.Input)
	var list []sl.Constant
	for _, file := range part.Constants {
		list = append(list, sl.Constant{Name: file.Name, Value: constantOf(t, file)})
	}
	if infos := must1(layer.Constants())(t); len(infos) != len(list) {
		t.Errorf("%d constants", len(infos))
	}
	constants := sl.NewConstants(list...)
	emits := must1(layer.NewEmits(x, constants))(t)
	y := must1(layer.Apply(x, constants, emits))(t)
	assertClose(t, y, sequence(t, part.Expected), part.Tolerance, "output")
	if len(emits.Paths) != len(part.Emits) {
		t.Errorf("%d emits", len(emits.Paths))
	}
	for _, file := range part.Emits {
		assertClose(t, emits.Find(file.Path), sequence(t, file), part.Tolerance, file.Path)
	}
	spec := sl.ChannelSpec{Shape: x.Dims()[2:]}
	text := must1(layer.Describe(spec, constants))(t)
	if !json.Valid([]byte(text)) || !strings.Contains(text, `"block_size"`) {
		t.Error(text)
	}
}

func TestConformerSteps(t *testing.T) {
	part := suite(t).Conformer
	layer := open(t, part.Model)
	x := sequence(t, part.Input)
	var list []sl.Constant
	var whole []*sl.Tensor
	for _, file := range part.Constants {
		value := constantOf(t, file)
		whole = append(whole, value)
		if file.Streamed {
			value = steps(t, value, 0, part.Block)
		}
		list = append(list, sl.Constant{Name: file.Name, Value: value})
	}
	constants := sl.NewConstants(list...)
	spec := sl.ChannelSpec{Shape: x.Dims()[2:]}
	state := must1(layer.NewState(&sl.StateOptions{Batch: x.Dims()[0], Input: spec, Constants: constants}))(t)
	stream := must1(state.NewStepper(part.Block, constants))(t)
	emits := must1(stream.WithEmits())(t)
	over, under, err := layer.OutputRatio()
	must(t, err)
	for begin := 0; begin < x.Dims()[1]; begin += part.Block {
		setSteps(stream.Input, x, begin)
		for i, file := range part.Constants {
			if file.Streamed {
				setSteps(list[i].Value, whole[i], begin)
			}
		}
		must(t, stream.Step())
		from, to := begin*over/under, (begin+part.Block)*over/under
		what := fmt.Sprintf("steps from %d", from)
		assertClose(t, stream.Output, steps(t, sequence(t, part.Expected), from, to), part.Tolerance, what)
		for _, file := range part.Emits {
			if file.Stepwise {
				expected := steps(t, sequence(t, file), from, to)
				assertClose(t, emits.Find(file.Path), expected, part.Tolerance, what+": "+file.Path)
			}
		}
	}
}

func samples(t testing.TB, decoder *sl.Decoder, count int) (tokens []int32, logProbs []float32, mask []byte) {
	for i := 0; i < count; i++ {
		choice := must1(decoder.Sample(nil))(t)
		tokens, logProbs = append(tokens, choice.Tokens[0]), append(logProbs, choice.LogProbs[0])
		mask = append(mask, choice.Mask[0])
	}
	return tokens, logProbs, mask
}

func assertTokens(t testing.TB, found, expected []int32, what string) {
	t.Helper()
	if fmt.Sprint(found) != fmt.Sprint(expected) {
		t.Errorf("%s: %v, not %v", what, found, expected)
	}
}

func TestDecoder(t *testing.T) {
	part := suite(t).Decoder
	layer := open(t, part.Model)
	prompt := must1(sl.NewSequence(sl.Int32, 1, part.Prompt.Shape[0]))(t)
	copy(prompt.Int32s(), ints(t, part.Prompt))
	prompted := func(options sl.DecoderOptions) *sl.Decoder {
		options.StartToken = part.StartToken
		decoder := must1(layer.NewDecoder(options))(t)
		must(t, decoder.Prefill(prompt, nil))
		return decoder
	}
	expected := ints(t, part.Greedy.Tokens)
	greedy := prompted(sl.DecoderOptions{})
	tokens, logProbs, _ := samples(t, greedy, len(expected))
	assertTokens(t, tokens, expected, "greedy")
	assertNear(t, logProbs, floats(t, part.Greedy.LogProbs), part.Greedy.Tolerance, "log probabilities")

	given := must1(sl.NewSequence(sl.Int32, 1, len(expected)+part.Prompt.Shape[0]))(t)
	copy(given.Int32s()[copy(given.Int32s(), prompt.Int32s()):], expected)
	known := must1(greedy.LogProb(given, nil))(t).Float32s()[part.Prompt.Shape[0]:]
	assertNear(t, known, floats(t, part.Greedy.LogProbs), part.Greedy.Tolerance, "of given tokens")

	stop := part.Stop
	tokens, _, mask := samples(t, prompted(sl.DecoderOptions{StopToken: stop.StopToken, PadToken: stop.PadToken}),
		len(expected))
	stopped := append([]int32(nil), expected[:stop.Count]...)
	for len(stopped) < len(expected) {
		stopped = append(stopped, stop.PadToken)
	}
	assertTokens(t, tokens, stopped, "stopped")
	valid := strings.Repeat("\x01", stop.Count) + strings.Repeat("\x00", len(expected)-stop.Count)
	if string(mask) != valid {
		t.Errorf("mask %v", mask)
	}

	random := part.Sampled
	options := sl.DecoderOptions{Seed: random.Seed, Temperature: random.Temperature, TopK: random.TopK,
		TopP: random.TopP, StartToken: part.StartToken}
	original, fork := prompted(options), must1(layer.NewDecoder(options))(t)
	must(t, fork.CopyFrom(original))
	for what, decoder := range map[string]*sl.Decoder{"sampled": original, "forked": fork} {
		tokens, _, _ = samples(t, decoder, len(random.Tokens))
		assertTokens(t, tokens, random.Tokens, what)
	}
	must(t, original.Reset())
	must(t, original.Prefill(prompt, nil))
	tokens, _, _ = samples(t, original, len(random.Tokens))
	assertTokens(t, tokens, random.Tokens, "reset")
	if allocations := testing.AllocsPerRun(100, func() { fork.Sample(nil) }); allocations != 0 {
		t.Errorf("%v allocations a sample", allocations)
	}
}

// provoke does as a case says, which fails.
func provoke(t testing.TB, c errorCase) error {
	layer, err := sl.Open(suitePath(c.Model), nil)
	if c.Call == "open" {
		return err
	}
	must(t, err)
	options := &sl.StateOptions{Batch: c.Options.Batch, MaxLength: c.Options.MaxLength}
	if c.Options.DType != "" {
		options.Input = sl.ChannelSpec{DType: dtypeOf(t, c.Options.DType), Shape: c.Options.ChannelShape}
	}
	state := func() *sl.State { return must1(layer.NewState(options))(t) }
	switch c.Call {
	case "state":
		_, err = layer.NewState(options)
	case "step":
		stream := state()
		x := must1(sl.NewSequence(options.Input.DType, c.Shape...))(t)
		y := must1(sl.NewSequence(sl.Float32, c.Shape[0], 1, 1))(t)
		for i := 0; i < c.StepsBefore; i++ {
			room := must1(layer.NewOutput(sl.StepMode, x, nil))(t)
			must(t, stream.Step(x, room, nil, nil))
		}
		err = stream.Step(x, y, nil, nil)
	case "apply":
		_, err = layer.Apply(must1(sl.NewSequence(dtypeOf(t, c.DType), c.Shape...))(t), nil, nil)
	case "load":
		err = state().Load(must1(os.ReadFile(suitePath(c.File)))(t))
	case "decoder":
		_, err = layer.NewDecoder(sl.DecoderOptions{StartToken: c.StartToken})
	default:
		t.Fatalf("an unknown call, %s", c.Call)
	}
	return err
}

func assertError(t testing.TB, err error, c errorCase) {
	t.Helper()
	var failure *sl.Error
	if !errors.As(err, &failure) || int32(failure.Code) != c.Code || !strings.Contains(err.Error(), c.Message) {
		t.Errorf("%s: %v", c.Name, err)
	}
}

func TestErrorsHaveCodeAndMessage(t *testing.T) {
	cases := suite(t).Errors
	if len(cases) < 21 {
		t.Errorf("%d cases", len(cases))
	}
	for _, c := range cases {
		assertError(t, provoke(t, c), c)
	}
}

// testGain is y = gain x + s, where s is the sum of the valid x so far.
type testGain struct{ Gain float32 }

func (g *testGain) Properties() (sl.Properties, error) {
	return sl.Properties{FieldStart: -sl.Unbounded}, nil
}

func (g *testGain) OutputSpec(input sl.ChannelSpec) (sl.ChannelSpec, error) { return input, nil }

func (g *testGain) StateSize(input sl.ChannelSpec) (int, error) { return 4 * input.Shape[0], nil }

func (g *testGain) Layer(x, y *sl.Tensor) error {
	return g.Step(make([]byte, 4*x.Dims()[0]*x.Dims()[2]), x, y)
}

func (g *testGain) Step(state []byte, x, y *sl.Tensor) error {
	dims, sums := x.Dims(), sl.AsFloat32s(state)
	in, out := x.Float32s(), y.Float32s()
	for step, valid := range x.Mask() {
		for channel := 0; channel < dims[2]; channel++ {
			sum, at := &sums[step/dims[1]*dims[2]+channel], step*dims[2]+channel
			if valid != 0 {
				*sum += in[at]
			}
			out[at] = g.Gain*in[at] + *sum
		}
	}
	return nil
}

func newTestGain(config string, _ *sl.WeightSource) (sl.CustomLayer, error) {
	g := &testGain{}
	if err := json.Unmarshal([]byte(config), g); err != nil {
		return nil, err
	}
	if g.Gain < 0 {
		return nil, fmt.Errorf("a gain of %v is negative", g.Gain)
	}
	return g, nil
}

func openCustom(t testing.TB, model string, create sl.Factory) (*sl.Layer, error) {
	registry := must1(sl.NewRegistry())(t)
	must(t, registry.Add("TestGain", create))
	defer registry.Close() // the model outlives it
	return sl.Open(suitePath(model), &sl.LayerOptions{Registry: registry})
}

func TestCustomLayer(t *testing.T) {
	part := suite(t).Custom
	layer := must1(openCustom(t, part.Model, newTestGain))(t)
	runtime.GC()
	x, expected := sequence(t, part.Input), sequence(t, part.Expected)
	assertClose(t, must1(layer.Apply(x, nil, nil))(t), expected, part.Tolerance, "layer-wise")
	for _, size := range part.Steps {
		options := &sl.StateOptions{Batch: x.Dims()[0], MaxSteps: size, Input: sl.ChannelSpec{Shape: part.ChannelShape}}
		stream := must1(must1(layer.NewState(options))(t).NewStepper(size, nil))(t)
		for begin := 0; begin < x.Dims()[1]; begin += size {
			setSteps(stream.Input, x, begin)
			must(t, stream.Step())
			what := fmt.Sprintf("step-wise by %d", size)
			assertClose(t, stream.Output, steps(t, expected, begin, begin+size), part.Tolerance, what)
		}
	}
	_, err := openCustom(t, part.Error.Model, newTestGain)
	assertError(t, err, part.Error)
	_, err = openCustom(t, part.Model, func(string, *sl.WeightSource) (sl.CustomLayer, error) { panic("not today") })
	assertError(t, err, errorCase{Name: "panic", Code: int32(sl.Callback), Message: "panicked: not today"})
}

func TestClosedHandlesAreRefused(t *testing.T) {
	part := suite(t).Vad
	layer := open(t, part.Model)
	stream := vadStream(t, layer, part.Block)
	must(t, stream.Close())
	must(t, stream.Close())
	must(t, layer.Close())
	must(t, layer.Close())
	refused := errorCase{Name: "closed", Code: int32(sl.InvalidArgument), Message: "closed"}
	assertError(t, stream.Step(), refused)
	_, err := layer.NewState(nil)
	assertError(t, err, refused)
	_, err = layer.BlockSize()
	assertError(t, err, refused)
}

func TestWeights(t *testing.T) {
	part := suite(t).Vad
	weights := must1(sl.OpenWeights(suitePath(part.Model + "/model.safetensors")))(t)
	copied := must1(sl.NewWeights())(t)
	for _, name := range weights.Names() {
		must(t, copied.Add(name, must1(weights.Find(name))(t)))
	}
	config := string(must1(os.ReadFile(suitePath(part.Model + "/config.json")))(t))
	layer := must1(sl.Create(config, copied, nil))(t)
	must(t, copied.Close())
	_, err := sl.Create(config, copied, nil)
	assertError(t, err, errorCase{Name: "weights", Code: int32(sl.InvalidArgument), Message: "closed"})
	samples := floats(t, part.Input)[:50*part.Block]
	found := probabilities(t, vadStream(t, layer, part.Block), samples, part.Block)
	assertNear(t, found, floats(t, part.Expected)[:50], part.Tolerance, "own weights")
}

func TestStepsAllocateNothing(t *testing.T) {
	stream := vadStream(t, open(t, suite(t).Overhead.Model), 1)
	block := []float32{1}
	for what, step := range map[string]func(){
		"Step":       func() { must(t, stream.Step()) },
		"Process":    func() { must(t, must2(stream.Process(block))) },
		"State.Step": func() { must(t, stream.State().Step(stream.Input, stream.Output, nil, nil)) },
	} {
		if allocations := testing.AllocsPerRun(1000, step); allocations != 0 {
			t.Errorf("%s: %v allocations", what, allocations)
		}
	}
}

func must2(_ []float32, err error) error { return err }

func TestOverhead(t *testing.T) {
	part := suite(t).Overhead
	stream := vadStream(t, open(t, part.Model), 1)
	best := time.Hour
	for round := 0; round < part.Rounds; round++ {
		start := time.Now()
		for i := 0; i < part.Steps; i++ {
			if err := stream.Step(); err != nil {
				t.Fatal(err)
			}
		}
		if mean := time.Since(start); mean < best {
			best = mean
		}
	}
	nanoseconds := float64(best.Nanoseconds()) / float64(part.Steps)
	t.Logf("overhead: a step takes %.0f ns, %.0f ns more than in C", nanoseconds, nanoseconds-1e9*part.CSeconds)
	if nanoseconds > 20000 {
		t.Error("a step takes longer than 20 us")
	}
}
