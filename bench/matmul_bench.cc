// Large products with a constant matrix, as layer-wise runs compute them, by the library's own
// kernels, oneDNN and OpenBLAS in one run, on one thread. The choice in src/ops/linear.cc rests on
// it.
#include <benchmark/benchmark.h>
#include <cblas.h>

#include <random>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/gemm.h"
#include "ops/onednn_matmul.h"

namespace {

extern "C" void openblas_set_num_threads(int);

std::vector<float> random_floats(int64_t count) {
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  std::vector<float> out(static_cast<size_t>(count));
  for (float& v : out) v = normal(generator);
  return out;
}

struct Problem {
  explicit Problem(const benchmark::State& state)
      : m(state.range(0)),
        k(state.range(1)),
        n(state.range(2)),
        x(random_floats(m * k)),
        w(random_floats(k * n)),
        y(static_cast<size_t>(m * n)) {}
  int64_t m, k, n;
  std::vector<float> x, w, y;

  void report(benchmark::State& state) const {
    const auto flops =
        static_cast<double>(state.iterations()) * 2.0 * static_cast<double>(m * k * n);
    state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsRate);
    benchmark::DoNotOptimize(y.data());
  }
};

void own_kernels(benchmark::State& state) {
  Problem p(state);
  std::vector<float> packed(static_cast<size_t>(sl::kernels::packed_size(p.k, p.n)));
  sl::kernels::pack(p.w.data(), p.n, 1, p.k, p.n, packed.data());
  for (auto _ : state) {
    sl::kernels::gemm_packed(p.x.data(), p.k, packed.data(), p.m, p.k, p.n, nullptr, false,
                             p.y.data(), p.n);
  }
  p.report(state);
}

void onednn(benchmark::State& state) {
  Problem p(state);
  const auto matmul = sl::ops::OneDnnMatmul::create(p.w, p.k, p.n);
  if (!matmul) return state.SkipWithError("there is no oneDNN");
  for (auto _ : state) matmul->apply(p.x.data(), p.m, nullptr, false, p.y.data());
  p.report(state);
}

void openblas(benchmark::State& state) {
  Problem p(state);
  const auto m = static_cast<int>(p.m), k = static_cast<int>(p.k), n = static_cast<int>(p.n);
  for (auto _ : state) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1.0f, p.x.data(), k, p.w.data(),
                n, 0.0f, p.y.data(), n);
  }
  p.report(state);
}

void shapes(benchmark::internal::Benchmark* bench) {
  for (const int64_t m : {16, 64, 250, 1000}) {
    for (const auto& [k, n] : {std::pair<int64_t, int64_t>{256, 256}, {512, 2048}, {1024, 1024}})
      bench->Args({m, k, n});
  }
}

BENCHMARK(own_kernels)->Apply(shapes);
BENCHMARK(onednn)->Apply(shapes);
BENCHMARK(openblas)->Apply(shapes);

}  // namespace

int main(int argc, char** argv) {
  sl::kernels::warm_dispatch();
  openblas_set_num_threads(1);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
