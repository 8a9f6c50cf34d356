#include "testing/trap.h"

#if defined(SL_SANITIZE_ADDRESS) || defined(SL_SANITIZE_THREAD) || !defined(__GLIBC__)
#define SL_TRAP_AVAILABLE 0
#else
#define SL_TRAP_AVAILABLE 1
#endif

#include <atomic>

#if SL_TRAP_AVAILABLE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#endif

namespace sl::testing {
namespace {

// Plain thread-local data of the executable: access never allocates.
thread_local bool armed = false;
thread_local int64_t calls = 0;
std::atomic<const HeapWatch*> heap_watch = nullptr;

}  // namespace

void watch_heap(const HeapWatch* watch) { heap_watch.store(watch); }

AllocationTrap::AllocationTrap() {
  calls = 0;
  armed = true;
}

AllocationTrap::~AllocationTrap() { armed = false; }

int64_t AllocationTrap::count() const { return calls; }

bool AllocationTrap::available() { return SL_TRAP_AVAILABLE != 0; }

#if SL_TRAP_AVAILABLE
namespace {

void note() {
  if (armed) ++calls;
}

// Whether this allocation may proceed.
bool allowed() {
  note();
  const HeapWatch* watch = heap_watch.load(std::memory_order_acquire);
  if (!watch || watch->may_allocate()) return true;
  errno = ENOMEM;
  return false;
}

void changed(int64_t blocks) {
  if (const HeapWatch* watch = heap_watch.load(std::memory_order_acquire)) watch->changed(blocks);
}

void* counted(void* memory) {
  if (memory) changed(1);
  return memory;
}

using MutexLock = int (*)(pthread_mutex_t*);

MutexLock real_mutex_lock() {
  return reinterpret_cast<MutexLock>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
}

MutexLock mutex_lock = nullptr;

// Runs before main, so that no armed thread has to resolve the symbol.
__attribute__((constructor)) void resolve_mutex_lock() { mutex_lock = real_mutex_lock(); }

}  // namespace
#endif

}  // namespace sl::testing

#if SL_TRAP_AVAILABLE
// Definitions in the executable take precedence over glibc's in all shared libraries of the
// process. They forward to glibc's own entry points.
#define SL_INTERPOSE extern "C" __attribute__((visibility("default")))

extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void __libc_free(void* memory);
void* __libc_memalign(size_t alignment, size_t size);
}

SL_INTERPOSE void* malloc(size_t size) noexcept {
  return sl::testing::allowed() ? sl::testing::counted(__libc_malloc(size)) : nullptr;
}

SL_INTERPOSE void* calloc(size_t count, size_t size) noexcept {
  return sl::testing::allowed() ? sl::testing::counted(__libc_calloc(count, size)) : nullptr;
}

SL_INTERPOSE void* realloc(void* memory, size_t size) noexcept {
  if (!sl::testing::allowed()) return nullptr;
  void* grown = __libc_realloc(memory, size);
  if (!memory) return sl::testing::counted(grown);
  if (!grown && size == 0) sl::testing::changed(-1);  // realloc to size 0 frees the block
  return grown;
}

SL_INTERPOSE void free(void* memory) noexcept {
  sl::testing::note();
  if (memory) sl::testing::changed(-1);
  __libc_free(memory);
}

SL_INTERPOSE void* memalign(size_t alignment, size_t size) noexcept {
  return sl::testing::allowed() ? sl::testing::counted(__libc_memalign(alignment, size)) : nullptr;
}

SL_INTERPOSE void* aligned_alloc(size_t alignment, size_t size) noexcept {
  return sl::testing::allowed() ? sl::testing::counted(__libc_memalign(alignment, size)) : nullptr;
}

SL_INTERPOSE int posix_memalign(void** out, size_t alignment, size_t size) noexcept {
  if (!sl::testing::allowed()) return ENOMEM;
  if (alignment % sizeof(void*) != 0 || (alignment & (alignment - 1)) != 0 || alignment == 0) {
    return EINVAL;
  }
  void* memory = sl::testing::counted(__libc_memalign(alignment, size));
  if (memory == nullptr) return ENOMEM;
  *out = memory;
  return 0;
}

SL_INTERPOSE int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  sl::testing::note();
  // Constructors of other objects may lock a mutex before ours has run.
  const auto lock =
      sl::testing::mutex_lock != nullptr ? sl::testing::mutex_lock : sl::testing::real_mutex_lock();
  return lock(mutex);
}
#endif
