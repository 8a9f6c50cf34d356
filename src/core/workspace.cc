#include "core/workspace.h"

#include <algorithm>

#include "core/status.h"

namespace sl {
namespace {

// Small enough for models that need little, large enough that others need few.
constexpr size_t kFirstChunk = size_t{1} << 16;

}  // namespace

std::byte* Stack::allocate(size_t size) {
  size = align_up(size);
  std::byte* memory = nullptr;
  if (fixed_) {
    if (used_ + size > fixed_size_) fail(Code::kInternal, "a step outgrew its rehearsed workspace");
    memory = fixed_ + used_;
    used_ += size;
  } else if (chunk_ < chunks_.size() && used_ + size <= chunks_[chunk_].size()) {
    memory = chunks_[chunk_].data() + used_;
    used_ += size;
  } else {
    memory = allocate_in_new_chunk(size);
  }
  peak_ = std::max(peak_, below_ + used_);
  return memory;
}

std::byte* Stack::allocate_in_new_chunk(size_t size) {
  if (chunk_ < chunks_.size()) {
    below_ += used_;
    ++chunk_;
  }
  // A chunk left over from before serves again if it is large enough.
  if (chunk_ == chunks_.size() || chunks_[chunk_].size() < size) {
    chunks_.resize(chunk_);
    const size_t grown = chunks_.empty() ? kFirstChunk : 2 * chunks_.back().size();
    chunks_.emplace_back(std::max(size, grown), *allocator_);
  }
  used_ = size;
  return chunks_[chunk_].data();
}

void Stack::release(const Mark& mark) {
  chunk_ = mark.chunk;
  used_ = mark.used;
  below_ = mark.below;
}

}  // namespace sl
