#include "core/lockstep.h"

#include <chrono>
#include <thread>

#include "core/spin.h"

namespace sl {
namespace {

// Number of spins before the thread yields its CPU, which the awaited thread may need.
constexpr int kSpins = 4096;

// Time after which a waiting thread takes another for late. It exceeds the difference between the
// parts of a step, one of which may begin with the products of many steps.
constexpr std::chrono::microseconds kPatience{3000};

}  // namespace

void Lockstep::wait_for(int64_t finished) {
  const auto done = [&] { return finished_.load(std::memory_order_acquire) >= finished; };
  for (int spins = 0; spins < kSpins; ++spins) {
    if (done()) return;
    spin_pause();
  }
  const auto begin = std::chrono::steady_clock::now();
  for (bool patient = true; !done(); std::this_thread::yield()) {
    if (!patient || std::chrono::steady_clock::now() - begin < kPatience) continue;
    patient = false;
    late_.store(true);
  }
}

bool Lockstep::leave() {
  late_.store(false);
  int64_t working = working_.load();
  while (working > 1) {
    if (working_.compare_exchange_weak(working, working - 1)) return true;
  }
  return false;
}

}  // namespace sl
