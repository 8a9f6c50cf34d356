package sequencelayers

// #include "calls.h"
import "C"

import "unsafe"

// streams is what states and decoders share.
type streams struct {
	exclusive
	err     *C.sl_error
	profile *Profile
}

func (s *streams) do(call func() C.sl_status) error {
	return s.call(s.err, call)
}

// from makes a call that reads other streams too, which may be these.
func (s *streams) from(source *streams, call func() C.sl_status) error {
	if source == s {
		return s.do(call)
	}
	if err := source.enter(); err != nil {
		return err
	}
	defer source.leave()
	return s.do(call)
}

// Record has the runs recorded from now on; nil ends that.
func (s *streams) Record(profile *Profile) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := profile.take(); err != nil {
		return err
	}
	s.profile.release()
	s.profile = profile
	return nil
}

// enterRun admits a run, which may be recorded.
func (s *streams) enterRun() error {
	if err := s.enter(); err != nil {
		return err
	}
	err := s.profile.enter()
	if err != nil {
		s.leave()
	}
	return err
}

func (s *streams) leaveRun() {
	s.profile.leave()
	s.leave()
}

// save is what a call writes, whose bytes size counts.
func (s *streams) save(size func() C.size_t, call func(out unsafe.Pointer, size C.size_t) C.sl_status) ([]byte, error) {
	var out []byte
	err := s.do(func() C.sl_status {
		out = make([]byte, size())
		return call(unsafe.Pointer(&out[0]), C.size_t(len(out)))
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// restore gives a call what was saved of a state, an item or a slot.
func (s *streams) restore(what string, saved []byte, call func(from unsafe.Pointer, size C.size_t) C.sl_status) error {
	if len(saved) == 0 {
		return &Error{BadState, "a saved " + what + " has bytes"}
	}
	return s.do(func() C.sl_status { return call(unsafe.Pointer(&saved[0]), C.size_t(len(saved))) })
}
