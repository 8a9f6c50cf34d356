#include "ops/associative_scan.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <thread>
#include <vector>

#include "core/allocator.h"

namespace sl::ops {
namespace {

struct Sizes {
  int64_t batch, time, lanes, planes;

  int64_t row() const { return planes * lanes; }
};

std::vector<float> random_integers(int64_t count, int least, int most, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_int_distribution<int> integers(least, most);
  std::vector<float> out(static_cast<size_t>(count));
  for (float& value : out) value = static_cast<float>(integers(generator));
  return out;
}

// A recurrence of integers, which floats represent exactly: a is -1, 0 or 1.
class Integers final : public LinearRecurrence {
 public:
  explicit Integers(const Sizes& sizes)
      : sizes_(sizes),
        a_(random_integers(sizes.batch * sizes.time * sizes.row(), -1, 1, 1)),
        h_(random_integers(sizes.batch * sizes.time * sizes.row(), -9, 9, 2)) {
    // Zeros are rare, so that values are carried over many steps.
    for (size_t i = 0; i < a_.size(); ++i) a_[i] = a_[i] == 0 && i % 97 != 0 ? 1 : a_[i];
  }

  void scan(const ScanPart& part, float* state, float* scratch) const override {
    use(part, scratch);
    each(part, [&](size_t at, size_t i) {
      h_[at] += a_[at] * state[i];
      state[i] = h_[at];
    });
  }
  void reduce(const ScanPart& part, float* state, float* decay, float* scratch) const override {
    ++reduced_;
    use(part, scratch);
    for (int64_t p = 0; p < sizes_.planes; ++p) {
      std::fill(decay + p * sizes_.lanes + part.first, decay + p * sizes_.lanes + part.last, 1.0f);
    }
    each(part, [&](size_t at, size_t i) {
      state[i] = a_[at] * state[i] + h_[at];
      decay[i] *= a_[at];
    });
  }

  const std::vector<float>& output() const { return h_; }
  int64_t reduced() const { return reduced_; }

 private:
  template <typename Fn>
  void each(const ScanPart& part, Fn&& fn) const {
    for (int64_t t = part.begin; t < part.end; ++t) {
      for (int64_t p = 0; p < sizes_.planes; ++p) {
        for (int64_t lane = part.first; lane < part.last; ++lane) {
          const int64_t i = p * sizes_.lanes + lane;
          fn(static_cast<size_t>((part.item * sizes_.time + t) * sizes_.row() + i),
             static_cast<size_t>(i));
        }
      }
    }
  }
  // Detects if another part uses the same scratch memory at the same time.
  void use(const ScanPart& part, float* scratch) const {
    std::fill_n(scratch, 2 * part.lanes(), static_cast<float>(part.begin));
    std::this_thread::yield();
    for (int64_t i = 0; i < 2 * part.lanes(); ++i) {
      if (scratch[i] != static_cast<float>(part.begin)) ++clashes;
    }
  }

  Sizes sizes_;
  std::vector<float> a_;
  mutable std::vector<float> h_;
  mutable std::atomic<int64_t> reduced_{0};

 public:
  mutable std::atomic<int64_t> clashes{0};
};

struct Result {
  std::vector<float> output, state;
  int64_t reduced;
};

Result run_scan(const Sizes& sizes, int threads, bool cuts_time = true) {
  const Parallel parallel(threads, nullptr, nullptr);
  const Allocator allocator;
  Workspace workspace(allocator);
  Run run(Mode::kLayer, workspace, parallel, Constants());
  const Integers integers(sizes);
  std::vector<float> state = random_integers(sizes.batch * sizes.row(), -9, 9, 3);
  const ScanShape shape{.batch = sizes.batch,
                        .time = sizes.time,
                        .lanes = sizes.lanes,
                        .planes = sizes.planes,
                        // A high cost, so that short parts are worth a thread.
                        .cost = 100 * sizes.planes,
                        .scratch = 2,
                        .cuts_time = cuts_time};
  associative_scan(run, shape, integers, state.data());
  CHECK(integers.clashes == 0);
  return {integers.output(), state, integers.reduced()};
}

TEST_CASE("an associative scan gives the same result however it is divided", "[associative_scan]") {
  for (const auto& s :
       {Sizes{1, 0, 3, 1}, Sizes{1, 9, 3, 1}, Sizes{1, 11000, 1, 1}, Sizes{1, 1301, 5, 2},
        Sizes{3, 500, 16, 1}, Sizes{2, 300, 70, 2}, Sizes{1, 50, 33, 3}}) {
    INFO("batch=" << s.batch << " time=" << s.time << " lanes=" << s.lanes);
    const Result want = run_scan(s, 1);
    CHECK(want.reduced == 0);
    for (const int threads : {2, 3, 8, 40}) {
      INFO(threads << " threads");
      const Result got = run_scan(s, threads);
      CHECK(got.output == want.output);
      CHECK(got.state == want.state);
    }
  }
}

TEST_CASE("a scan divides time if there are fewer lanes than threads need", "[associative_scan]") {
  CHECK(run_scan({1, 1000, 16, 1}, 2).reduced == 1);
  CHECK(run_scan({1, 2000, 16, 1}, 4).reduced == 3);
  CHECK(run_scan({1, 1000, 32, 1}, 4).reduced == 2);
  CHECK(run_scan({1, 2000, 16, 1}, 4, /*cuts_time=*/false).reduced == 0);
  CHECK(run_scan({1, 1000, 64, 1}, 4).reduced == 0);  // each thread gets lanes
  CHECK(run_scan({4, 1000, 16, 1}, 4).reduced == 0);  // each thread gets batch items
  CHECK(run_scan({1, 100, 16, 1}, 4).reduced == 0);   // too little work to divide
}

}  // namespace
}  // namespace sl::ops
