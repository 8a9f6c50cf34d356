#include "kernels/state_space.h"

#include <catch2/catch.hpp>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

bool all_close(const std::vector<float>& actual, const std::vector<float>& expected) {
  for (size_t i = 0; i < actual.size(); ++i) {
    if (!close(actual[i], expected[i], 1e-5, 1e-5)) return false;
  }
  return true;
}

void check_bank(int64_t channels, int64_t n, int64_t steps, bool rank_one) {
  INFO("channels=" << channels << " n=" << n << " steps=" << steps << " rank_one=" << rank_one);
  const int64_t groups = (channels + kBankLanes - 1) / kBankLanes;
  const float range = 0.5f / static_cast<float>(n + 1);
  const std::vector<float> rows = random_floats(
      groups * n * bank_row(rank_one), rank_one ? -range : -0.6f, rank_one ? range : 0.6f, 1);
  const std::vector<float> d = random_floats(channels, -1.0f, 1.0f, 2);
  const std::vector<float> u = random_floats(steps * channels, -1.0f, 1.0f, 3);
  std::vector<float> state = random_floats(groups * n * 2 * kBankLanes, -1.0f, 1.0f, 4);
  std::vector<float> y(u.size()), expected(u.size());
  const Bank bank{rows.data(), d.data(), channels, n, rank_one};
  std::vector<float> expected_state = state;
  const int64_t middle = groups / 3, at = middle * n * 2 * kBankLanes;
  bank_scan(bank, 0, middle, u.data(), steps, state.data(), y.data());
  bank_scan(bank, middle, groups, u.data(), steps, state.data() + at, y.data());
  reference::bank_scan(bank, 0, groups, u.data(), steps, expected_state.data(), expected.data());
  CHECK(all_close(y, expected));
  // Only those of lanes that have a channel.
  for (int64_t i = 0; i < groups * n * 2; ++i) {
    const int64_t lanes = std::min(kBankLanes, channels - i / (2 * n) * kBankLanes);
    const auto lanes_of = [&](const std::vector<float>& x) {
      return std::vector(x.begin() + i * kBankLanes, x.begin() + i * kBankLanes + lanes);
    };
    CHECK(all_close(lanes_of(state), lanes_of(expected_state)));
  }
}

TEST_CASE("bank_scan agrees with the reference", "[kernels][state_space]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    for (const int64_t channels : {1, 5, 12, 16, 17, 40}) {
      for (const int64_t n : {1, 3, 8, 11}) {
        for (const int64_t steps : {0, 1, 64, 150}) {
          check_bank(channels, n, steps, false);
          check_bank(channels, n, steps, true);
        }
      }
    }
  });
}

TEST_CASE("diagonal_scan agrees with the reference", "[kernels][state_space]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    for (const int64_t n : sizes()) {
      for (const int64_t steps : {0, 1, 9}) {
        INFO("n=" << n << " steps=" << steps);
        const std::vector<float> a = random_floats(2 * n, -0.7f, 0.7f, 1);
        std::vector<float> v = random_floats(steps * 2 * n, -1.0f, 1.0f, 2);
        std::vector<float> state = random_floats(2 * n, -1.0f, 1.0f, 3);
        std::vector<float> expected = v, expected_state = state;
        const int64_t middle = n / 3;
        for (const auto& [begin, end] : {std::pair(int64_t{0}, middle), std::pair(middle, n)}) {
          diagonal_scan(a.data(), n, begin, end, steps, v.data(), state.data());
          reference::diagonal_scan(a.data(), n, begin, end, steps, expected.data(),
                                   expected_state.data());
          CHECK(all_close(v, expected));
          CHECK(all_close(state, expected_state));
        }
      }
    }
  });
}

TEST_CASE("diagonal_reduce leaves the state of diagonal_scan", "[kernels][state_space]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    for (const int64_t n : sizes()) {
      INFO("n=" << n);
      const std::vector<float> a = random_floats(2 * n, -0.7f, 0.7f, 1);
      const std::vector<float> v = random_floats(9 * 2 * n, -1.0f, 1.0f, 2);
      std::vector<float> state = random_floats(2 * n, -1.0f, 1.0f, 3), expected = state;
      diagonal_reduce(a.data(), n, n / 3, n, 9, v.data(), state.data());
      reference::diagonal_reduce(a.data(), n, n / 3, n, 9, v.data(), expected.data());
      CHECK(all_close(state, expected));
    }
  });
}

TEST_CASE("varying_scan and varying_reduce agree with the reference", "[kernels][state_space]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    for (const int64_t n : sizes()) {
      for (const int64_t steps : {0, 1, 9}) {
        INFO("n=" << n << " steps=" << steps);
        const std::vector<float> a = random_floats(steps * n, -0.9f, 0.9f, 1);
        const std::vector<float> v = random_floats(steps * n, -1.0f, 1.0f, 2);
        const std::vector<float> before = random_floats(n, -1.0f, 1.0f, 3);
        std::vector<float> y = v, state = before, expected = v, expected_state = before;
        varying_scan(a.data(), y.data(), n, n / 3, n, steps, y.data(), state.data());
        reference::varying_scan(a.data(), expected.data(), n, n / 3, n, steps, expected.data(),
                                expected_state.data());
        CHECK(all_close(y, expected));
        CHECK(all_close(state, expected_state));

        std::vector<float> reduced = before, decay(before), expected_decay = before;
        varying_reduce(a.data(), v.data(), n, n / 3, n, steps, reduced.data(), decay.data());
        reference::varying_reduce(a.data(), v.data(), n, n / 3, n, steps, expected_state.data(),
                                  expected_decay.data());
        CHECK(all_close(reduced, state));
        CHECK(all_close(decay, expected_decay));
      }
    }
  });
}

}  // namespace
}  // namespace sl::kernels::testing
