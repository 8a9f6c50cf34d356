// Memory for layers, states and workspaces, through the caller's hook where one is given.
#pragma once

#include <cstddef>

namespace sl {

struct Allocator {
  void* user_data = nullptr;
  void* (*allocate)(void* user_data, size_t size, size_t alignment) = nullptr;
  void (*deallocate)(void* user_data, void* memory, size_t size, size_t alignment) = nullptr;
};

// Cache lines, and the widest vectors.
constexpr size_t kAlignment = 64;

constexpr size_t align_up(size_t size, size_t alignment = kAlignment) {
  return (size + alignment - 1) / alignment * alignment;
}

// Aligned memory of fixed size, owned; throws Error if there is none.
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
