// Memory of one run as two stacks. A layer's output is on one stack, its scratch on the other, so
// that a chain of layers alternates between them and keeps at most two intermediate results.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/allocator.h"

namespace sl {

class Stack {
 public:
  struct Mark {
    size_t chunk = 0;
    size_t used = 0;
    size_t below = 0;
  };

  // A stack that grows on demand by chunks that never move. Its size, together with that of `other`
  // if given, is limited to the allocator's max_bytes.
  explicit Stack(const Allocator& allocator, const Stack* other = nullptr)
      : allocator_(&allocator), other_(other) {}
  // A stack of fixed size in the caller's memory. Running out of it is an internal error.
  Stack(std::byte* memory, size_t size) : memory_(memory), room_(size) {}

  std::byte* allocate(size_t size) {
    // An empty allocation takes one byte, so that no two allocations have the same address.
    size = std::max(size, size_t{1});
    // The room is a multiple of the alignment, so a size that fits also fits when it is aligned.
    if (size > room_ - used_ || !memory_) return allocate_elsewhere(size);
    std::byte* memory = memory_ + used_;
    used_ += (size + kAlignment - 1) / kAlignment * kAlignment;
    peak_ = std::max(peak_, below_ + used_);
    return memory;
  }
  Mark mark() const { return {chunk_, used_, below_}; }
  void release(const Mark& mark) {
    if (mark.chunk != chunk_) enter(mark.chunk);
    used_ = mark.used;
    below_ = mark.below;
  }
  // Whether `pointer` points into memory allocated since the mark. The answer must not depend on
  // how memory is split into chunks: a run acts on it, and a rehearsal must act as a step does.
  bool made_since(const Mark& mark, const std::byte* pointer) const {
    if (mark.chunk != chunk_ && in_full_chunk(mark, pointer)) return true;
    const size_t begin = mark.chunk == chunk_ ? mark.used : 0;
    return pointer >= memory_ + begin && pointer < memory_ + used_;
  }
  // The allocator by which the stack grows; null if it has a fixed size.
  const Allocator* allocator() const { return allocator_; }
  // The maximum number of bytes that were in use at the same time.
  size_t peak() const { return peak_; }

 private:
  std::byte* allocate_elsewhere(size_t size);
  void enter(size_t chunk);
  // Whether `pointer` points into memory allocated since the mark in a chunk before the current
  // one.
  bool in_full_chunk(const Mark& mark, const std::byte* pointer) const;

  const Allocator* allocator_ = nullptr;  // null if the stack has a fixed size
  const Stack* other_ = nullptr;
  std::vector<Block> chunks_;
  std::byte* memory_ = nullptr;  // memory of the current chunk
  size_t room_ = 0;              // size of the current chunk
  size_t chunk_ = 0;
  size_t used_ = 0;   // bytes used in the current chunk
  size_t below_ = 0;  // bytes used in the chunks before the current one
  size_t peak_ = 0;
};

// One of the two stacks of a workspace.
enum class Side : int32_t { kA = 0, kB = 1 };
constexpr Side other(Side side) { return side == Side::kA ? Side::kB : Side::kA; }

class Workspace {
 public:
  // `allocator` must outlive it.
  explicit Workspace(const Allocator& allocator)
      : stacks_{Stack(allocator, &stacks_[1]), Stack(allocator, &stacks_[0])} {}
  Workspace(std::byte* a, size_t a_size, std::byte* b, size_t b_size)
      : stacks_{Stack(a, a_size), Stack(b, b_size)} {}
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // The allocator by which the stacks grow; null if they have a fixed size.
  const Allocator* allocator() const { return stacks_[0].allocator(); }
  Stack& on(Side side) { return stacks_[static_cast<size_t>(side)]; }

 private:
  Stack stacks_[2];
};

}  // namespace sl
