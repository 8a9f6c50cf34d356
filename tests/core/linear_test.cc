// Tests products with a constant matrix: every backend and instruction set, compared with sums in
// double precision.
#include "ops/linear.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/gemm.h"
#include "support/random.h"

namespace sl {
namespace {

using testing::normal_floats;

struct Problem {
  Problem(int64_t m, int64_t k, int64_t n)
      : rows(m),
        inputs(k),
        outputs(n),
        x(normal_floats(m * k, 1)),
        w(normal_floats(k * n, 2)),
        bias(normal_floats(n, 3)),
        start(normal_floats(m * n, 4)) {}

  float expected(int64_t i, int64_t j, bool with_bias, bool accumulate) const {
    const auto at = [](const std::vector<float>& v, int64_t index) {
      return static_cast<double>(v[static_cast<size_t>(index)]);
    };
    double sum = accumulate ? at(start, i * outputs + j) : with_bias ? at(bias, j) : 0;
    for (int64_t p = 0; p < inputs; ++p) sum += at(x, i * inputs + p) * at(w, p * outputs + j);
    return static_cast<float>(sum);
  }

  int64_t rows, inputs, outputs;
  std::vector<float> x, w, bias, start;
};

// The largest error of a layer-wise run, relative to the magnitude of the sums.
double worst_error(const Problem& p, MatmulBackend backend, int threads, bool with_bias,
                   bool accumulate) {
  Parallel parallel(threads, nullptr, nullptr);
  parallel.use(backend);
  const Allocator allocator;
  Workspace workspace(allocator);
  const Run run(Mode::kLayer, workspace, parallel, Constants());
  const ops::Linear linear(p.w.data(), p.outputs, 1, p.inputs, p.outputs);
  std::vector<float> y = p.start;
  linear.apply(run, p.x.data(), p.inputs, p.rows, with_bias ? p.bias.data() : nullptr, accumulate,
               y.data(), p.outputs);
  double worst = 0;
  for (int64_t i = 0; i < p.rows; ++i) {
    for (int64_t j = 0; j < p.outputs; ++j) {
      const float got = y[static_cast<size_t>(i * p.outputs + j)];
      const float want = p.expected(i, j, with_bias, accumulate);
      worst = std::max(worst, static_cast<double>(std::abs(got - want)));
    }
  }
  return worst / std::sqrt(static_cast<double>(p.inputs));
}

TEST_CASE("all backends give the same products", "[linear]") {
  kernels::warm_dispatch();
  const auto backend = GENERATE(MatmulBackend::kDefault, MatmulBackend::kOwn,
                                MatmulBackend::kOneDnn, MatmulBackend::kOpenBlas);
  const auto threads = GENERATE(1, 2);
  const auto accumulate = GENERATE(false, true);
  for (const auto& p : {Problem(1, 1, 1), Problem(5, 3, 7), Problem(33, 40, 17),
                        Problem(100, 130, 65), Problem(64, 256, 200)}) {
    CHECK(worst_error(p, backend, threads, !accumulate, accumulate) < 1e-5);
    CHECK(worst_error(p, backend, threads, false, accumulate) < 1e-5);
  }
}

TEST_CASE("a group of columns multiplied alone gives the same sums", "[linear]") {
  kernels::warm_dispatch();
  const int64_t group = kernels::column_group();
  const Problem p(3, 300, 3 * group + 21);
  const Allocator allocator;
  Workspace workspace(allocator);
  const Parallel parallel;
  const Run run(Mode::kLayer, workspace, parallel, Constants());
  const ops::Linear linear(p.w.data(), p.outputs, 1, p.inputs, p.outputs);
  const int64_t cuts[] = {0, group, 3 * group, p.outputs};
  for (const bool accumulate : {false, true}) {
    std::vector<float> whole = p.start, parts = p.start;
    linear.apply(run, p.x.data(), p.inputs, p.rows, p.bias.data(), accumulate, whole.data(),
                 p.outputs);
    for (size_t i = 0; i < 3; ++i) {
      linear.apply_columns(p.x.data(), p.inputs, p.rows, cuts[i], cuts[i + 1], p.bias.data(),
                           accumulate, parts.data(), p.outputs);
    }
    CHECK(whole == parts);
  }
}

TEST_CASE("steps compute the same bits, whatever back end is chosen", "[linear]") {
  kernels::warm_dispatch();
  const Problem p(64, 700, 128);
  const Allocator allocator;
  Workspace workspace(allocator);
  const auto product = [&](Mode mode, MatmulBackend backend) {
    const ops::Linear linear(p.w.data(), p.outputs, 1, p.inputs, p.outputs);
    Parallel parallel;
    parallel.use(backend);
    std::vector<float> y(p.start.size());
    linear.apply(Run(mode, workspace, parallel, Constants()), p.x.data(), p.inputs, p.rows, nullptr,
                 false, y.data(), p.outputs);
    return y;
  };
  const std::vector<float> own = product(Mode::kLayer, MatmulBackend::kOwn);
  for (const MatmulBackend backend : {MatmulBackend::kOneDnn, MatmulBackend::kOpenBlas})
    CHECK(product(Mode::kStep, backend) == own);
}

}  // namespace
}  // namespace sl
