#include "core/allocator.h"

#include <cstdlib>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "core/status.h"

namespace sl {
namespace {

// Of large blocks, such as a matrix that each step reads from end to end, few pages are to be
// looked up.
std::byte* allocate_by_default(size_t size) {
  constexpr size_t kHugePage = size_t{1} << 21;
  const bool is_large = size >= kHugePage;
  void* const memory = std::aligned_alloc(is_large ? kHugePage : kAlignment, size);
#ifdef __linux__
  if (memory && is_large) madvise(memory, size, MADV_HUGEPAGE);  // a hint: it may fail
#endif
  return static_cast<std::byte*>(memory);
}

}  // namespace

Block::Block(size_t size, const Allocator& allocator)
    : allocator_(allocator), size_(align_up(size)) {
  if (size_ == 0) return;
  data_ =
      allocator_.allocate
          ? static_cast<std::byte*>(allocator_.allocate(allocator_.user_data, size_, kAlignment))
          : allocate_by_default(size_);
  if (!data_) fail(Code::kOutOfMemory, "no memory for {} bytes", size_);
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
