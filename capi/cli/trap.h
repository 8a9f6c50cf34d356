// Counts what a real-time call must not do: heap calls and mutex locks of the calling thread.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_TRAP_H_
#define SEQUENCE_LAYERS_CAPI_CLI_TRAP_H_

#include <cstdint>

namespace sl::cli {

// Armed while it lives. Traps of one thread do not nest.
class AllocationTrap {
 public:
  AllocationTrap();
  ~AllocationTrap();
  AllocationTrap(const AllocationTrap&) = delete;
  AllocationTrap& operator=(const AllocationTrap&) = delete;

  // Calls since it was armed.
  int64_t count() const;

  // False where a sanitizer owns the heap functions: count() is then always 0.
  static bool available();
};

// What tests put before the heap, for all threads of the process.
struct HeapWatch {
  bool (*may_allocate)();           // asked before each allocation; false makes it fail
  void (*changed)(int64_t blocks);  // 1 more block is in use, or with -1 one less
};
// Null: nothing. The watch must stay where it is.
void watch_heap(const HeapWatch* watch);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_TRAP_H_
