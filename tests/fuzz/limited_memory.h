// An allocator with a limit: inputs that would need much memory must be refused.
#ifndef SEQUENCE_LAYERS_TESTS_FUZZ_LIMITED_MEMORY_H_
#define SEQUENCE_LAYERS_TESTS_FUZZ_LIMITED_MEMORY_H_

#include <cstdlib>

#include "sequence_layers/sequence_layers.h"

namespace sl::fuzz {

class LimitedMemory {
 public:
  LimitedMemory() {
    hook_.user_data = this;
    hook_.allocate = [](void* self, size_t size, size_t alignment) -> void* {
      auto* memory = static_cast<LimitedMemory*>(self);
      if (size > memory->left_) return nullptr;
      memory->left_ -= size;
      return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    };
    hook_.deallocate = [](void* self, void* block, size_t size, size_t) {
      static_cast<LimitedMemory*>(self)->left_ += size;
      std::free(block);
    };
  }

  const sl_allocator* hook() const { return &hook_; }

 private:
  sl_allocator hook_ = SL_ALLOCATOR_INIT;
  size_t left_ = size_t{1} << 24;
};

}  // namespace sl::fuzz

#endif  // SEQUENCE_LAYERS_TESTS_FUZZ_LIMITED_MEMORY_H_
