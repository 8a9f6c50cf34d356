// Makes allocations fail, on all threads: those of malloc and related functions, or of an
// sl_allocator.
#ifndef SEQUENCE_LAYERS_TESTS_SUPPORT_ALLOCATION_FAILURES_H_
#define SEQUENCE_LAYERS_TESTS_SUPPORT_ALLOCATION_FAILURES_H_

#include <cstdint>
#include <functional>
#include <string>

#include "sequence_layers/sequence_layers.h"

namespace sl::testing {

enum class Heap { kMalloc, kHook };
enum class Failing { kOne, kFromThere };

// While this object exists, the n-th allocation (counted from 1) on that heap fails. With
// kFromThere, all later ones fail too.
class AllocationFailures {
 public:
  AllocationFailures(Heap heap, int64_t n, Failing failing);
  ~AllocationFailures();
  AllocationFailures(const AllocationFailures&) = delete;
  AllocationFailures& operator=(const AllocationFailures&) = delete;

  bool any_failed() const;
  // False if a sanitizer replaces the heap functions: then no allocation fails.
  static bool available();

 private:
  Heap heap_;
  int64_t first_;
};

// An allocator whose allocations count as those of Heap::kHook.
sl_allocator failing_allocator();

// The number of allocated blocks on both heaps since the first call.
int64_t live_blocks();

// One use of the library, from its first call to the last free. Returns the first status that is
// not SL_STATUS_OK. It should allocate nothing itself.
using Use = std::function<sl_status(sl_error* error)>;

struct Sweep {
  int64_t points = 0;   // allocations that were made to fail
  int64_t errors = 0;   // uses that ended with an error
  int64_t leaks = 0;    // uses that changed the number of allocated blocks
  std::string problem;  // the first problem found; empty if there is none
};

// Runs `use` with each of its allocations failing in turn, and after each once more without
// failures.
Sweep sweep_failures(const Use& use, Heap heap, Failing failing);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_SUPPORT_ALLOCATION_FAILURES_H_
