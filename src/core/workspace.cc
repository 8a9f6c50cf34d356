#include "core/workspace.h"

#include "core/status.h"

namespace sl {
namespace {

// Small enough for models that need little, large enough that others need few.
constexpr size_t kFirstChunk = size_t{1} << 16;

}  // namespace

// In the next chunk, which is made if there is none or if it is too small.
std::byte* Stack::allocate_elsewhere(size_t size) {
  if (!allocator_) fail(Code::kInternal, "a step outgrew its rehearsed workspace");
  size_t next = chunk_;
  if (chunk_ < chunks_.size()) {
    below_ += used_;
    ++next;
  }
  if (next == chunks_.size() || chunks_[next].size() < size) {
    chunks_.resize(next);
    const size_t grown = chunks_.empty() ? kFirstChunk : 2 * chunks_.back().size();
    chunks_.emplace_back(std::max(size, grown), *allocator_);
  }
  enter(next);
  used_ = size;
  peak_ = std::max(peak_, below_ + used_);
  return memory_;
}

void Stack::enter(size_t chunk) {
  chunk_ = chunk;
  memory_ = chunks_[chunk].data();
  room_ = chunks_[chunk].size();
}

}  // namespace sl
