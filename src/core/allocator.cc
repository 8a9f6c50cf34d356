#include "core/allocator.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <cstdlib>
#include <utility>

#include "core/available_memory.h"

namespace sl {
namespace {

// Allocates large blocks in huge pages if the system has them. Each step reads the weights from end
// to end, and with small pages that exceeds the CPU's translation buffers.
void* allocate(size_t size) {
#ifdef __linux__
  constexpr size_t kLargePage = size_t{1} << 21;
  void* memory = nullptr;
  if (size >= 2 * kLargePage) {
    if (posix_memalign(&memory, kLargePage, size) != 0) return nullptr;
    madvise(memory, size, MADV_HUGEPAGE);  // only advice: it may fail
    return memory;
  }
#endif
  return std::aligned_alloc(kAlignment, size);
}

}  // namespace

void require_memory(size_t bytes, size_t maximum) {
  // The system is asked only for large sizes, since asking takes time.
  constexpr size_t kLarge = size_t{1} << 28;
  if (bytes > maximum) fail_too_large(bytes, maximum);
  if (bytes < kLarge) return;
  const size_t available = available_memory();
  if (bytes > available) {
    throw SizeError(Code::kOutOfMemory,
                    fmt::format("{} bytes are needed: the system has {} bytes of memory left",
                                bytes, available));
  }
}

Block::Block(size_t size, const Allocator& allocator)
    : allocator_(allocator), size_(align_up(size)) {
  if (size_ == 0) return;
  require_memory(size_, allocator_.max_bytes);
  void* memory = allocator_.allocate ? allocator_.allocate(allocator_.user_data, size_, kAlignment)
                                     : sl::allocate(size_);
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
