// Memory for layers, states and workspaces, through the caller's hook where one is given.
#pragma once

#include <cstddef>

#include "core/size.h"

namespace sl {

// Beyond the largest models that are run on CPUs: 64 GiB.
constexpr size_t kDefaultMaxBytes = size_t{1} << 36;

struct Allocator {
  void* user_data = nullptr;
  void* (*allocate)(void* user_data, size_t size, size_t alignment) = nullptr;
  void (*deallocate)(void* user_data, void* memory, size_t size, size_t alignment) = nullptr;
  // What one model, one state or one run's workspace may take.
  size_t max_bytes = kDefaultMaxBytes;
};

// Cache lines, and the widest vectors.
constexpr size_t kAlignment = 64;

constexpr size_t align_up(size_t size, size_t alignment = kAlignment) {
  return checked_add(size, alignment - 1) / alignment * alignment;
}

// Fails if `bytes` are more than `most`, or than the system can give: where memory is overcommitted
// a process is killed that writes to more than there is.
void require_memory(size_t bytes, size_t most);

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
