package sequencelayers_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"os"

	sl "sequencelayers.org/sequencelayers"
)

// Prints the probability of speech for each block of samples.
func Example() {
	model, err := sl.Open("build/demo/silero_vad", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	if err := detect(model, os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func detect(model *sl.Layer, in io.Reader, out io.Writer) error {
	state, err := model.NewState(nil) // one stream, one block per step
	if err != nil {
		return err
	}
	stream, err := state.NewStepper(512, nil)
	if err != nil {
		return err
	}
	defer stream.Close()
	for binary.Read(in, binary.LittleEndian, stream.Input.Float32s()) == nil {
		if err := stream.Step(); err != nil { // allocates nothing
			return err
		}
		fmt.Fprintf(out, "%.3f\n", stream.Output.Float32s()[0])
	}
	return nil
}
