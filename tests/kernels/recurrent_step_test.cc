#include "kernels/recurrent_step.h"

#include <catch2/catch.hpp>

#include "kernel_testing.h"
#include "kernels/gemm.h"
#include "kernels/gru.h"
#include "kernels/lstm.h"

namespace sl::kernels::testing {
namespace {

std::vector<float> packed_weights(int64_t k, int64_t n, uint32_t seed) {
  const std::vector<float> w = random_floats(k * n, -0.3f, 0.3f, seed);
  std::vector<float> packed(static_cast<size_t>(packed_size(k, n)));
  pack(w.data(), n, 1, k, n, packed.data());
  return packed;
}

// A step of a random layer with so many gates, and what separate kernels make of it.
struct Case {
  Case(int64_t gates, int64_t inputs, int64_t units)
      : gates(gates),
        inputs(inputs),
        units(units),
        x(random_floats(inputs, -1, 1, 1)),
        h(random_floats(units, -1, 1, 2)),
        c(random_floats(units, -1, 1, 3)),
        input_bias(random_floats(gates * units, -1, 1, 4)),
        recurrent_bias(random_floats(gates * units, -1, 1, 5)),
        input(packed_weights(inputs, gates * units, 6)),
        recurrent(packed_weights(units, gates * units, 7)),
        z(input_bias.size()),
        u(input_bias.size()),
        expected_c(c),
        expected_h(h.size()) {
    gemm_packed(x.data(), inputs, input.data(), 1, inputs, size(), input_bias.data(), false,
                z.data(), size());
    projected = z;
    if (gates == 4) {
      gemm_packed(h.data(), units, recurrent.data(), 1, units, size(), nullptr, true, z.data(),
                  size());
      lstm_cell(z.data(), units, expected_c.data(), expected_h.data(), units);
    } else {
      gemm_packed(h.data(), units, recurrent.data(), 1, units, size(), recurrent_bias.data(), false,
                  u.data(), size());
      gru_cell(z.data(), u.data(), units, h.data(), expected_h.data(), units);
    }
  }

  int64_t size() const { return gates * units; }

  // Runs the kernel for each of `parts` parts of the units.
  void check(bool with_x, bool backwards, int64_t parts) {
    std::vector<float> own_z = with_x ? random_floats(size(), 7, 8) : projected;
    std::vector<float> own_u = random_floats(size(), 7, 8);
    Guarded<float> next_h(units, 3), next_c(units, 5);
    std::copy(c.begin(), c.end(), next_c.data());
    for (int64_t i = 0; i < parts; ++i) {
      const RecurrentStep step = {with_x ? x.data() : nullptr,
                                  inputs,
                                  input.data(),
                                  input_bias.data(),
                                  own_z.data(),
                                  h.data(),
                                  recurrent.data(),
                                  recurrent_bias.data(),
                                  units,
                                  own_u.data(),
                                  next_c.data(),
                                  next_h.data(),
                                  units * i / parts,
                                  units * (i + 1) / parts,
                                  backwards};
      gates == 4 ? lstm_step(step) : gru_step(step);
    }
    CHECK(std::equal(expected_h.begin(), expected_h.end(), next_h.data(), same_bits));
    CHECK(std::equal(expected_c.begin(), expected_c.end(), next_c.data(), same_bits));
    CHECK(next_h.intact());
    CHECK(next_c.intact());
  }

  int64_t gates, inputs, units;
  std::vector<float> x, h, c, input_bias, recurrent_bias, input, recurrent, z, u;
  std::vector<float> expected_c, expected_h, projected;
};

TEST_CASE("a recurrent step has the bits of its products and its cell", "[kernels][recurrent]") {
  for_each_target([](const std::string& target) {
    for (const int64_t gates : {3, 4}) {
      for (const int64_t units : {1, 8, 16, 20, 32, 48, 64, 100, 128, 256}) {
        for (const int64_t inputs : {1, 7, 64, 300}) {
          INFO(target << " gates=" << gates << " units=" << units << " inputs=" << inputs);
          Case test(gates, inputs, units);
          test.check(true, false, 1);
          test.check(true, true, 1);
          test.check(false, false, 1);
          test.check(false, true, 1);
          if (units % column_group() != 0 || units % kPartUnits != 0) continue;
          test.check(true, false, units / kPartUnits);
          test.check(false, true, units / kPartUnits);
        }
      }
    }
  });
}

TEST_CASE("a recurrent step with large weights has the same bits", "[kernels][recurrent]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    for (const int64_t gates : {3, 4}) Case(gates, 600, 512).check(true, true, 1);
  });
}

}  // namespace
}  // namespace sl::kernels::testing
