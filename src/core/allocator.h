// Memory for layers, states and workspaces, through the caller's hook where one is given.
#pragma once

#include <cstddef>

#include "core/size.h"

namespace sl {

// Default limit: 64 GiB, more than the largest models that run on CPUs need.
constexpr size_t kDefaultMaxBytes = size_t{1} << 36;

struct Allocator {
  void* user_data = nullptr;
  void* (*allocate)(void* user_data, size_t size, size_t alignment) = nullptr;
  void (*deallocate)(void* user_data, void* memory, size_t size, size_t alignment) = nullptr;
  // Maximum size of one model, one state or the workspace of one run.
  size_t max_bytes = kDefaultMaxBytes;
};

// Alignment of all memory: that of a cache line and of the widest vectors.
constexpr size_t kAlignment = 64;

constexpr size_t align_up(size_t size, size_t alignment = kAlignment) {
  return checked_add(size, alignment - 1) / alignment * alignment;
}

// Fails if `bytes` exceeds `maximum` or the memory that the system can provide. A system that
// overcommits memory would kill the process once it writes to more than is available.
void require_memory(size_t bytes, size_t maximum);

// Aligned memory of fixed size, owned; throws Error if there is none, or if it is more than the
// allocator's max_bytes.
class Block {
 public:
  Block() = default;
  Block(size_t size, const Allocator& allocator);
  Block(Block&& other) noexcept { *this = static_cast<Block&&>(other); }
  Block& operator=(Block&& other) noexcept;
  ~Block();

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  Allocator allocator_;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace sl
