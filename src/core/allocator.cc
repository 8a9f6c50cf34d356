#include "core/allocator.h"

#include <cstdlib>
#include <utility>

#include "core/status.h"

namespace sl {

Block::Block(size_t size, const Allocator& allocator)
    : allocator_(allocator), size_(align_up(size)) {
  if (size_ == 0) return;
  void* memory = allocator_.allocate ? allocator_.allocate(allocator_.user_data, size_, kAlignment)
                                     : std::aligned_alloc(kAlignment, size_);
  if (!memory) fail(Code::kOutOfMemory, "no memory for {} bytes", size_);
  data_ = static_cast<std::byte*>(memory);
}

Block& Block::operator=(Block&& other) noexcept {
  std::swap(allocator_, other.allocator_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Block::~Block() {
  if (!data_) return;
  if (allocator_.deallocate) {
    allocator_.deallocate(allocator_.user_data, data_, size_, kAlignment);
  } else if (!allocator_.allocate) {
    std::free(data_);
  }
}

}  // namespace sl
