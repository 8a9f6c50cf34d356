// The latest frames of a stream, kept in its state. Every frame is written twice, `capacity` apart,
// so that any run of the newest frames is contiguous: a step costs the same however long the
// history is, and nothing is ever shifted. Or all frames of a stream, which has an end then.
#pragma once

#include <algorithm>
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
  bool keeps_all = false;  // since the start of the stream: a ring that never turns, written once
};

// One call's view of it. First fill `incoming` for each batch item, then `push`, then read
// `newest`.
class Ring {
 public:
  // The state tensors of a layer that takes at most `max_steps` per call, of `max_length` in all.
  template <typename Declaration>
  static void declare(Declaration& declaration, const RingSpec& spec, int64_t batch,
                      int64_t max_steps, int64_t max_length = 0) {
    const int64_t capacity = checked_sum(spec.history, spec.keeps_all ? max_length : max_steps);
    // Initial values of state are float32.
    if (capacity > int64_t{1} << 24) {
      fail(Code::kUnsupported, "a history of {} steps, for {} {}, is too long", spec.history,
           capacity - spec.history, spec.keeps_all ? "in all" : "per call");
    }
    const int64_t rows = (spec.keeps_all ? 1 : 2) * capacity;
    Shape values{batch, rows};
    for (int64_t d : spec.frame.shape) values.push_back(d);
    declaration.ring([&] {
      declaration.state("values", spec.frame.dtype, values, spec.fill);
      declaration.state("mask", DType::kBool, Shape{batch, rows}, spec.mask_fill ? 1 : 0);
      // Where the next frame goes.
      if (spec.keeps_all) {
        declaration.place("cursor", spec.history, capacity);
      } else {
        declaration.index("cursor", {}, 0, capacity - 1);
      }
      declaration.index("capacity", {}, capacity, capacity, static_cast<double>(capacity));
    });
  }
  // How many tensors these are.
  static constexpr size_t kTensors = 4;

  // Lays the newest frames of a source's ring out in one that differs in its capacity alone and is
  // as at the start. Both capacities hold the history, or all there is, and later calls read no
  // more.
  template <typename Tensors, typename Offsets>
  static void rebase(const Tensors& tensors, std::byte* data, const Offsets& offsets,
                     const Tensors& source_tensors, const std::byte* source,
                     const Offsets& source_offsets, size_t first) {
    const int64_t capacity = tensors[first + 3].least;
    const int64_t from_capacity = source_tensors[first + 3].least;
    const int64_t copies = copies_in(tensors, first);
    int32_t from_cursor = 0;
    std::memcpy(&from_cursor, source + source_offsets[first + 2], sizeof(from_cursor));
    const int64_t frames = copies == 1 ? from_cursor : std::min(capacity, from_capacity);
    const int64_t start =
        from_cursor >= frames ? from_cursor - frames : from_cursor - frames + from_capacity;
    for (size_t part = first; part < first + 2; ++part) {  // values and mask
      const auto& tensor = tensors[part];
      const int64_t batch = tensor.shape[0];
      const int64_t rows = copies * capacity * batch;
      if (rows == 0) continue;
      const size_t frame = static_cast<size_t>(tensor.shape.size() / rows) * size_of(tensor.dtype);
      const size_t bytes = static_cast<size_t>(frames) * frame;
      for (int64_t b = 0; b < batch; ++b) {
        const std::byte* from = source + source_offsets[part] +
                                static_cast<size_t>(b * copies * from_capacity + start) * frame;
        std::byte* to = data + offsets[part] + static_cast<size_t>(b * copies * capacity) * frame;
        for (int64_t i = 0; i < copies; ++i)
          std::memcpy(to + static_cast<size_t>(i * capacity) * frame, from, bytes);
      }
    }
    const auto cursor = static_cast<int32_t>(copies == 1 ? frames : frames % capacity);
    std::memcpy(data + offsets[first + 2], &cursor, sizeof(cursor));
  }

  // Takes the tensors in the same order.
  template <typename Run>
  Ring(Run& run, const RingSpec& spec)
      : Ring(run, static_cast<size_t>(spec.frame.shape.size()) * size_of(spec.frame.dtype),
             spec.history, spec.keeps_all) {}
  template <typename Run>
  Ring(Run& run, size_t frame_bytes, int64_t history, bool keeps_all = false)
      : frame_bytes_(frame_bytes),
        values_(run.template state<std::byte>()),
        mask_(run.template state<uint8_t>()),
        cursor_(run.template state<int32_t>()),
        capacity_(*run.template state<int32_t>()),
        next_(*cursor_),
        history_(history),
        keeps_all_(keeps_all) {}

  // Frames that a call of `steps` reads, and the most that any does.
  int64_t count(int64_t steps) const { return (keeps_all_ ? next_ : history_) + steps; }
  int64_t capacity() const { return capacity_; }

  // Contiguous room for the new frames of item b.
  std::byte* incoming(int64_t b) const { return values_at(b, next_); }
  uint8_t* incoming_mask(int64_t b) const { return mask_at(b, next_); }

  // Appends what has been written there.
  void push(int64_t batch, int64_t steps) {
    if (keeps_all_) return advance(steps);
    // Frames before and after the middle have their doubles on the other side of it.
    const int64_t low = steps < capacity_ - next_ ? steps : capacity_ - next_;
    for (int64_t b = 0; b < batch; ++b) {
      copy(b, next_, next_ + capacity_, low);
      copy(b, capacity_, 0, steps - low);
    }
    advance(steps);
  }

  // The same of frames that lie elsewhere: all of x. What has only just been written is slow to
  // read, so that each copy is made of x.
  void push(const Sequence& x) {
    const int64_t low = x.time < capacity_ - next_ ? x.time : capacity_ - next_;
    for (int64_t b = 0; b < x.batch; ++b) {
      put(b, next_, x, 0, x.time);
      if (keeps_all_) continue;
      put(b, next_ + capacity_, x, 0, low);
      if (low < x.time) put(b, 0, x, low, x.time - low);
    }
    advance(x.time);
  }

  // The newest frames of item b, contiguous: at most count() of this call.
  std::byte* newest(int64_t b, int64_t frames) const { return values_at(b, start_of(frames)); }
  uint8_t* newest_mask(int64_t b, int64_t frames) const { return mask_at(b, start_of(frames)); }
  // Frames from one batch item to the next.
  int64_t batch_pitch() const { return (keeps_all_ ? 1 : 2) * capacity_; }

 private:
  // A call's steps are no more than the capacity: no need to divide.
  void advance(int64_t steps) {
    next_ += steps;
    if (next_ >= capacity_ && !keeps_all_) next_ -= capacity_;
    *cursor_ = static_cast<int32_t>(next_);
  }

  // How often a frame is written, by the tensors that begin at `first`.
  template <typename Tensors>
  static int64_t copies_in(const Tensors& tensors, size_t first) {
    return tensors[first + 2].is_place ? 1 : 2;
  }

  int64_t start_of(int64_t frames) const {
    return next_ >= frames ? next_ - frames : next_ - frames + capacity_;
  }
  std::byte* values_at(int64_t b, int64_t frame) const {
    return values_ + static_cast<size_t>(b * batch_pitch() + frame) * frame_bytes_;
  }
  uint8_t* mask_at(int64_t b, int64_t frame) const { return mask_ + b * batch_pitch() + frame; }
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
  int64_t history_;
  bool keeps_all_;
};

}  // namespace sl
