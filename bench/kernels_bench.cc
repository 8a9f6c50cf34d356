// Throughput of the kernels on one thread.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels/attention.h"
#include "kernels/convert.h"
#include "kernels/depthwise.h"
#include "kernels/dispatch.h"
#include "kernels/gemm.h"
#include "kernels/lstm.h"
#include "kernels/normalize.h"
#include "kernels/pointwise.h"
#include "kernels/reduce.h"
#include "ops/attention.h"

namespace sl::kernels {
namespace {

using benchmark::Counter;

std::vector<float> ramp(int64_t n) {
  std::vector<float> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 97) / 48.0f - 1.0f;
  return x;
}

struct Free {
  void operator()(float* p) const { std::free(p); }
};

std::unique_ptr<float, Free> aligned_floats(int64_t n) {
  const auto bytes = (static_cast<size_t>(n) * sizeof(float) + 63) / 64 * 64;
  return std::unique_ptr<float, Free>(static_cast<float*>(std::aligned_alloc(64, bytes)));
}

// Arguments: m, k, n.
void gemm(benchmark::State& state) {
  const int64_t m = state.range(0);
  const int64_t k = state.range(1);
  const int64_t n = state.range(2);
  const std::vector<float> x = ramp(m * k);
  const std::vector<float> w = ramp(k * n);
  const std::vector<float> bias = ramp(n);
  const auto packed = aligned_floats(packed_size(k, n));
  pack(w.data(), n, 1, k, n, packed.get());
  std::vector<float> y(static_cast<size_t>(m * n));
  for (auto _ : state) {
    gemm_packed(x.data(), k, packed.get(), m, k, n, bias.data(), false, y.data(), n);
    benchmark::ClobberMemory();
  }
  const double operations = 2.0 * static_cast<double>(m * k * n);
  state.counters["FLOP/s"] = Counter(operations, Counter::kIsIterationInvariantRate);
  const int64_t floats = k * n + m * k + m * n;
  state.SetBytesProcessed(state.iterations() * floats * static_cast<int64_t>(sizeof(float)));
  state.SetLabel(active_target());
}
BENCHMARK(gemm)->ArgsProduct({{1, 4, 16, 64, 256, 1000}, {1024}, {1024}});
BENCHMARK(gemm)->ArgsProduct({{1, 4, 16, 64, 256, 1000}, {256}, {512}});
BENCHMARK(gemm)->ArgsProduct({{1, 64}, {512}, {16, 48, 200}});

constexpr int64_t kLength = 4096;

void unary(benchmark::State& state, Unary op) {
  const std::vector<float> x = ramp(kLength);
  std::vector<float> y(x.size());
  for (auto _ : state) {
    kernels::unary(op, x.data(), y.data(), kLength, 0.7f);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kLength);
}
#define SL_UNARY(Name, ...) BENCHMARK_CAPTURE(unary, Name, Unary::k##Name);
#include "kernels/unary_functions.inc"

void binary(benchmark::State& state, Binary op) {
  const std::vector<float> x = ramp(kLength);
  std::vector<float> y(x.size());
  for (auto _ : state) {
    kernels::binary(op, x.data(), x.data(), y.data(), kLength);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kLength);
}
#define SL_BINARY(Name, ...) BENCHMARK_CAPTURE(binary, Name, Binary::k##Name);
#include "kernels/binary_functions.inc"

void dot_product(benchmark::State& state) {
  const std::vector<float> x = ramp(kLength);
  for (auto _ : state) benchmark::DoNotOptimize(dot(x.data(), x.data(), kLength));
  state.SetItemsProcessed(state.iterations() * kLength);
}
BENCHMARK(dot_product);

void softmax(benchmark::State& state) {
  const std::vector<float> x = ramp(kLength);
  std::vector<float> y(x.size());
  for (auto _ : state) {
    kernels::softmax(x.data(), y.data(), kLength);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kLength);
}
BENCHMARK(softmax);

// Attention of 8 heads with 64 units. Arguments: the number of queries; the number of past keys
// that a query sees, or -1 for all; 1 for a step, which has a window of keys more than queries, 0
// for a whole sequence, which has as many keys as queries.
void attention(benchmark::State& state) {
  const ops::Heads heads{8, 1, 64};
  const int64_t queries = state.range(0), past = state.range(1);
  const bool is_step = state.range(2) != 0;
  const int64_t keys = is_step ? past + queries : queries, row = heads.width();
  const std::vector<float> q = ramp(heads.kv * queries * heads.width());
  const std::vector<float> kv = ramp(2 * heads.kv * keys * row);
  const std::vector<uint8_t> valid(static_cast<size_t>(std::max(keys, queries)), 1);
  ops::AttentionSource source;
  source.keys = reinterpret_cast<const std::byte*>(kv.data());
  source.stride = row * static_cast<int64_t>(sizeof(float));
  source.values = source.keys + keys * source.stride;
  source.pitch = 2 * keys * source.stride;
  source.valid = valid.data();
  source.count = keys;
  source.horizon = {past, 0, 1, is_step ? past : 0};
  ops::Attention attend;
  attend.heads = heads;
  attend.queries = q.data();
  attend.sources = {&source, 1};

  const Allocator allocator;
  Workspace workspace(allocator);
  const Parallel one_thread;
  for (auto _ : state) {
    Run run(is_step ? Mode::kStep : Mode::kLayer, workspace, one_thread, Constants());
    const Stack::Mark a = workspace.on(Side::kA).mark(), b = workspace.on(Side::kB).mark();
    const Sequence y = run.output({DType::kFloat32, {heads.count(), heads.units}}, 1, queries);
    std::memset(y.mask, 1, static_cast<size_t>(queries));
    attend.apply(run, y);
    benchmark::ClobberMemory();
    workspace.on(Side::kA).release(a);
    workspace.on(Side::kB).release(b);
  }
  int64_t pairs = 0;
  for (int64_t i = 0; i < queries; ++i) {
    const ops::KeyRange seen = source.horizon.of(i, keys);
    pairs += seen.end - seen.begin;
  }
  const auto operations = static_cast<double>(4 * pairs * heads.count() * heads.units);
  state.counters["FLOP/s"] = Counter(operations, Counter::kIsIterationInvariantRate);
}
BENCHMARK(attention)->Args({1000, -1, 0})->Args({1000, 64, 0})->Args({1000, 256, 0});
BENCHMARK(attention)->Args({1, 64, 1})->Args({4, 64, 1})->Args({1, 256, 1})->Args({1, 1024, 1});
BENCHMARK(attention)->Args({512, 256, 1});

// Scores of one block of an attention layer: 48 queries by 64 keys.
void attention_scores(benchmark::State& state) {
  const std::vector<float> q = ramp(48 * 64), k = ramp(64 * 64);
  std::vector<float> s(48 * 64);
  for (auto _ : state) {
    kernels::attention_scores({q.data(), 64, 48}, {k.data(), 64, 64}, 64, s.data(), 64);
    benchmark::ClobberMemory();
  }
  state.counters["FLOP/s"] = Counter(2.0 * 48 * 64 * 64, Counter::kIsIterationInvariantRate);
}
BENCHMARK(attention_scores);

void attention_values(benchmark::State& state) {
  const std::vector<float> p = ramp(48 * 64), v = ramp(64 * 64), scale(48, 1.0f);
  std::vector<float> o(48 * 64);
  for (auto _ : state) {
    kernels::attention_values({p.data(), 64, 48}, scale.data(), {v.data(), 64, 64}, 64, o.data(),
                              64);
    benchmark::ClobberMemory();
  }
  state.counters["FLOP/s"] = Counter(2.0 * 48 * 64 * 64, Counter::kIsIterationInvariantRate);
}
BENCHMARK(attention_values);

void online_softmax(benchmark::State& state) {
  const std::vector<float> s = ramp(64);
  std::vector<float> copy(s.size());
  for (auto _ : state) {
    std::copy(s.begin(), s.end(), copy.begin());
    float largest = -HUGE_VALF, total = 0;
    benchmark::DoNotOptimize(kernels::online_softmax(copy.data(), nullptr, 64, &largest, &total));
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * 64);
}
BENCHMARK(online_softmax);
// Argument: channels.
void layer_normalization(benchmark::State& state) {
  const int64_t length = state.range(0), rows = kLength / length;
  const std::vector<float> x = ramp(kLength);
  std::vector<float> y(x.size());
  for (auto _ : state) {
    layer_norm(x.data(), rows, length, 1e-6f, x.data(), x.data(), y.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * rows * length);
}
BENCHMARK(layer_normalization)->Arg(4)->Arg(64)->Arg(512);

void rms_normalization(benchmark::State& state) {
  const int64_t length = state.range(0), rows = kLength / length;
  const std::vector<float> x = ramp(kLength);
  std::vector<float> y(x.size());
  for (auto _ : state) {
    rms_norm(x.data(), rows, length, 1.0f, 1e-6f, x.data(), y.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * rows * length);
}
BENCHMARK(rms_normalization)->Arg(4)->Arg(64)->Arg(512);

// The affine function of each channel with which batch normalization and group normalization end.
void channel_affine(benchmark::State& state) {
  const std::vector<float> x = ramp(kLength);
  std::vector<float> y(x.size());
  for (auto _ : state) {
    shift_and_scale(x.data(), x.data(), x.data(), x.data(), kLength, y.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kLength);
}
BENCHMARK(channel_affine);

void deviations_by_column(benchmark::State& state) {
  const int64_t length = state.range(0), rows = kLength / length;
  const std::vector<float> x = ramp(kLength);
  std::vector<float> sums(static_cast<size_t>(length));
  for (auto _ : state) {
    column_deviations(x.data(), x.data(), rows, length, sums.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * rows * length);
}
BENCHMARK(deviations_by_column)->Arg(4)->Arg(64)->Arg(512);

void lstm(benchmark::State& state) {
  const int64_t units = state.range(0);
  const std::vector<float> z = ramp(4 * units);
  std::vector<float> c = ramp(units);
  std::vector<float> h(c.size());
  for (auto _ : state) {
    lstm_cell(z.data(), units, c.data(), h.data(), units);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * units);
}
BENCHMARK(lstm)->Arg(64)->Arg(1024);

void depthwise_frame(benchmark::State& state) {
  const int64_t channels = 256;
  const int64_t taps = 7;
  const int64_t multiplier = state.range(0);
  const std::vector<float> x = ramp(taps * channels);
  const std::vector<float> w = ramp(taps * channels * multiplier);
  std::vector<float> y(static_cast<size_t>(channels * multiplier));
  for (auto _ : state) {
    depthwise(x.data(), channels, w.data(), nullptr, taps, channels, multiplier, y.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * taps * channels * multiplier);
}
BENCHMARK(depthwise_frame)->Arg(1)->Arg(2)->Arg(8);

void f16(benchmark::State& state) {
  std::vector<float> x = ramp(kLength);
  for (auto _ : state) {
    round_to_f16(x.data(), kLength);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kLength);
}
BENCHMARK(f16);

void bf16(benchmark::State& state) {
  std::vector<float> x = ramp(kLength);
  for (auto _ : state) {
    round_to_bf16(x.data(), kLength);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kLength);
}
BENCHMARK(bf16);

}  // namespace
}  // namespace sl::kernels

int main(int argc, char** argv) {
  sl::kernels::warm_dispatch();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
