// Counts calls that a real-time thread must not make: heap functions and mutex locks.
#ifndef SEQUENCE_LAYERS_CAPI_TESTING_TRAP_H_
#define SEQUENCE_LAYERS_CAPI_TESTING_TRAP_H_

#include <cstdint>

namespace sl::testing {

// Counts calls of the current thread while this object exists. Traps of one thread do not nest.
class AllocationTrap {
 public:
  AllocationTrap();
  ~AllocationTrap();
  AllocationTrap(const AllocationTrap&) = delete;
  AllocationTrap& operator=(const AllocationTrap&) = delete;

  // Calls since this object was created.
  int64_t count() const;

  // False if a sanitizer replaces the heap functions: count() is then always 0.
  static bool available();
};

// Callbacks that tests install for the heap functions, for all threads of the process.
struct HeapWatch {
  // Called before each allocation, which fails if it returns false.
  bool (*may_allocate)();
  // Called with the change in the number of allocated blocks: 1 or -1.
  void (*changed)(int64_t blocks);
};
// Installs a watch, which must stay valid, or removes it if null.
void watch_heap(const HeapWatch* watch);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_CAPI_TESTING_TRAP_H_
