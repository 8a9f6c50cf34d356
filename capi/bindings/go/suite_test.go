package sequencelayers_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	sl "sequencelayers.org/sequencelayers"
)

type tensorFile struct {
	File, DType string
	Shape       []int
}

type sequenceFile struct {
	Name, Kind, Path   string
	Streamed, Stepwise bool
	Values, Mask       tensorFile
}

type errorCase struct {
	Name, Call, Model, Status, Message, File, DType string
	Code                                            int32
	Options                                         struct {
		Batch        int
		ChannelShape []int `json:"channel_shape"`
		DType        string
		MaxLength    int `json:"max_length"`
	}
	Shape       []int
	StepsBefore int   `json:"steps_before"`
	StartToken  int32 `json:"start_token"`
}

// slotCall is a call on slots, or a step of several.
type slotCall struct {
	Call                   string
	State, Slot, Stream    int
	FromState              int `json:"from_state"`
	FromSlot               int `json:"from_slot"`
	Slots, Streams, Blocks []int
}

type slotsCase struct {
	Name, Model     string
	Batches         []int
	Block           int
	ChannelShape    []int `json:"channel_shape"`
	Input, Expected sequenceFile
	Constants       []sequenceFile
	Tolerance       float64
	Script          []slotCall
}

// manifest is the suite of packaging/bindings/README.md.
type manifest struct {
	Vad struct {
		Model           string
		Metadata        map[string]string
		Block           int
		Input, Expected tensorFile
		Tolerance       float64
		SaveAt          int `json:"save_at"`
	}
	Streams struct {
		Model                  string
		Block, Threads, Blocks int
		Starts                 []int
		Input, Expected        tensorFile
		Tolerance              float64
	}
	Conformer struct {
		Model            string
		Block            int
		Input, Expected  sequenceFile
		Constants, Emits []sequenceFile
		Tolerance        float64
	}
	Decoder struct {
		Model      string
		StartToken int32 `json:"start_token"`
		Prompt     tensorFile
		Greedy     struct {
			Tokens    tensorFile
			LogProbs  tensorFile `json:"log_probs"`
			Tolerance float64
		}
		Stop struct {
			StopToken int32 `json:"stop_token"`
			PadToken  int32 `json:"pad_token"`
			Count     int
		}
		Slots struct {
			Batches []int
			Streams []struct {
				Prompt, Tokens []int32
				Count          int
				Options        struct {
					StartToken  int32 `json:"start_token"`
					StopToken   int32 `json:"stop_token"`
					PadToken    int32 `json:"pad_token"`
					Seed        uint64
					Temperature float32
					TopK        int     `json:"top_k"`
					TopP        float32 `json:"top_p"`
				}
			}
			Script []slotCall
		}
		Sampled struct {
			Seed        uint64
			Temperature float32
			TopK        int     `json:"top_k"`
			TopP        float32 `json:"top_p"`
			Tokens      []int32
		}
	}
	Frames struct {
		Model     string
		Constants []sequenceFile
		Tokens    tensorFile
		LogProbs  tensorFile `json:"log_probs"`
		Tolerance float64
		Guided    struct {
			Guidance []float32
			Tokens   tensorFile
		}
	}
	Custom struct {
		Type, Model     string
		ChannelShape    []int `json:"channel_shape"`
		Steps           []int
		Input, Expected sequenceFile
		Tolerance       float64
		Error           errorCase
	}
	Slots    []slotsCase
	Errors   []errorCase
	Overhead struct {
		Model         string
		Steps, Rounds int
		CSeconds      float64 `json:"c_seconds_per_step"`
	}
}

func suitePath(name string) string {
	return filepath.Join(os.Getenv("SEQUENCE_LAYERS_SUITE"), name)
}

func suite(t testing.TB) *manifest {
	t.Helper()
	out := &manifest{}
	must(t, json.Unmarshal(must1(os.ReadFile(suitePath("suite.json")))(t), out))
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must1 takes a call's result, and fails the test if it is an error.
func must1[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return value
	}
}

func dtypeOf(t testing.TB, name string) sl.DType {
	for dtype := sl.Float32; dtype <= sl.Int8; dtype++ {
		if dtype.String() == name {
			return dtype
		}
	}
	t.Fatalf("no dtype %q", name)
	return 0
}

// array reads a tensor of the suite, whose memory stays until the test ends.
func array(t testing.TB, file tensorFile) *sl.Tensor {
	t.Helper()
	out := must1(sl.NewArray(dtypeOf(t, file.DType), file.Shape...))(t)
	t.Cleanup(func() { runtime.KeepAlive(out) })
	bytes := must1(os.ReadFile(suitePath(file.File)))(t)
	if copy(out.Bytes(), bytes) != len(bytes) || len(bytes) != len(out.Bytes()) {
		t.Fatalf("%s has %d bytes", file.File, len(bytes))
	}
	return out
}

func floats(t testing.TB, file tensorFile) []float32 {
	return append([]float32(nil), array(t, file).Float32s()...)
}

func ints(t testing.TB, file tensorFile) []int32 {
	return append([]int32(nil), array(t, file).Int32s()...)
}

func sequence(t testing.TB, file sequenceFile) *sl.Tensor {
	t.Helper()
	out := must1(sl.NewSequence(dtypeOf(t, file.Values.DType), file.Values.Shape...))(t)
	copy(out.Bytes(), array(t, file.Values).Bytes())
	copy(out.Mask(), array(t, file.Mask).Bytes())
	return out
}

// setSteps copies the steps of source from begin on into all steps of target.
func setSteps(target, source *sl.Tensor, begin int) {
	to, from := target.Dims(), source.Dims()
	row := len(source.Bytes()) / (from[0] * from[1])
	for b := 0; b < to[0]; b++ {
		copy(target.Bytes()[b*to[1]*row:(b+1)*to[1]*row], source.Bytes()[(b*from[1]+begin)*row:])
		copy(target.Mask()[b*to[1]:(b+1)*to[1]], source.Mask()[b*from[1]+begin:])
	}
}

// steps is a copy of the steps [begin, end).
func steps(t testing.TB, source *sl.Tensor, begin, end int) *sl.Tensor {
	dims := source.Dims()
	dims[1] = end - begin
	out := must1(sl.NewSequence(source.DType(), dims...))(t)
	setSteps(out, source, begin)
	return out
}

func assertNear(t testing.TB, found, expected []float32, tolerance float64, what string) {
	t.Helper()
	if len(found) != len(expected) {
		t.Fatalf("%s: %d values, not %d", what, len(found), len(expected))
	}
	for i := range found {
		if !(math.Abs(float64(found[i])-float64(expected[i])) <= tolerance) {
			t.Fatalf("%s: value %d is %v, not %v", what, i, found[i], expected[i])
		}
	}
}

// assertClose compares values where the mask is true, and the masks.
func assertClose(t testing.TB, found, expected *sl.Tensor, tolerance float64, what string) {
	t.Helper()
	if string(found.Mask()) != string(expected.Mask()) {
		t.Fatalf("%s: the masks differ", what)
	}
	x, y := found.Float32s(), expected.Float32s()
	row := len(y) / len(expected.Mask())
	for step, valid := range expected.Mask() {
		if valid != 0 {
			assertNear(t, x[step*row:(step+1)*row], y[step*row:(step+1)*row], tolerance, what)
		}
	}
	if len(x) != len(y) {
		t.Fatalf("%s: the shapes differ", what)
	}
}
