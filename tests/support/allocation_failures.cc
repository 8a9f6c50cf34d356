#include "support/allocation_failures.h"

#include <atomic>
#include <cstdlib>

#include "testing/trap.h"

namespace sl::testing {
namespace {

struct Failures {
  std::atomic<int64_t> first = 0;  // number of the allocation that fails; 0 for none
  std::atomic<bool> go_on = false;
  std::atomic<int64_t> seen = 0;

  bool fails() {
    const int64_t n = first.load();
    if (n == 0) return false;
    const int64_t now = seen.fetch_add(1) + 1;
    return now == n || (now > n && go_on.load());
  }
};

Failures heaps[2];
std::atomic<int64_t> blocks = 0;

Failures& failures_of(Heap heap) { return heaps[static_cast<int>(heap)]; }

constexpr HeapWatch kWatch = {[] { return !failures_of(Heap::kMalloc).fails(); },
                              [](int64_t more) { blocks.fetch_add(more); }};

std::string described(int64_t n, const char* what, const sl_error& error) {
  return "allocation " + std::to_string(n) + ": " + what + ": " + sl_status_name(error.code) +
         ": " + error.message;
}

}  // namespace

AllocationFailures::AllocationFailures(Heap heap, int64_t n, Failing failing)
    : heap_(heap), first_(n) {
  Failures& failures = failures_of(heap);
  failures.go_on.store(failing == Failing::kFromThere);
  failures.seen.store(0);
  failures.first.store(n);
}

AllocationFailures::~AllocationFailures() { failures_of(heap_).first.store(0); }

bool AllocationFailures::any_failed() const { return failures_of(heap_).seen.load() >= first_; }
bool AllocationFailures::available() { return AllocationTrap::available(); }

sl_allocator failing_allocator() {
  sl_allocator allocator = SL_ALLOCATOR_INIT;
  allocator.allocate = [](void*, size_t size, size_t alignment) -> void* {
    return failures_of(Heap::kHook).fails() ? nullptr : std::aligned_alloc(alignment, size);
  };
  allocator.deallocate = [](void*, void* memory, size_t, size_t) { std::free(memory); };
  return allocator;
}

int64_t live_blocks() {
  watch_heap(&kWatch);
  return blocks.load();
}

Sweep sweep_failures(const Use& use, Heap heap, Failing failing) {
  Sweep sweep;
  const auto require = [&](bool good, int64_t n, const char* what, const sl_error& error) {
    if (!good && sweep.problem.empty()) sweep.problem = described(n, what, error);
  };
  sl_error error = SL_ERROR_INIT;
  // Objects that live as long as the process are allocated now and are no leaks later.
  for (int i = 0; i < 3; ++i) require(use(&error) == SL_STATUS_OK, 0, "no use at all", error);
  for (int64_t n = 1; sweep.problem.empty(); ++n) {
    error = SL_ERROR_INIT;
    const int64_t before = live_blocks();
    sl_status status = SL_STATUS_OK;
    bool failed = false;
    {
      const AllocationFailures failures(heap, n, failing);
      status = use(&error);
      failed = failures.any_failed();
    }
    const int64_t left = live_blocks() - before;
    if (left != 0) ++sweep.leaks;
    require(left == 0, n, "leaks", error);
    if (!failed) {
      require(status == SL_STATUS_OK, n, "fails without a reason", error);
      break;
    }
    ++sweep.points;
    if (status != SL_STATUS_OK) ++sweep.errors;
    require(status == SL_STATUS_OK || status == SL_STATUS_OUT_OF_MEMORY, n, "other status", error);
    require(status == SL_STATUS_OK || error.message[0] != '\0', n, "no message", error);
    require(use(&error) == SL_STATUS_OK, n, "no use afterwards", error);
  }
  return sweep;
}

}  // namespace sl::testing
