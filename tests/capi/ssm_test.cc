// Tests state-space layers beyond the recorded cases: sequences much longer than their convolution
// kernels, compared with the recurrence in double precision.
#include <catch2/catch.hpp>
#include <cmath>
#include <complex>
#include <functional>
#include <limits>
#include <map>
#include <numbers>
#include <random>

#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Value = std::complex<double>;
using Values = std::vector<Value>;
using Square = std::vector<Values>;

constexpr int64_t kChannels = 3;
constexpr size_t kStates = 24;  // stored states

// The tolerance of the recorded cases of S4.
constexpr Tolerance kTolerance{2e-4, 2e-4};

// The system of one channel: x = a x + b u, y = Re(c . x) + d u.
struct System {
  Square a;
  Values b, c;
  double d;
};

Values times(const Square& m, const Values& x) {
  Values y(m.size());
  for (size_t i = 0; i < m.size(); ++i) {
    for (size_t j = 0; j < m.size(); ++j) y[i] += m[i][j] * x[j];
  }
  return y;
}

Square product(const Square& a, const Square& b) {
  Square y(a.size(), Values(a.size()));
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t k = 0; k < a.size(); ++k) {
      for (size_t j = 0; j < a.size(); ++j) y[i][j] += a[i][k] * b[k][j];
    }
  }
  return y;
}

// Inverse by Gauss-Jordan elimination, for matrices that need no pivoting.
Square inverse(Square m) {
  Square y(m.size(), Values(m.size()));
  for (size_t i = 0; i < m.size(); ++i) y[i][i] = 1;
  for (size_t k = 0; k < m.size(); ++k) {
    const Value pivot = m[k][k];
    for (size_t j = 0; j < m.size(); ++j) {
      m[k][j] /= pivot;
      y[k][j] /= pivot;
    }
    for (size_t i = 0; i < m.size(); ++i) {
      const Value factor = m[i][k];
      if (i == k) continue;
      for (size_t j = 0; j < m.size(); ++j) {
        m[i][j] -= factor * m[k][j];
        y[i][j] -= factor * y[k][j];
      }
    }
  }
  return y;
}

// Weights as a trained model and the recorded cases have them.
class Weights {
 public:
  Tensor add(const char* name, std::vector<int64_t> dims,
             const std::function<double(size_t)>& make) {
    Tensor tensor = make_array(SL_DTYPE_FLOAT32, std::move(dims));
    for (int64_t i = 0; i < tensor.size(); ++i) tensor.set(i, make(static_cast<size_t>(i)));
    weights_.add(std::string("params.") + name, tensor.view());
    return tensor;
  }
  double normal(double scale) { return scale * normal_(rng_); }
  double uniform(double from, double to) {
    return std::uniform_real_distribution<double>(from, to)(rng_);
  }
  Layer layer(const std::string& config, int num_threads) const {
    sl_layer_options options = SL_LAYER_OPTIONS_INIT;
    options.num_threads = num_threads;
    return Layer(config, weights_, &options);
  }

 private:
  std::mt19937 rng_{7};
  std::normal_distribution<double> normal_;
  sequence_layers::Weights weights_;
};

Value pair_at(const Tensor& x, size_t index) {
  return {x.at(static_cast<int64_t>(2 * index)).real(),
          x.at(static_cast<int64_t>(2 * index + 1)).real()};
}

double real_at(const Tensor& x, size_t index) { return x.at(static_cast<int64_t>(index)).real(); }

double frequency(size_t i) { return std::numbers::pi * static_cast<double>(i % kStates); }

std::vector<System> add_s4(Weights& weights, int64_t kernel_length) {
  constexpr auto kN = static_cast<int64_t>(kStates);
  const auto near = [&](double scale) {
    return [&, scale](size_t) { return weights.normal(scale); };
  };
  const Tensor re = weights.add("lambda_re", {kChannels, kN},
                                [&](size_t) { return -0.5 + weights.normal(0.01); });
  const Tensor im = weights.add("lambda_im", {kChannels, kN},
                                [&](size_t i) { return frequency(i) + weights.normal(0.01); });
  // A state with a zero in p has no feedback; the last channel has none at all.
  const Tensor p = weights.add("p", {kChannels, kN, 2}, [&](size_t i) {
    return i / 2 % kStates == 2 || i / 2 / kStates == 2 ? 0 : weights.normal(0.7);
  });
  const Tensor b = weights.add("b", {kChannels, kN, 2}, near(1));
  const Tensor c = weights.add("c", {kChannels, kN, 2}, near(0.5));
  const Tensor log_step =
      weights.add("log_step", {kChannels}, [&](size_t) { return weights.uniform(-6, -3); });
  const Tensor d = weights.add("d", {kChannels}, near(1));
  std::vector<System> systems;
  for (size_t h = 0; h < static_cast<size_t>(kChannels); ++h) {
    const double twice = 2 / std::exp(real_at(log_step, h));
    Square plus(kStates, Values(kStates)), minus = plus;
    Values in(kStates), out(kStates);
    for (size_t i = 0; i < kStates; ++i) {
      const size_t at = h * kStates + i;
      in[i] = 2.0 * pair_at(b, at);
      out[i] = std::conj(pair_at(c, at));
      for (size_t j = 0; j < kStates; ++j) {
        Value a = -pair_at(p, at) * std::conj(pair_at(p, h * kStates + j));
        if (i == j) a += Value(real_at(re, at), real_at(im, at));
        plus[i][j] = (i == j ? twice : 0) + a;
        minus[i][j] = (i == j ? twice : 0) - a;
      }
    }
    const Square inverted = inverse(minus), a = product(inverted, plus);
    Square rest(kStates, Values(kStates)), power = rest;  // (I - a^length)^T
    for (size_t i = 0; i < kStates; ++i) power[i][i] = 1;
    for (int64_t i = 0; i < kernel_length; ++i) power = product(power, a);
    for (size_t i = 0; i < kStates; ++i) {
      for (size_t j = 0; j < kStates; ++j) rest[i][j] = (i == j ? 1.0 : 0.0) - power[j][i];
    }
    systems.push_back({a, times(inverted, in), times(inverse(rest), out), real_at(d, h)});
  }
  return systems;
}

std::vector<System> add_s4d(Weights& weights) {
  constexpr auto kN = static_cast<int64_t>(kStates);
  const Tensor re = weights.add("log_neg_lambda_re", {kChannels, kN},
                                [&](size_t) { return -0.7 + weights.normal(0.1); });
  const Tensor im = weights.add("lambda_im", {kChannels, kN},
                                [&](size_t i) { return frequency(i) + weights.normal(0.01); });
  const Tensor c =
      weights.add("c", {kChannels, kN, 2}, [&](size_t) { return weights.normal(0.5); });
  const Tensor log_step =
      weights.add("log_step", {kChannels}, [&](size_t) { return weights.uniform(-6, -3); });
  const Tensor d = weights.add("d", {kChannels}, [&](size_t) { return weights.normal(1); });
  std::vector<System> systems;
  for (size_t h = 0; h < static_cast<size_t>(kChannels); ++h) {
    System system{Square(kStates, Values(kStates)), Values(kStates), Values(kStates),
                  real_at(d, h)};
    for (size_t i = 0; i < kStates; ++i) {
      const size_t at = h * kStates + i;
      const Value lambda(-std::exp(real_at(re, at)), real_at(im, at));
      system.a[i][i] = std::exp(std::exp(real_at(log_step, h)) * lambda);
      system.b[i] = (system.a[i][i] - 1.0) / lambda;
      system.c[i] = 2.0 * pair_at(c, at);
    }
    systems.push_back(system);
  }
  return systems;
}

Tensor expected(const std::vector<System>& systems, const Tensor& x) {
  Tensor y = x;
  for (int64_t i = 0; i < x.batch() * kChannels; ++i) {
    const System& system = systems[static_cast<size_t>(i % kChannels)];
    Values state(kStates);
    for (int64_t t = 0; t < x.time(); ++t) {
      const int64_t at = (i / kChannels * x.time() + t) * kChannels + i % kChannels;
      const double u = x.valid(i / kChannels, t) ? x.at(at).real() : 0;
      state = times(system.a, state);
      double out = system.d * u;
      for (size_t n = 0; n < kStates; ++n) {
        state[n] += system.b[n] * u;
        out += (system.c[n] * state[n]).real();
      }
      y.set(at, out);
    }
  }
  return y;
}

// Random input with invalid steps that hold NaN.
Input input_of(int64_t batch, int64_t time) {
  std::mt19937 rng(3);
  Input input{make_sequence(SL_DTYPE_FLOAT32, {batch, time, kChannels}), {}};
  std::normal_distribution<double> normal;
  for (int64_t i = 0; i < batch * time; ++i) {
    const bool valid = i % 97 != 60;
    input.x.mask[static_cast<size_t>(i)] = valid ? 1 : 0;
    for (int64_t c = 0; c < kChannels; ++c) {
      input.x.set(i * kChannels + c,
                  valid ? normal(rng) : std::numeric_limits<double>::quiet_NaN());
    }
  }
  return input;
}

void check_layer(const Layer& layer, const std::vector<System>& systems, int64_t batch,
                 int64_t time) {
  INFO("batch=" << batch << " time=" << time);
  const Input input = input_of(batch, time);
  const Tensor want = expected(systems, input.x);
  CHECK(compare_sequences(apply(layer, input), want, kTolerance).reason == "");
}

void check_steps(const Layer& layer, const std::vector<System>& systems, int64_t time) {
  const Input input = input_of(1, time);
  const Tensor want = expected(systems, input.x);
  Stepper::Options blocks;
  blocks.blocks_per_step = 1000;
  CHECK(compare_sequences(Stepper(layer, input, blocks).run_all(), want, kTolerance).reason == "");
}

TEST_CASE("S4 agrees with its recurrence beyond the length of its kernel, in all ways to run it",
          "[ssm]") {
  constexpr int64_t kKernel = 2500;
  const std::string config = R"({"type":"S4","state_size":24,"kernel_length":2500})";
  Weights weights;
  const std::vector<System> systems = add_s4(weights, kKernel);
  for (const int threads : {1, 2}) {
    INFO(threads << " threads");
    const Layer layer = weights.layer(config, threads);
    // Lengths that are scanned, that take one transform block, several, the whole kernel, a little
    // more, and much more.
    for (const int64_t time : {40, 700, 1024, 2300, 2500, 6000}) {
      check_layer(layer, systems, 2, time);
    }
    check_layer(layer, systems, 1, 100000);
  }
  check_steps(weights.layer(config, 1), systems, 100000);
}

TEST_CASE("S4D agrees with its recurrence over long sequences, in all ways to run it", "[ssm]") {
  Weights weights;
  const std::vector<System> systems = add_s4d(weights);
  const Layer layer = weights.layer(R"({"type":"S4D","state_size":48})", 2);
  check_layer(layer, systems, 2, 100);
  check_layer(layer, systems, 1, 100000);
  check_steps(layer, systems, 100000);
}

TEST_CASE("scans give the same on any number of threads", "[ssm]") {
  struct Case {
    const char* config;
    int64_t channels;
  };
  for (const Case& c :
       {Case{R"({"type":"LRU","state_size":70})", 5}, Case{R"({"type":"Mamba"})", 40},
        Case{R"({"type":"RGLRU","units":128,"num_heads":2})", 128},
        Case{R"({"type":"RGLRU","units":128,"num_heads":1,"only_real":false})", 128}}) {
    INFO(c.config);
    std::mt19937 rng(11);
    const Input input{random_sequence(SL_DTYPE_FLOAT32, {2, 700, c.channels}, rng), {}};
    const sequence_layers::Weights weights = make_weights(
        c.config, {{"", {c.channels, {}, {}}}, {"out_proj", {1, {}, {c.channels, 2 * c.channels}}}},
        rng);
    const auto output = [&](int num_threads) {
      sl_layer_options options = SL_LAYER_OPTIONS_INIT;
      options.num_threads = num_threads;
      return apply(Layer(c.config, weights, &options), input);
    };
    const Tensor want = output(1);
    CHECK(compare_bits(output(3), want).reason == "");
    CHECK(std::isfinite(want.at(want.size() - 1).real()));
  }
}

struct LongMemory {
  const char* config;
  int64_t channels;
  int64_t time;
  std::vector<std::pair<const char*, std::vector<int64_t>>> weights;
  // Weights whose elements all have one value.
  std::vector<std::pair<const char*, double>> constants;
};

// Layers with fewer channels than threads, so that scans are cut in time; their memory is much
// longer than one part.
const LongMemory kLongMemories[] = {
    {R"({"type":"LRU","state_size":20})",
     3,
     170000,
     {{"b_re", {20, 3}},
      {"b_im", {20, 3}},
      {"c_re", {3, 20}},
      {"c_im", {3, 20}},
      {"d", {3}},
      {"nu_log", {20}},
      {"theta_log", {20}},
      {"gamma_log", {20}}},
     {{"nu_log", -12}, {"gamma_log", -5}}},
    {R"({"type":"S5","state_size":16})",
     3,
     170000,
     {{"b", {16, 3, 2}},
      {"c", {3, 16, 2}},
      {"d", {3}},
      {"lambda_re", {16}},
      {"lambda_im", {16}},
      {"log_step", {16, 1}}},
     {{"lambda_re", -0.01}, {"log_step", -7}}},
    {R"({"type":"Mamba"})",
     6,
     17000,
     {{"in_proj.weight", {24, 6}},
      {"conv1d.weight", {12, 1, 4}},
      {"conv1d.bias", {12}},
      {"x_proj.weight", {33, 12}},
      {"dt_proj.weight", {12, 1}},
      {"dt_proj.bias", {12}},
      {"out_proj.weight", {6, 12}},
      {"A_log", {12, 16}},
      {"D", {12}}},
     {{"A_log", -5}, {"dt_proj.bias", -3}}},
    {R"({"type":"RGLRU","units":16,"num_heads":2})",
     16,
     170000,
     {{"input_gate.kernel", {2, 8, 8}},
      {"input_gate.bias", {2, 8}},
      {"a_gate.kernel", {2, 8, 8}},
      {"a_gate.bias", {2, 8}},
      {"a_param", {16}}},
     {{"a_param", -13}}},
};

TEST_CASE("scans that are cut in time agree with steps", "[ssm]") {
  for (const LongMemory& c : kLongMemories) {
    INFO(c.config);
    Weights weights;
    const std::map<std::string, double> constants(c.constants.begin(), c.constants.end());
    for (const auto& [name, dims] : c.weights) {
      const auto constant = constants.find(name);
      weights.add(name, dims, [&](size_t) {
        return constant == constants.end() ? weights.normal(0.3) : constant->second;
      });
    }
    std::mt19937 rng(12);
    const Input input{random_sequence(SL_DTYPE_FLOAT32, {1, c.time, c.channels}, rng), {}};
    const Layer layer = weights.layer(c.config, 7);
    Stepper::Options blocks;
    blocks.blocks_per_step = 500;
    const Tensor want = Stepper(layer, input, blocks).run_all();
    CHECK(std::isfinite(want.at(want.size() - 1).real()));
    CHECK(compare_sequences(apply(layer, input), want, kTolerance).reason == "");
  }
}

}  // namespace
}  // namespace sl::testing
