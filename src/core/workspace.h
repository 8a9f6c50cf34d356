// Memory of one run: two stacks. A layer's output goes on one, what it needs meanwhile on the
// other, so that a chain of layers alternates between them and holds no more than two intermediate
// results.
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

  // Grows on demand, by chunks that never move, to the allocator's max_bytes; together with
  // `other`, if there is one.
  explicit Stack(const Allocator& allocator, const Stack* other = nullptr)
      : allocator_(&allocator), other_(other) {}
  // Of fixed size, in memory of the caller: running out is an internal error.
  Stack(std::byte* memory, size_t size) : memory_(memory), room_(size) {}

  std::byte* allocate(size_t size) {
    // An allocation of no bytes takes room too, so that no two have the same address.
    size = std::max(size, size_t{1});
    // Room comes in multiples of the alignment: what fits does so aligned.
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
  // Whether it points into what was allocated since. Exact whatever the chunks are: what a run does
  // depends on the answer, and a rehearsal must do the same as a step, in other memory.
  bool made_since(const Mark& mark, const std::byte* pointer) const {
    if (mark.chunk != chunk_ && in_full_chunk(mark, pointer)) return true;
    const size_t begin = mark.chunk == chunk_ ? mark.used : 0;
    return pointer >= memory_ + begin && pointer < memory_ + used_;
  }
  // The most that was in use at once.
  size_t peak() const { return peak_; }

 private:
  std::byte* allocate_elsewhere(size_t size);
  void enter(size_t chunk);
  // Whether it points into the part since the mark of a chunk that is not the one in use.
  bool in_full_chunk(const Mark& mark, const std::byte* pointer) const;

  const Allocator* allocator_ = nullptr;  // null: of fixed size
  const Stack* other_ = nullptr;
  std::vector<Block> chunks_;
  std::byte* memory_ = nullptr;  // of the chunk in use, and its size
  size_t room_ = 0;
  size_t chunk_ = 0;
  size_t used_ = 0;   // bytes of it
  size_t below_ = 0;  // bytes used in the chunks before it
  size_t peak_ = 0;
};

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

  Stack& on(Side side) { return stacks_[static_cast<size_t>(side)]; }

 private:
  Stack stacks_[2];
};

}  // namespace sl
