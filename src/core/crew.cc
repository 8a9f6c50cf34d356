#include "core/crew.h"

#include <algorithm>
#include <bit>
#include <thread>

#include "core/denormals.h"
#include "core/spin.h"

namespace sl {
namespace {

// Bits of a part's count that hold its steps.
constexpr int kStepBits = 16;
constexpr uint64_t kStepMask = (uint64_t{1} << kStepBits) - 1;
// The steps of a part that workers must not go on with.
constexpr uint64_t kEnded = kStepMask;
static_assert(2 * Crew::kMaxSteps < static_cast<int64_t>(kEnded));

// Minimum time after which a worker is late.
constexpr int64_t kMinPatienceMicroseconds = 15;

// Number of spins before a waiting worker yields its CPU, which the awaited thread may need.
constexpr int kSpins = 2000;

uint64_t free_count(uint64_t base, int64_t step) { return base + 2 * static_cast<uint64_t>(step); }

// Whether no thread has begun a part of that count with the step.
bool counts_as_free(uint64_t count, uint64_t base, int64_t step) {
  return step == 0 ? count <= base : count == free_count(base, step);
}

}  // namespace

Crew::Crew(int workers, int guests)
    : workers_(workers),
      max_guests_(guests),
      places_(std::make_unique<Place[]>(static_cast<size_t>(threads()))) {}

int Crew::join() {
  uint64_t guests = guests_.load(std::memory_order_relaxed);
  while (true) {
    const int place = std::countr_one(guests);
    if (place >= max_guests_) return 0;
    if (guests_.compare_exchange_weak(guests, guests | uint64_t{1} << place,
                                      std::memory_order_acq_rel))
      return workers_ + 1 + place;
  }
}

void Crew::leave(int worker) {
  guests_.fetch_and(~(uint64_t{1} << (worker - workers_ - 1)), std::memory_order_acq_rel);
}

void Crew::reserve(size_t bytes) {
  for (Block& block : blocks_) {
    block = Block(bytes, Allocator());
    std::fill_n(block.data(), bytes, std::byte());
  }
}

int Crew::free_block() const {
  bool in_use[kBlocks] = {};
  int late = 0;
  for (int w = 1; w <= places(); ++w) {
    const int block = places_[static_cast<size_t>(w)].block.load(std::memory_order_acquire);
    if (block == 0) continue;
    in_use[block - 1] = true;
    ++late;
  }
  const int present = workers_ + std::popcount(guests_.load(std::memory_order_relaxed));
  if (late > 0 && late >= present) return -1;
  for (int i = 0; i < kBlocks; ++i) {
    const int block = (block_ + i) % kBlocks;
    if (!in_use[block]) return block;
  }
  return -1;
}

std::byte* Crew::memory(size_t bytes) {
  const int block = free_block();
  if (block < 0 || blocks_[static_cast<size_t>(block)].size() < bytes) return nullptr;
  block_ = block;
  return blocks_[static_cast<size_t>(block)].data();
}

std::byte* Crew::grown_memory(size_t bytes) {
  const int index = free_block();
  if (index < 0) return nullptr;
  Block& block = blocks_[static_cast<size_t>(index)];
  if (block.size() < bytes) block = Block(bytes, Allocator());
  block_ = index;
  return block.data();
}

uint64_t Crew::publish(const Job& job) {
  std::array<uint64_t, kWords> words;
  std::memcpy(words.data(), &job, sizeof(job));
  const uint64_t base = base_.load(std::memory_order_relaxed) + (uint64_t{1} << kStepBits);
  base_.store(kNoJob, std::memory_order_relaxed);
  for (size_t i = 0; i < kWords; ++i) words_[i].store(words[i], std::memory_order_release);
  base_.store(base, std::memory_order_release);
  return base;
}

Crew::Job Crew::read() const {
  std::array<uint64_t, kWords> words;
  for (size_t i = 0; i < kWords; ++i) words[i] = words_[i].load(std::memory_order_acquire);
  Job job;
  std::memcpy(&job, words.data(), sizeof(job));
  return job;
}

// First its own parts in order, then those of the other threads, which take them from the other
// end.
template <typename Fn>
bool Crew::each_part(int64_t thread, int64_t parts, Fn&& fn) const {
  const int64_t count = threads();
  for (int64_t i = 0; i < count; ++i) {
    const int64_t owner = (thread + i) % count;
    const int64_t begin = parts * owner / count, end = parts * (owner + 1) / count;
    for (int64_t k = begin; k < end; ++k) {
      if (!fn(i == 0 ? k : begin + end - 1 - k)) return false;
    }
  }
  return true;
}

bool Crew::is_free(int64_t part, uint64_t base, int64_t step) const {
  return counts_as_free(progress_[static_cast<size_t>(part)].count.load(std::memory_order_relaxed),
                        base, step);
}

bool Crew::take(int64_t part, uint64_t base, int64_t step) {
  std::atomic<uint64_t>& progress = progress_[static_cast<size_t>(part)].count;
  uint64_t count = progress.load(std::memory_order_relaxed);
  if (!counts_as_free(count, base, step)) return false;
  return progress.compare_exchange_strong(count, free_count(base, step) + 1,
                                          std::memory_order_acq_rel);
}

bool Crew::finish(int64_t part, uint64_t base, int64_t step) {
  uint64_t count = free_count(base, step) + 1;
  return progress_[static_cast<size_t>(part)].count.compare_exchange_strong(
      count, count + 1, std::memory_order_acq_rel);
}

bool Crew::done(int64_t part, uint64_t base, int64_t step) const {
  return progress_[static_cast<size_t>(part)].count.load(std::memory_order_acquire) >=
         free_count(base, step + 1);
}

bool Crew::take_over(int64_t part, uint64_t base, int64_t step, bool ends_job) {
  uint64_t count = free_count(base, step) + 1;
  const uint64_t next = ends_job ? base + kEnded : count + 1;
  return progress_[static_cast<size_t>(part)].count.compare_exchange_strong(
      count, next, std::memory_order_acq_rel);
}

void Crew::abandon(uint64_t base, int64_t parts) {
  for (int64_t part = 0; part < parts; ++part) {
    progress_[static_cast<size_t>(part)].count.store(base + kEnded, std::memory_order_release);
  }
}

bool Crew::wait_for(int64_t part, uint64_t base, int64_t step, int64_t patience) const {
  if (done(part, base, step)) return true;
  const int64_t begin = ticks();
  while (ticks() - begin < patience) {
    if (done(part, base, step)) return true;
    spin_pause();
  }
  return false;
}

bool Crew::wait_for_step(int64_t parts, uint64_t base, int64_t step) const {
  for (int64_t part = 0; part < parts; ++part) {
    const std::atomic<uint64_t>& progress = progress_[static_cast<size_t>(part)].count;
    for (int spins = 0;; ++spins) {
      const uint64_t count = progress.load(std::memory_order_acquire);
      if (count >= base + kEnded || current() != base) return false;
      if (count >= free_count(base, step + 1)) break;
      if (spins < kSpins) {
        spin_pause();
      } else {
        std::this_thread::yield();
      }
    }
  }
  return true;
}

int64_t Crew::run(const Job& given, const Own& own) {
  Job job = given;
  job.block = block_;
  job.float_modes = FloatModes::get().bits();
  const uint64_t base = publish(job);
  block_ = (block_ + 1) % kBlocks;
  int64_t saved = 0, lost = 0;  // ticks, by parts of workers and by workers that were late
  int64_t step = 0;
  for (; step < job.steps; ++step) {
    uint64_t own_parts = 0;
    const int64_t begin = ticks();
    each_part(0, job.parts, [&](int64_t part) {
      if (!take(part, base, step)) return true;
      own.part(own.context, step, part);
      finish(part, base, step);
      own_parts |= uint64_t{1} << part;
      return true;
    });
    const int64_t count = std::max(1, __builtin_popcountll(own_parts));
    const int64_t part_time = (ticks() - begin) / count;
    const int64_t patience =
        std::max(kMinPatienceMicroseconds * ticks_per_microsecond(), 2 * part_time);
    for (int64_t part = 0; part < job.parts; ++part) {
      if (own_parts >> part & 1) continue;
      const bool ends_job = !own.accept;
      if (!wait_for(part, base, step, patience) && take_over(part, base, step, ends_job)) {
        if (ends_job) {
          abandon(base, job.parts);
          in_vain_ = 0;
          return step;
        }
        own.part(own.context, step, part);
        lost += patience + part_time;
        continue;
      }
      saved += part_time;
      if (own.accept) own.accept(own.context, part);
    }
  }
  in_vain_ = saved > lost ? 0 : in_vain_ + 1;
  return step;
}

bool Crew::serve_step(int worker, const Job& job, uint64_t base, int64_t step) {
  std::atomic<int>& place = places_[static_cast<size_t>(worker)].block;
  return each_part(worker, job.parts, [&](int64_t part) {
    if (!is_free(part, base, step)) return true;
    // Before it takes a part, so that the caller that takes the part over knows the block in use.
    place.store(static_cast<int>(job.block) + 1, std::memory_order_relaxed);
    const bool taken = take(part, base, step);
    if (taken) job.part(job.work, step, part, worker);
    place.store(0, std::memory_order_release);
    return !taken || finish(part, base, step);
  });
}

bool Crew::serve(int worker, uint64_t* seen) {
  const uint64_t base = current();
  if (base == kNoJob || base == *seen) return false;
  const Job job = read();
  // A word of a later job is read only after the number of this one has gone.
  if (current() != base) return false;
  *seen = base;
  const FloatModes before = FloatModes::get(), wanted(job.float_modes);
  wanted.set();
  for (int64_t step = 0; step < job.steps; ++step) {
    if (!serve_step(worker, job, base, step)) break;
    if (step + 1 < job.steps && !wait_for_step(job.parts, base, step)) break;
  }
  before.set();
  return true;
}

}  // namespace sl
