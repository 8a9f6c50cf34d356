#include "core/workspace.h"

namespace sl {
namespace {

// Size of the first chunk: small for models that need little memory, and large enough that others
// need few chunks.
constexpr size_t kFirstChunk = size_t{1} << 16;
// Chunks double up to this size. Larger ones have the required size and room for small allocations
// such as a mask, since much of a doubled chunk might stay unused.
constexpr size_t kLastDoubled = size_t{1} << 24;
constexpr size_t kRoom = kFirstChunk;

}  // namespace

// Allocates from the next chunk, which is created if it does not exist or is too small.
std::byte* Stack::allocate_elsewhere(size_t size) {
  if (!allocator_) fail(Code::kInternal, "a step outgrew its rehearsed workspace");
  size = align_up(size);
  const size_t needed = checked_add(below_ + used_, checked_add(size, other_ ? other_->peak_ : 0));
  if (needed > allocator_->max_bytes) fail_too_large(needed, allocator_->max_bytes);
  size_t next = chunk_;
  if (chunk_ < chunks_.size()) {
    below_ += used_;
    ++next;
  }
  if (next == chunks_.size() || chunks_[next].size() < size) {
    chunks_.resize(next);
    const size_t grown = chunks_.empty() ? kFirstChunk : 2 * chunks_.back().size();
    const size_t most = allocator_->max_bytes / kAlignment * kAlignment;
    const size_t wanted = std::max(size + kRoom, std::min(grown, kLastDoubled));
    chunks_.emplace_back(std::max(size, std::min(wanted, most)), *allocator_);
  }
  enter(next);
  used_ = size;
  peak_ = std::max(peak_, below_ + used_);
  return memory_;
}

bool Stack::in_full_chunk(const Mark& mark, const std::byte* pointer) const {
  for (size_t i = mark.chunk; i < chunk_; ++i) {
    const std::byte* const data = chunks_[i].data();
    const size_t begin = i == mark.chunk ? mark.used : 0;
    if (pointer >= data + begin && pointer < data + chunks_[i].size()) return true;
  }
  return false;
}

void Stack::enter(size_t chunk) {
  chunk_ = chunk;
  memory_ = chunks_[chunk].data();
  room_ = chunks_[chunk].size();
}

}  // namespace sl
