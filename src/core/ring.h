// The latest frames of a stream, kept in its state. Every frame is written twice, `capacity` apart,
// so that any run of the newest frames is contiguous: a step costs the same however long the
// history is, and nothing is ever shifted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/sequence.h"
#include "core/status.h"

namespace sl {

struct RingSpec {
  ChannelSpec frame;
  int64_t history = 0;  // frames that a call needs beside its own
  double fill = 0;      // values and mask of the history before the first step
  bool mask_fill = false;
};

// One call's view of it. First fill `incoming` for each batch item, then `push`, then read
// `newest`.
class Ring {
 public:
  // The state tensors of a layer that takes at most `max_steps` per call.
  template <typename Declaration>
  static void declare(Declaration& declaration, const RingSpec& spec, int64_t batch,
                      int64_t max_steps) {
    const int64_t capacity = spec.history + max_steps;
    // Initial values of state are float32.
    if (capacity > int64_t{1} << 24) {
      fail(Code::kUnsupported, "a history of {} steps, for {} per call, is too long", spec.history,
           max_steps);
    }
    Shape values{batch, 2 * capacity};
    for (int64_t d : spec.frame.shape) values.push_back(d);
    declaration.state("values", spec.frame.dtype, values, spec.fill);
    declaration.state("mask", DType::kBool, Shape{batch, 2 * capacity}, spec.mask_fill ? 1 : 0);
    // Where the next frame goes.
    declaration.index("cursor", {}, 0, capacity - 1);
    declaration.index("capacity", {}, capacity, capacity, static_cast<double>(capacity));
  }

  // Takes the tensors in the same order.
  template <typename Run>
  Ring(Run& run, const RingSpec& spec)
      : frame_bytes_(static_cast<size_t>(spec.frame.shape.size()) * size_of(spec.frame.dtype)),
        values_(run.template state<std::byte>()),
        mask_(run.template state<uint8_t>()),
        cursor_(run.template state<int32_t>()),
        capacity_(*run.template state<int32_t>()),
        next_(*cursor_) {}

  // Contiguous room for the new frames of item b.
  std::byte* incoming(int64_t b) const { return values_at(b, next_); }
  uint8_t* incoming_mask(int64_t b) const { return mask_at(b, next_); }

  // Appends what has been written there.
  void push(int64_t batch, int64_t steps) {
    // Frames before and after the middle have their doubles on the other side of it.
    const int64_t low = steps < capacity_ - next_ ? steps : capacity_ - next_;
    for (int64_t b = 0; b < batch; ++b) {
      copy(b, next_, next_ + capacity_, low);
      copy(b, capacity_, 0, steps - low);
    }
    next_ = (next_ + steps) % capacity_;
    *cursor_ = static_cast<int32_t>(next_);
  }

  // The same of frames that lie elsewhere: all of x. What has only just been written is slow to
  // read, so that each copy is made of x.
  void push(const Sequence& x) {
    const int64_t low = x.time < capacity_ - next_ ? x.time : capacity_ - next_;
    for (int64_t b = 0; b < x.batch; ++b) {
      put(b, next_, x, 0, x.time);
      put(b, next_ + capacity_, x, 0, low);
      if (low < x.time) put(b, 0, x, low, x.time - low);
    }
    next_ = (next_ + x.time) % capacity_;
    cursor_[0] = static_cast<int32_t>(next_);
  }

  // The newest frames of item b, contiguous: at most the history and the frames of this call.
  std::byte* newest(int64_t b, int64_t frames) const { return values_at(b, start_of(frames)); }
  uint8_t* newest_mask(int64_t b, int64_t frames) const { return mask_at(b, start_of(frames)); }
  // Frames from one batch item to the next.
  int64_t batch_pitch() const { return 2 * capacity_; }

 private:
  int64_t start_of(int64_t frames) const {
    return next_ >= frames ? next_ - frames : next_ - frames + capacity_;
  }
  std::byte* values_at(int64_t b, int64_t frame) const {
    return values_ + static_cast<size_t>(b * 2 * capacity_ + frame) * frame_bytes_;
  }
  uint8_t* mask_at(int64_t b, int64_t frame) const { return mask_ + b * 2 * capacity_ + frame; }
  void put(int64_t b, int64_t to, const Sequence& x, int64_t t, int64_t count) const {
    const auto frames = static_cast<size_t>(count);
    std::memcpy(values_at(b, to), x.frame(b, t), frames * frame_bytes_);
    std::memcpy(mask_at(b, to), x.mask_at(b, t), frames);
  }
  void copy(int64_t b, int64_t from, int64_t to, int64_t count) const {
    const auto frames = static_cast<size_t>(count);
    std::memcpy(values_at(b, to), values_at(b, from), frames * frame_bytes_);
    std::memcpy(mask_at(b, to), mask_at(b, from), frames);
  }

  size_t frame_bytes_;
  std::byte* values_;
  uint8_t* mask_;
  int32_t* cursor_;
  int64_t capacity_;
  int64_t next_;
};

}  // namespace sl
