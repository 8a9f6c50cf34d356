#include "core/kept_memory.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "core/status.h"

namespace sl {
namespace {

constexpr size_t kMegabyte = size_t{1} << 20;

TEST_CASE("a run gets the memory of the one before", "[kept_memory]") {
  KeptMemory memory{Allocator()};
  CHECK(memory.bytes() == 0);
  const auto run = [&](std::vector<size_t> sizes) {
    KeptMemory::Workspace workspace(memory);
    CHECK(memory.bytes() == 0);
    std::vector<std::byte*> out;
    for (const size_t size : sizes) {
      out.push_back(workspace->on(Side::kA).allocate(size));
      out.push_back(workspace->on(Side::kB).allocate(size));
      std::memset(out.back(), 1, size);
    }
    return out;
  };
  const auto first = run({100, kMegabyte, 5 * kMegabyte});
  const size_t kept = memory.bytes();
  CHECK(kept >= 12 * kMegabyte);
  CHECK(run({100, kMegabyte, 5 * kMegabyte}) == first);
  CHECK(memory.bytes() == kept);
  run({100, kMegabyte});
  CHECK(memory.bytes() == kept);

  // A longer run replaces what is too small for it, instead of adding to it.
  run({100, kMegabyte, 7 * kMegabyte});
  CHECK(memory.bytes() == kept + 4 * kMegabyte);
}

TEST_CASE("runs at the same time have memory of their own", "[kept_memory]") {
  KeptMemory memory{Allocator()};
  constexpr int kThreads = 8;
  std::atomic<int64_t> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < 500; ++n) {
        const auto size = static_cast<size_t>(1000 + (n * 7919 + i * 104729) % 100000);
        const std::vector<std::byte> want(size, static_cast<std::byte>(i * 31 + n));
        KeptMemory::Workspace workspace(memory);
        for (const Side side : {Side::kA, Side::kB}) {
          std::byte* own = workspace->on(side).allocate(size);
          std::memcpy(own, want.data(), size);
          std::this_thread::yield();
          wrong += std::memcmp(own, want.data(), size) != 0;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(memory.bytes() > 0);
  CHECK(memory.bytes() <= kThreads * 4 * kMegabyte);
}

TEST_CASE("what is kept is limited in number and size", "[kept_memory]") {
  // As runs at the same time, each of which takes `size` bytes.
  const auto kept_of = [](KeptMemory& memory, size_t runs, size_t size) {
    std::vector<std::unique_ptr<KeptMemory::Workspace>> workspaces;
    for (size_t i = 0; i < runs; ++i) {
      workspaces.push_back(std::make_unique<KeptMemory::Workspace>(memory));
      (*workspaces.back())->on(Side::kA).allocate(size);
    }
    CHECK(memory.bytes() == 0);
    workspaces.clear();
    return memory.bytes();
  };
  KeptMemory one{Allocator()}, few{Allocator()}, large{Allocator()}, larger{Allocator()};
  const size_t each = kept_of(one, 1, kMegabyte);
  CHECK(each >= kMegabyte);
  CHECK(kept_of(few, KeptMemory::kMaxRuns + 4, kMegabyte) == KeptMemory::kMaxRuns * each);
  CHECK(kept_of(large, 4, KeptMemory::kMaxBytes / 2 - kMegabyte) == KeptMemory::kMaxBytes);
  CHECK(kept_of(larger, 1, KeptMemory::kMaxBytes) == 0);
  Allocator limited;
  limited.max_bytes = 3 * each;
  KeptMemory little(limited);
  CHECK(kept_of(little, 5, kMegabyte) == 3 * each);
}

TEST_CASE("a caller's hook gets its memory back after each run", "[kept_memory]") {
  int64_t blocks = 0;
  Allocator allocator;
  allocator.user_data = &blocks;
  allocator.allocate = [](void* count, size_t size, size_t alignment) {
    ++*static_cast<int64_t*>(count);
    return ::operator new(size, std::align_val_t(alignment));
  };
  allocator.deallocate = [](void* count, void* block, size_t, size_t alignment) {
    --*static_cast<int64_t*>(count);
    ::operator delete(block, std::align_val_t(alignment));
  };
  KeptMemory memory(allocator);
  {
    KeptMemory::Workspace workspace(memory);
    workspace->on(Side::kA).allocate(kMegabyte);
    CHECK(blocks == 1);
  }
  CHECK(blocks == 0);
  CHECK(memory.bytes() == 0);
}

TEST_CASE("a run that is refused memory leaves what was kept", "[kept_memory]") {
  Allocator limited;
  limited.max_bytes = kMegabyte;
  KeptMemory memory(limited);
  for (int i = 0; i < 3; ++i) {
    KeptMemory::Workspace workspace(memory);
    workspace->on(Side::kB).allocate(1000);
    CHECK_THROWS_AS(workspace->on(Side::kA).allocate(2 * kMegabyte), Error);
  }
  CHECK(memory.bytes() >= 1000);
  CHECK(memory.bytes() < kMegabyte);
}

}  // namespace
}  // namespace sl
