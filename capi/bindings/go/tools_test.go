package sequencelayers_test

import (
	"path/filepath"
	"strings"
	"testing"

	sl "sequencelayers.org/sequencelayers"
)

func TestProfiles(t *testing.T) {
	layer := must1(sl.Create(`{"type": "Serial", "layers": [{"type": "Delay", "length": 2, "name": "late"}]}`, nil, nil))(t)
	profile := must1(sl.NewProfile())(t)
	state := must1(layer.NewState(nil))(t)
	must(t, state.Record(profile))
	x := must1(sl.NewSequence(sl.Float32, 1, 1))(t)
	must(t, layer.ApplyRecorded(profile, x, must1(layer.NewOutput(sl.LayerMode, x, nil))(t), nil, nil))
	stepper := must1(state.NewStepper(1, nil))(t)
	must(t, stepper.Step())
	must(t, stepper.StepSlots([]int{0}))
	must(t, must2(stepper.Process([]float32{1})))
	costs := must1(profile.Describe())(t)
	if len(costs) != 2 || costs[1].Type != "Delay" || costs[1].Calls != 4 || costs[0].Parent != nil || *costs[1].Parent != 0 {
		t.Errorf("%+v", costs)
	}
	must(t, profile.Reset())
	must(t, state.Record(nil))
	must(t, stepper.Step())
	if costs := must1(profile.Describe())(t); len(costs) != 0 {
		t.Errorf("%+v", costs)
	}
	must(t, state.Record(profile))
	must(t, profile.Close()) // lives on in its state
	must(t, stepper.Step())
	assertError(t, profile.Reset(), errorCase{Name: "profile", Code: int32(sl.InvalidArgument), Message: "closed"})
	must(t, state.Close())
}

func TestProfileOfFoldedLayers(t *testing.T) {
	weights := must1(sl.NewWeights())(t)
	must(t, weights.Add("params.conv.kernel", must1(sl.NewSequence(sl.Float32, 1, 1, 2))(t)))
	must(t, weights.Add("params.conv.bias", must1(sl.NewArray(sl.Float32, 2))(t)))
	layer := must1(sl.Create(`{"type": "Serial", "layers": [
		{"type": "Conv1D", "name": "conv", "filters": 2, "kernel_size": 1}, {"type": "Relu"}]}`, weights, nil))(t)
	profile := must1(sl.NewProfile())(t)
	x := must1(sl.NewSequence(sl.Float32, 1, 1, 1))(t)
	must(t, layer.ApplyRecorded(profile, x, must1(layer.NewOutput(sl.LayerMode, x, nil))(t), nil, nil))
	costs := must1(profile.Describe())(t)
	if len(costs) != 3 || costs[1].FoldedInto != nil || costs[2].FoldedInto == nil || *costs[2].FoldedInto != 1 {
		t.Errorf("%+v", costs)
	}
}

func TestProfileOfADecoder(t *testing.T) {
	part := suite(t).Decoder
	profile := must1(sl.NewProfile())(t)
	decoder := must1(open(t, part.Model).NewDecoder(sl.DecoderOptions{StartToken: part.StartToken}))(t)
	must(t, decoder.Record(profile))
	samples(t, decoder, 3)
	if costs := must1(profile.Describe())(t); costs[0].Calls != 3 {
		t.Errorf("%+v", costs[0])
	}
}

func TestLog(t *testing.T) {
	var levels []sl.LogLevel
	var messages []string
	sl.SetLog(sl.LogInfo, func(level sl.LogLevel, message string) {
		levels, messages = append(levels, level), append(messages, message)
	})
	create := func() { must1(sl.Create(`{"type": "Abs"}`, nil, nil))(t) }
	create()
	sl.SetLog(sl.LogWarning, nil)
	create()
	if len(messages) != 1 || levels[0] != sl.LogInfo || !strings.Contains(messages[0], "made a Abs") {
		t.Errorf("%v %q", levels, messages)
	}
}

func TestAStateIsReadAndSet(t *testing.T) {
	layer := must1(sl.Create(`{"type": "Delay", "length": 1}`, nil, nil))(t)
	if field := must1(layer.ReceptiveField())(t); *field != (sl.ReceptiveField{Start: -1, End: -1}) {
		t.Errorf("%+v", field)
	}
	if differences := must1(layer.StepDifferences())(t); len(differences) != 0 {
		t.Errorf("%+v", differences)
	}
	stepper := must1(must1(layer.NewState(nil))(t).NewStepper(1, nil))(t)
	must(t, must2(stepper.Process([]float32{7})))
	set := false
	for _, tensor := range must1(stepper.State().Tensors())(t) {
		if tensor.Value.DType() == sl.Int32 {
			assertError(t, stepper.State().SetTensor(tensor.Name, tensor.Value),
				errorCase{Name: tensor.Name, Code: int32(sl.Unsupported), Message: "index"})
		} else if tensor.Value.DType() == sl.Float32 && tensor.Value.Float32s()[0] == 7 {
			tensor.Value.Float32s()[0], set = 9, true
			must(t, stepper.State().SetTensor(tensor.Name, tensor.Value))
		}
	}
	if y := must1(stepper.Process([]float32{1}))(t); y[0] != 9 || !set {
		t.Errorf("%v, set: %v", y, set)
	}
	missing := errorCase{Name: "none", Code: int32(sl.InvalidArgument), Message: "no state tensor"}
	assertError(t, stepper.State().SetTensor("none", stepper.Input), missing)
}

func TestCacheFormats(t *testing.T) {
	config := `{"type": "Identity"}`
	must1(sl.Create(config, nil, &sl.LayerOptions{KVFormat: "int8"}))(t)
	_, err := sl.Create(config, nil, &sl.LayerOptions{KVFormat: "int4"})
	assertError(t, err, errorCase{Name: "int4", Code: int32(sl.InvalidArgument), Message: "expected float32, bfloat16 or int8"})
}

func TestPackedWeights(t *testing.T) {
	part := suite(t).Vad
	options := &sl.LayerOptions{WeightFormat: "bfloat16", NumStepThreads: 1, MatmulBackend: sl.OwnBackend}
	packed := filepath.Join(t.TempDir(), "packed.safetensors")
	must(t, must1(sl.Open(suitePath(part.Model), options))(t).SaveWeights(packed))
	if len(must1(sl.OpenWeights(packed))(t).Names()) == 0 {
		t.Error("no weights")
	}
}
