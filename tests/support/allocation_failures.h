// Allocations that fail, of any thread: malloc and its kin, or those of an sl_allocator.
#ifndef SEQUENCE_LAYERS_TESTS_SUPPORT_ALLOCATION_FAILURES_H_
#define SEQUENCE_LAYERS_TESTS_SUPPORT_ALLOCATION_FAILURES_H_

#include <cstdint>
#include <functional>
#include <string>

#include "sequence_layers/sequence_layers.h"

namespace sl::testing {

enum class Heap { kMalloc, kHook };
enum class Failing { kOne, kFromThere };

// While it lives, the n-th allocation (from 1) of that heap fails, and with kFromThere each that
// follows.
class AllocationFailures {
 public:
  AllocationFailures(Heap heap, int64_t n, Failing failing);
  ~AllocationFailures();
  AllocationFailures(const AllocationFailures&) = delete;
  AllocationFailures& operator=(const AllocationFailures&) = delete;

  bool any_failed() const;
  // False where a sanitizer owns the heap: nothing fails then.
  static bool available();

 private:
  Heap heap_;
  int64_t first_;
};

// Allocator whose allocations are those of Heap::kHook.
sl_allocator failing_allocator();

// Blocks in use of both heaps, counted from the first call on.
int64_t live_blocks();

// A whole use of the library, from its first call to the last free: returns the first status that
// is not SL_STATUS_OK. It must not allocate itself, in ways that matter.
using Use = std::function<sl_status(sl_error* error)>;

struct Sweep {
  int64_t points = 0;   // allocations that failed
  int64_t errors = 0;   // uses that ended with an error
  int64_t leaks = 0;    // uses that left other blocks behind than they found
  std::string problem;  // the first thing that was not as it must be
};

// Runs `use` with each of its allocations failing in turn, and after each again with none.
Sweep sweep_failures(const Use& use, Heap heap, Failing failing);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_SUPPORT_ALLOCATION_FAILURES_H_
