// Interleaved audio frames, first in, first out, in memory of a fixed size.
#pragma once

#include <cstdint>
#include <cstring>

namespace sl {

class FrameQueue {
 public:
  FrameQueue() = default;
  // Takes memory of floats_for(capacity, channels) floats, which stays the caller's.
  FrameQueue(float* memory, int64_t capacity, int64_t channels)
      : memory_(memory), slots_(2 * capacity), channels_(channels) {}
  // Twice the capacity: frames move to the start of the memory once for each time that it fills.
  static constexpr int64_t floats_for(int64_t capacity, int64_t channels) {
    return 2 * capacity * channels;
  }

  int64_t size() const { return end_ - begin_; }
  const float* front() const { return memory_ + begin_ * channels_; }
  // Contiguous room behind the last frame for frames that keep the queue within its capacity.
  // `added` makes them part of the queue.
  float* room(int64_t frames) {
    if (end_ + frames > slots_) {
      std::memmove(memory_, front(), bytes(size()));
      end_ -= begin_;
      begin_ = 0;
    }
    return memory_ + end_ * channels_;
  }
  void added(int64_t frames) { end_ += frames; }
  void push(const float* frames, int64_t count) {
    std::memcpy(room(count), frames, bytes(count));
    added(count);
  }
  void remove(int64_t frames) { begin_ += frames; }
  // Leaves nothing but that many silent frames.
  void restart(int64_t silent) {
    begin_ = end_ = 0;
    std::memset(room(silent), 0, bytes(silent));
    added(silent);
  }

 private:
  size_t bytes(int64_t frames) const {
    return static_cast<size_t>(frames * channels_) * sizeof(float);
  }

  float* memory_ = nullptr;
  int64_t slots_ = 0;
  int64_t channels_ = 0;
  int64_t begin_ = 0;
  int64_t end_ = 0;
};

}  // namespace sl
