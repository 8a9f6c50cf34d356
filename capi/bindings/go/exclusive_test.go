package sequencelayers

import "testing"

func TestEndFailsWhileAGoroutineIsInside(t *testing.T) {
	var x exclusive
	if err := x.enter(); err != nil {
		t.Fatal(err)
	}
	if ended, err := x.end(); ended || err == nil {
		t.Errorf("%v, %v", ended, err)
	}
	x.leave()
	for _, expected := range []bool{true, false} {
		if ended, err := x.end(); ended != expected || err != nil {
			t.Errorf("%v, %v, expected %v", ended, err, expected)
		}
	}
	if x.enter() == nil {
		t.Error("entered after the end")
	}
}
