// Fourier transforms of single arrays, as steps of a stream compute them, by the library's own
// kernels, FFTW (planned by measuring) and KissFFT in one run, on one thread. FFTW's licence keeps
// it out of the library, so it is only a peer.
#include <benchmark/benchmark.h>
#include <fftw3.h>
#include <kiss_fft.h>
#include <kiss_fftr.h>

#include <random>
#include <vector>

#include "kernels/dispatch.h"
#include "ops/fft.h"

namespace {

// Input and output arrays of n complex values.
struct Problem {
  explicit Problem(const benchmark::State& state)
      : n(state.range(0)), x(fftwf_alloc_real(room())), y(fftwf_alloc_real(room())) {
    fill();
  }
  Problem(const Problem&) = delete;
  Problem& operator=(const Problem&) = delete;
  ~Problem() {
    fftwf_free(x);
    fftwf_free(y);
  }
  // Planning overwrites the arrays.
  void fill() {
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < room(); ++i) x[i] = normal(generator);
  }
  size_t room() const { return static_cast<size_t>(2 * n + 2); }

  int64_t n;
  float* x;
  float* y;
};

template <typename T>
T* as(float* values) {
  return reinterpret_cast<T*>(values);
}

void own_complex(benchmark::State& state) {
  Problem p(state);
  const sl::ops::Fft fft(p.n);
  std::vector<float> scratch(static_cast<size_t>(fft.scratch_size()));
  for (auto _ : state) {
    fft.forward(as<sl::complex64>(p.x), as<sl::complex64>(p.y), scratch.data());
  }
}

void own_real(benchmark::State& state) {
  Problem p(state);
  const sl::ops::RealFft fft(p.n);
  std::vector<float> scratch(static_cast<size_t>(fft.scratch_size()));
  for (auto _ : state) fft.forward(p.x, as<sl::complex64>(p.y), scratch.data());
}

void own_inverse_real(benchmark::State& state) {
  Problem p(state);
  const sl::ops::RealFft fft(p.n);
  std::vector<float> scratch(static_cast<size_t>(fft.scratch_size()));
  for (auto _ : state) fft.inverse(as<sl::complex64>(p.x), p.y, scratch.data());
}

void run_fftw(benchmark::State& state, Problem& p, fftwf_plan plan) {
  p.fill();
  for (auto _ : state) fftwf_execute(plan);
  fftwf_destroy_plan(plan);
}

void fftw_complex(benchmark::State& state) {
  Problem p(state);
  run_fftw(state, p,
           fftwf_plan_dft_1d(static_cast<int>(p.n), as<fftwf_complex>(p.x), as<fftwf_complex>(p.y),
                             FFTW_FORWARD, FFTW_MEASURE));
}

void fftw_real(benchmark::State& state) {
  Problem p(state);
  run_fftw(state, p,
           fftwf_plan_dft_r2c_1d(static_cast<int>(p.n), p.x, as<fftwf_complex>(p.y), FFTW_MEASURE));
}

void fftw_inverse_real(benchmark::State& state) {
  Problem p(state);
  run_fftw(state, p,
           fftwf_plan_dft_c2r_1d(static_cast<int>(p.n), as<fftwf_complex>(p.x), p.y,
                                 FFTW_MEASURE | FFTW_PRESERVE_INPUT));
}

void kissfft_complex(benchmark::State& state) {
  Problem p(state);
  kiss_fft_cfg config = kiss_fft_alloc(static_cast<int>(p.n), 0, nullptr, nullptr);
  for (auto _ : state) kiss_fft(config, as<kiss_fft_cpx>(p.x), as<kiss_fft_cpx>(p.y));
  kiss_fft_free(config);
}

void kissfft_real(benchmark::State& state) {
  Problem p(state);
  kiss_fftr_cfg config = kiss_fftr_alloc(static_cast<int>(p.n), 0, nullptr, nullptr);
  for (auto _ : state) kiss_fftr(config, p.x, as<kiss_fft_cpx>(p.y));
  kiss_fftr_free(config);
}

void sizes(benchmark::internal::Benchmark* bench) {
  for (const int64_t n : {256, 400, 480, 512, 960, 1024, 1536, 2048, 4096, 8192, 16384}) {
    bench->Arg(n);
  }
}

BENCHMARK(own_complex)->Apply(sizes);
BENCHMARK(fftw_complex)->Apply(sizes);
BENCHMARK(kissfft_complex)->Apply(sizes);
BENCHMARK(own_real)->Apply(sizes);
BENCHMARK(fftw_real)->Apply(sizes);
BENCHMARK(kissfft_real)->Apply(sizes);
BENCHMARK(own_inverse_real)->Apply(sizes);
BENCHMARK(fftw_inverse_real)->Apply(sizes);

}  // namespace

int main(int argc, char** argv) {
  sl::kernels::warm_dispatch();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
