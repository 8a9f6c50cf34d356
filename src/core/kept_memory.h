// Memory of whole runs that is kept for the next ones: memory that comes from the system anew costs
// a page fault for each of its pages.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "core/allocator.h"
#include "core/workspace.h"

namespace sl {

class KeptMemory {
 public:
  // Maximum size of what waits for a run, and the maximum number of runs for which it waits.
  static constexpr size_t kMaxBytes = size_t{1} << 28;
  static constexpr size_t kMaxRuns = 16;

  class Workspace;

  // Keeps nothing that comes from a caller's hook, which can do that itself.
  explicit KeptMemory(const Allocator& allocator) : allocator_(allocator) {}
  KeptMemory(const KeptMemory&) = delete;
  KeptMemory& operator=(const KeptMemory&) = delete;
  ~KeptMemory();

  // The size of what waits for a run.
  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  // The blocks of one run.
  class Blocks {
   public:
    explicit Blocks(const Allocator& source) : source_(source) {}

    void* allocate(size_t size);
    void deallocate(const void* memory);
    size_t bytes() const;
    // Lets the system take the pages of large blocks, whose contents are then lost, if it runs
    // short of memory before they are written to again.
    void lend_to_system() const;

   private:
    struct Entry {
      Block block;
      bool used = false;
    };

    Allocator source_;
    std::vector<Entry> entries_;
  };

  // Any number of threads take blocks and put them back, without a lock.
  std::unique_ptr<Blocks> take();
  void put(std::unique_ptr<Blocks> blocks);

  const Allocator allocator_;
  std::atomic<size_t> bytes_{0};
  std::array<std::atomic<Blocks*>, kMaxRuns> waiting_ = {};  // null: none
};

// The workspace of one run, whose memory is kept after it.
class KeptMemory::Workspace {
 public:
  explicit Workspace(KeptMemory& memory);
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace();

  sl::Workspace& operator*() { return *workspace_; }
  sl::Workspace* operator->() { return &*workspace_; }

 private:
  KeptMemory& memory_;
  std::unique_ptr<Blocks> blocks_;  // null with a caller's hook
  Allocator allocator_;
  std::optional<sl::Workspace> workspace_;
};

}  // namespace sl
