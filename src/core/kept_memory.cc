#include "core/kept_memory.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <utility>

namespace sl {
namespace {

// Blocks of at least two of the system's large pages consist of such pages.
constexpr size_t kLargePage = size_t{1} << 21;

bool is_large(size_t size) { return size >= 2 * kLargePage; }

}  // namespace

// Takes the smallest block that suffices. If there is none, the largest one has become too small,
// and a new one replaces it.
void* KeptMemory::Blocks::allocate(size_t size) {
  Entry* chosen = nullptr;
  Entry* largest = nullptr;
  for (Entry& entry : entries_) {
    if (entry.used) continue;
    const size_t own = entry.block.size();
    if (own >= size && (!chosen || own < chosen->block.size())) chosen = &entry;
    if (!largest || own > largest->block.size()) largest = &entry;
  }
  if (!chosen) {
    chosen = largest ? largest : &entries_.emplace_back();
    chosen->block = Block();
    // Without a whole page at its end, a large block would end with hundreds of small ones.
    const size_t whole = is_large(size) ? align_up(size, kLargePage) : size;
    chosen->block = Block(std::max(size, std::min(whole, source_.max_bytes)), source_);
  }
  chosen->used = true;
  return chosen->block.data();
}

void KeptMemory::Blocks::deallocate(const void* memory) {
  const auto is_it = [&](const Entry& entry) { return entry.block.data() == memory; };
  std::ranges::find_if(entries_, is_it)->used = false;
}

size_t KeptMemory::Blocks::bytes() const {
  size_t sum = 0;
  for (const Entry& entry : entries_) sum += entry.block.size();
  return sum;
}

void KeptMemory::Blocks::lend_to_system() const {
#ifdef __linux__
  // The system would divide a large page to take a part of it.
  for (const Entry& entry : entries_) {
    const size_t size = entry.block.size() / kLargePage * kLargePage;
    if (is_large(size)) madvise(entry.block.data(), size, MADV_FREE);
  }
#endif
}

KeptMemory::~KeptMemory() {
  for (auto& waiting : waiting_) delete waiting.load(std::memory_order_acquire);
}

std::unique_ptr<KeptMemory::Blocks> KeptMemory::take() {
  for (auto& waiting : waiting_) {
    if (!waiting.load(std::memory_order_relaxed)) continue;
    std::unique_ptr<Blocks> found(waiting.exchange(nullptr, std::memory_order_acquire));
    if (!found) continue;
    bytes_.fetch_sub(found->bytes(), std::memory_order_relaxed);
    return found;
  }
  return std::make_unique<Blocks>(allocator_);
}

void KeptMemory::put(std::unique_ptr<Blocks> blocks) {
  const size_t size = blocks->bytes(), maximum = std::min(kMaxBytes, allocator_.max_bytes);
  if (size == 0) return;
  if (bytes_.fetch_add(size, std::memory_order_relaxed) + size <= maximum) {
    blocks->lend_to_system();
    for (auto& waiting : waiting_) {
      Blocks* none = nullptr;
      if (waiting.compare_exchange_strong(none, blocks.get(), std::memory_order_release,
                                          std::memory_order_relaxed)) {
        blocks.release();
        return;
      }
    }
  }
  bytes_.fetch_sub(size, std::memory_order_relaxed);
}

KeptMemory::Workspace::Workspace(KeptMemory& memory)
    : memory_(memory), allocator_(memory.allocator_) {
  if (!allocator_.allocate) {
    blocks_ = memory.take();
    allocator_.user_data = blocks_.get();
    allocator_.allocate = [](void* blocks, size_t size, size_t) {
      return static_cast<Blocks*>(blocks)->allocate(size);
    };
    allocator_.deallocate = [](void* blocks, void* block, size_t, size_t) {
      static_cast<Blocks*>(blocks)->deallocate(block);
    };
  }
  workspace_.emplace(allocator_);
}

KeptMemory::Workspace::~Workspace() {
  workspace_.reset();  // puts its memory back into the blocks
  if (blocks_) memory_.put(std::move(blocks_));
}

}  // namespace sl
