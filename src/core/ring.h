// The latest frames of a stream, kept in its state. Every frame is written twice, `capacity` apart,
// so that any run of the newest frames is contiguous: a step costs the same however long the
// history is, and nothing is ever shifted. Or all frames of a stream, which has an end then.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "core/run.h"
#include "core/sequence.h"
#include "core/state.h"

namespace sl {

struct RingSpec {
  ChannelSpec frame;
  int64_t history = 0;  // frames that a call needs beside its own
  double fill = 0;      // values and mask of the history before the first step
  bool mask_fill = false;
  bool keeps_all = false;  // since the start of the stream: a ring that never turns, written once
  int64_t parts = 0;  // rows of frames of each item that move together, with one mask; 0: one row
};

// One call's view of it. First fill `incoming` for each batch item, then `push`, then read
// `newest`. Items need not stand at the same position: one may have been reset or loaded alone.
class Ring {
 public:
  // Declares the state tensors of a layer that takes at most `max_steps` per call, of `max_length`
  // in all: values [batch, parts, rows, frame...], mask [batch, rows] and the row of each item
  // where its next frame goes, [batch].
  static void declare(Declaration& declaration, const RingSpec& spec, int64_t batch,
                      int64_t max_steps, int64_t max_length = 0);
  static constexpr size_t kTensors = 3;

  // Copies an item of a source's ring, all of it unless the capacities differ: then as copy_history
  // does, into one that is as at the start.
  static void copy_item(const StateTensors& to, int64_t item, const StateTensors& from,
                        int64_t from_item);
  // Copies what later calls read, into a ring in use or as at the start: the history, or all there
  // is. Frames are copied once: their doubles are read only in later laps, which write them anew.
  static void copy_history(const StateTensors& to, int64_t item, const StateTensors& from,
                           int64_t from_item);

  // Takes the tensors in the order of declaration.
  Ring(Run& run, const RingSpec& spec)
      : Ring(run, static_cast<size_t>(spec.frame.shape.size()) * size_of(spec.frame.dtype),
             spec.history, spec.keeps_all, spec.parts) {}
  Ring(Run& run, size_t frame_bytes, int64_t history, bool keeps_all = false, int64_t parts = 0);

  // Frames of item b that a call of `steps` reads before it pushes them, and the maximum of any.
  int64_t count(int64_t b, int64_t steps) const {
    return (keeps_all_ ? cursor(b) : history_) + steps;
  }
  int64_t capacity() const { return capacity_; }

  // Contiguous room for the new frames of item b.
  std::byte* incoming(int64_t b, int64_t part = 0) const { return values_at(b, part, cursor(b)); }
  uint8_t* incoming_mask(int64_t b) const { return mask_at(b, cursor(b)); }

  // Appends what has been written there.
  void push(int64_t batch, int64_t steps);
  // Appends frames that lie elsewhere: all of x. What has only just been written is slow to read,
  // so that each copy is made from x.
  void push(const Sequence& x);

  // The newest frames of item b, contiguous: at most count() of this call.
  std::byte* newest(int64_t b, int64_t frames, int64_t part = 0) const {
    return values_at(b, part, start_of(b, frames));
  }
  uint8_t* newest_mask(int64_t b, int64_t frames) const { return mask_at(b, start_of(b, frames)); }
  // The row of item b at which its newest frames begin.
  int64_t start_of(int64_t b, int64_t frames) const {
    return cursor(b) >= frames ? cursor(b) - frames : cursor(b) - frames + capacity_;
  }
  // Rows of one part of an item; row 0 of the first slot's first part, and of its mask.
  int64_t rows() const { return rows_; }
  std::byte* values() const { return values_; }
  uint8_t* mask() const { return mask_; }

  // Calls fn(first, count) for each range of items in neighbouring slots that stand at one row: all
  // of them, unless some are alone at their position in a stream.
  template <typename Fn>
  void each_range(int64_t batch, Fn&& fn) const {
    each_equal_range(
        batch, [&](int64_t b) { return std::pair(cursor(b), slots_[b] - b); }, fn);
  }
  // Whether that range is one.
  bool is_one_range(int64_t batch) const {
    int64_t ranges = 0;
    each_range(batch, [&](int64_t, int64_t) { ++ranges; });
    return ranges <= 1;
  }

 private:
  int64_t cursor(int64_t b) const { return cursor_[slots_[b]]; }
  // A call's steps are no more than the capacity: no need to divide.
  void advance(int64_t b, int64_t steps) {
    int64_t next = cursor(b) + steps;
    if (next >= capacity_ && !keeps_all_) next -= capacity_;
    cursor_[slots_[b]] = static_cast<int32_t>(next);
  }
  std::byte* values_at(int64_t b, int64_t part, int64_t row) const {
    return values_ + static_cast<size_t>((slots_[b] * parts_ + part) * rows_ + row) * frame_bytes_;
  }
  uint8_t* mask_at(int64_t b, int64_t row) const { return mask_ + slots_[b] * rows_ + row; }
  void put(int64_t b, int64_t to, const Sequence& x, int64_t t, int64_t count) const {
    const auto frames = static_cast<size_t>(count);
    std::memcpy(values_at(b, 0, to), x.frame(b, t), frames * frame_bytes_);
    std::memcpy(mask_at(b, to), x.mask_at(b, t), frames);
  }
  void copy(int64_t b, int64_t from, int64_t to, int64_t count) const {
    const auto frames = static_cast<size_t>(count);
    for (int64_t part = 0; part < parts_; ++part) {
      std::memcpy(values_at(b, part, to), values_at(b, part, from), frames * frame_bytes_);
    }
    std::memcpy(mask_at(b, to), mask_at(b, from), frames);
  }

  size_t frame_bytes_;
  int64_t parts_;
  int64_t history_;
  bool keeps_all_;
  Slots slots_;
  std::byte* values_;
  int64_t rows_;
  int64_t capacity_;
  uint8_t* mask_;
  int32_t* cursor_;
};

}  // namespace sl
