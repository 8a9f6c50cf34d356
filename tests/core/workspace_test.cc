#include "core/workspace.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/status.h"

namespace sl {
namespace {

// An allocator that counts, and that can be made to fail.
struct Memory {
  int64_t blocks = 0;
  int64_t bytes = 0;
  bool exhausted = false;

  Allocator allocator() {
    Allocator out;
    out.user_data = this;
    out.allocate = [](void* self, size_t size, size_t alignment) -> void* {
      auto* memory = static_cast<Memory*>(self);
      if (memory->exhausted) return nullptr;
      ++memory->blocks;
      memory->bytes += static_cast<int64_t>(size);
      return ::operator new(size, std::align_val_t(alignment));
    };
    out.deallocate = [](void* self, void* block, size_t size, size_t alignment) {
      auto* memory = static_cast<Memory*>(self);
      --memory->blocks;
      memory->bytes -= static_cast<int64_t>(size);
      ::operator delete(block, std::align_val_t(alignment));
    };
    return out;
  }
};

bool aligned(const std::byte* memory) {
  return reinterpret_cast<uintptr_t>(memory) % kAlignment == 0;
}

TEST_CASE("a stack grows by chunks that never move", "[workspace]") {
  Memory memory;
  const Allocator allocator = memory.allocator();
  {
    Stack stack(allocator);
    std::vector<std::byte*> blocks;
    const std::vector<size_t> sizes = {1, 100, 64, 1 << 16, 3, 1 << 18, 7, 1 << 17};
    for (const size_t size : sizes) {
      blocks.push_back(stack.allocate(size));
      REQUIRE(aligned(blocks.back()));
      std::memset(blocks.back(), static_cast<int>(blocks.size()), size);
    }
    for (size_t i = 0; i < sizes.size(); ++i) {
      CHECK(blocks[i][0] == static_cast<std::byte>(i + 1));
      CHECK(blocks[i][sizes[i] - 1] == static_cast<std::byte>(i + 1));
    }
    CHECK(memory.blocks > 1);
  }
  CHECK(memory.blocks == 0);
  CHECK(memory.bytes == 0);
}

TEST_CASE("released memory is used again", "[workspace]") {
  Memory memory;
  const Allocator allocator = memory.allocator();
  Stack stack(allocator);
  stack.allocate(64);
  const Stack::Mark mark = stack.mark();
  std::byte* first = stack.allocate(1000);
  stack.release(mark);
  CHECK(stack.allocate(1000) == first);
  const int64_t blocks = memory.blocks;
  for (int i = 0; i < 100; ++i) {
    stack.release(mark);
    stack.allocate(1 << 14);
    stack.allocate(1 << 14);
  }
  CHECK(memory.blocks == blocks);
}

TEST_CASE("a fixed stack of the peak size is sufficient", "[workspace]") {
  Memory memory;
  const Allocator allocator = memory.allocator();
  const auto use = [](Stack& stack) {
    stack.allocate(100);
    const Stack::Mark mark = stack.mark();
    stack.allocate(70000);
    stack.allocate(200000);
    stack.release(mark);
    stack.allocate(150000);
    stack.allocate(5);
  };
  Stack growing(allocator);
  use(growing);
  CHECK(growing.peak() == align_up(100) + align_up(70000) + align_up(200000));

  const Block block(growing.peak(), allocator);
  Stack fixed(block.data(), block.size());
  CHECK_NOTHROW(use(fixed));
  Stack small(block.data(), block.size() - kAlignment);
  CHECK_THROWS_WITH(use(small), "a step outgrew its rehearsed workspace");
}

// Layers decide by this whether to work in place, and a step must decide as its rehearsal did.
TEST_CASE("a growing stack and a fixed one agree on what was allocated since a mark",
          "[workspace]") {
  Memory memory;
  const Allocator allocator = memory.allocator();
  const Block block(size_t{1} << 20, allocator);
  for (const size_t size : {size_t{0}, size_t{64}, size_t{1} << 16, size_t{1} << 17}) {
    Stack growing(allocator), fixed(block.data(), block.size());
    for (Stack* stack : {&growing, &fixed}) {
      const std::byte* before = stack->allocate(size);
      const Stack::Mark mark = stack->mark();
      const std::byte* values = stack->allocate(size);
      const std::byte* mask = stack->allocate(size);
      const std::byte* more = stack->allocate(3 * size);
      INFO(size);
      CHECK(!stack->made_since(mark, before));
      CHECK(stack->made_since(mark, values));
      CHECK(stack->made_since(mark, mask));
      CHECK(stack->made_since(mark, more));
      CHECK(values != mask);
    }
  }
}

TEST_CASE("an empty allocator is an error that leaves nothing behind", "[workspace]") {
  Memory memory;
  const Allocator allocator = memory.allocator();
  {
    Stack stack(allocator);
    stack.allocate(10);
    memory.exhausted = true;
    try {
      stack.allocate(1 << 20);
      FAIL("no error");
    } catch (const Error& error) {
      CHECK(error.code() == Code::kOutOfMemory);
    }
  }
  CHECK(memory.blocks == 0);
}

TEST_CASE("the two sides have separate memory", "[workspace]") {
  Memory memory;
  const Allocator allocator = memory.allocator();
  Workspace workspace(allocator);
  std::byte* a = workspace.on(Side::kA).allocate(64);
  std::byte* b = workspace.on(other(Side::kA)).allocate(64);
  CHECK(a != b);
  CHECK(workspace.on(Side::kA).peak() == 64);
  CHECK(workspace.on(Side::kB).peak() == 64);
}

TEST_CASE("blocks can be moved, and free their memory once", "[workspace]") {
  Memory memory;
  {
    Block a(100, memory.allocator());
    Block b(std::move(a));
    Block c;
    c = std::move(b);
    CHECK(c.size() >= 100);
    CHECK(memory.blocks == 1);
    c = Block(50, memory.allocator());
    CHECK(memory.blocks == 1);
  }
  CHECK(memory.blocks == 0);
}

}  // namespace
}  // namespace sl
