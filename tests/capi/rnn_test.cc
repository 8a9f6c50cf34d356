// Tests RNNs beyond the recorded cases: carries by name, invalid steps, time-major arrays, layers
// as cells.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>

#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

constexpr const char* kGru = R"({"type":"RNN","cell":{"type":"GRUCell","features":3}})";

sl_sequence view(int64_t batch, int64_t time, int64_t channels, float* data, uint8_t* mask) {
  sl_sequence out = SL_SEQUENCE_INIT;
  out.rank = 3;
  out.dims[0] = batch;
  out.dims[1] = time;
  out.dims[2] = channels;
  out.data = data;
  out.mask = mask;
  return out;
}

std::vector<float> ramp(size_t count) {
  std::vector<float> out(count);
  for (size_t i = 0; i < count; ++i) out[i] = 0.05f * static_cast<float>(i % 37) - 0.8f;
  return out;
}

void run_layer(const sl_layer* layer, const sl_sequence& x, sl_sequence* y) {
  check([&](sl_error* e) { return sl_layer_apply(layer, &x, y, nullptr, e); });
}

TEST_CASE("invalid steps at any position do not change an RNN's carry", "[rnn]") {
  for (const char* cell : {"SimpleCell", "LSTMCell", "OptimizedLSTMCell", "GRUCell", "MGUCell"}) {
    INFO(cell);
    const Layer layer = make_model(
        std::string(R"({"type":"RNN","cell":{"features":3,"type":")") + cell + "\"}}", 2);
    std::vector<float> dense = ramp(4 * 2), holed(6 * 2, 99.0f);
    const int64_t places[] = {1, 2, 4, 5};
    for (int64_t i = 0; i < 4; ++i)
      std::copy_n(dense.data() + i * 2, 2, holed.data() + places[i] * 2);
    uint8_t all[4] = {1, 1, 1, 1}, some[6] = {0, 1, 1, 0, 1, 1}, out_mask[6];
    std::vector<float> want(4 * 3), got(6 * 3);
    sl_sequence y = view(1, 4, 3, want.data(), out_mask);
    run_layer(layer.get(), view(1, 4, 2, dense.data(), all), &y);
    y = view(1, 6, 3, got.data(), out_mask);
    run_layer(layer.get(), view(1, 6, 2, holed.data(), some), &y);
    for (int64_t i = 0; i < 4; ++i) {
      for (int64_t c = 0; c < 3; ++c)
        CHECK(got[static_cast<size_t>(places[i] * 3 + c)] == want[static_cast<size_t>(i * 3 + c)]);
    }
    CHECK(std::memcmp(out_mask, some, 6) == 0);
  }
}

TEST_CASE("a cell runs separately at each index of the axes before the last", "[rnn]") {
  constexpr int64_t kTime = 7, kPlaces = 3, kChannels = 4;
  for (const char* cell : {"SimpleCell", "LSTMCell", "GRUCell", "MGUCell"}) {
    INFO(cell);
    const Layer layer = make_model(
        std::string(R"({"type":"RNN","cell":{"features":2,"type":")") + cell + "\"}}", kChannels);
    std::mt19937 rng(1);
    const Input input{random_sequence(SL_DTYPE_FLOAT32, {1, kTime, kPlaces, kChannels}, rng), {}};
    const Tensor got = apply(layer, input);
    CHECK(got.dims == std::vector<int64_t>{1, kTime, kPlaces, 2});
    const Tensor stepped = Stepper(layer, input).run_all();
    CHECK(compare_sequences(stepped, got, {}).reason == "");
    for (int64_t place = 0; place < kPlaces; ++place) {
      Input one{random_sequence(SL_DTYPE_FLOAT32, {1, kTime, kChannels}, rng), {}};
      one.x.mask = input.x.mask;
      for (int64_t i = 0; i < kTime * kChannels; ++i) {
        const int64_t step = i / kChannels;
        one.x.set(i, input.x.at((step * kPlaces + place) * kChannels + i % kChannels));
      }
      const Tensor want = apply(layer, one);
      for (int64_t i = 0; i < kTime * 2; ++i) {
        const auto at = got.at((i / 2 * kPlaces + place) * 2 + i % 2);
        CHECK(at.real() == Approx(want.at(i).real()).margin(1e-6));
      }
    }
  }
}

TEST_CASE("an RNN takes time-major arrays by strides", "[rnn]") {
  const Layer layer = make_model(kGru, 2);
  constexpr int64_t kBatch = 3, kTime = 5;
  std::vector<float> x = ramp(kBatch * kTime * 2), time_major(x.size());
  for (int64_t b = 0; b < kBatch; ++b) {
    for (int64_t t = 0; t < kTime; ++t)
      std::copy_n(x.data() + (b * kTime + t) * 2, 2, time_major.data() + (t * kBatch + b) * 2);
  }
  std::vector<uint8_t> mask(kBatch * kTime, 1), out_mask(mask.size());
  std::vector<float> want(kBatch * kTime * 3), got(want.size());
  sl_sequence y = view(kBatch, kTime, 3, want.data(), out_mask.data());
  run_layer(layer.get(), view(kBatch, kTime, 2, x.data(), mask.data()), &y);
  sl_sequence in = view(kBatch, kTime, 2, time_major.data(), mask.data());
  sl_sequence out = view(kBatch, kTime, 3, got.data(), out_mask.data());
  for (auto [sequence, channels] : {std::pair(&in, 2), std::pair(&out, 3)}) {
    sequence->strides[0] = channels * 4;
    sequence->strides[1] = kBatch * channels * 4;
    sequence->strides[2] = 4;
  }
  run_layer(layer.get(), in, &out);
  for (int64_t b = 0; b < kBatch; ++b) {
    for (int64_t t = 0; t < kTime; ++t) {
      CHECK(std::memcmp(got.data() + (t * kBatch + b) * 3, want.data() + (b * kTime + t) * 3,
                        3 * sizeof(float)) == 0);
    }
  }
}

// Steps twice with those byte strides of x and y, and strides of the mask.
std::vector<float> strided_steps(const Layer& layer, std::vector<float> x, const int64_t* strides,
                                 const int64_t* mask_strides) {
  constexpr int64_t kBatch = 2, kTime = 3;
  const State state(layer, sequence_layers::channel_spec({3}), kBatch, kTime);
  std::vector<float> y(x.size());
  std::vector<uint8_t> mask = {1, 1, 0, 1, 0, 1}, out_mask(mask.size());
  sl_sequence in = view(kBatch, kTime, 3, x.data(), mask.data());
  sl_sequence out = view(kBatch, kTime, 3, y.data(), out_mask.data());
  std::copy_n(strides, 3, in.strides);
  std::copy_n(strides, 3, out.strides);
  std::copy_n(mask_strides, 2, in.mask_strides);
  for (int i = 0; i < 2; ++i) {
    check([&](sl_error* e) {
      return sl_layer_step(layer.get(), state.get(), &in, &out, nullptr, e);
    });
  }
  return y;
}

TEST_CASE("steps take the strides of packed arrays, and any others", "[rnn]") {
  const Layer layer = make_model(kGru, 3);
  const std::vector<float> x = ramp(2 * 3 * 3);
  const int64_t none[3] = {}, packed[3] = {36, 12, 4}, time_major[3] = {12, 24, 4};
  const int64_t mask_packed[2] = {3, 1}, mask_reversed[2] = {1, 2};
  const std::vector<float> want = strided_steps(layer, x, none, none);
  CHECK(strided_steps(layer, x, packed, none) == want);
  CHECK(strided_steps(layer, x, none, mask_packed) == want);
  CHECK(strided_steps(layer, x, packed, mask_packed) == want);
  CHECK(strided_steps(layer, x, packed, mask_reversed) != want);
  std::vector<float> swapped(x.size()), got(x.size());
  const auto swap = [](const std::vector<float>& from, std::vector<float>& to, bool back) {
    for (size_t b = 0; b < 2; ++b) {
      for (size_t t = 0; t < 3; ++t) {
        const size_t batch_major = (b * 3 + t) * 3, major = (t * 2 + b) * 3;
        std::copy_n(from.data() + (back ? major : batch_major), 3,
                    to.data() + (back ? batch_major : major));
      }
    }
  };
  swap(x, swapped, false);
  swap(strided_steps(layer, swapped, time_major, mask_packed), got, true);
  CHECK(got == want);
}

struct Carry {
  float* data = nullptr;
  int64_t size = 0;
};

// The state tensor whose name has this end.
Carry carry_of(const sl_state* state, const std::string& end) {
  for (int64_t i = 0; i < sl_state_tensor_count(state); ++i) {
    const char* name = nullptr;
    sl_sequence tensor = SL_SEQUENCE_INIT;
    check([&](sl_error* e) { return sl_state_tensor(state, i, &name, &tensor, e); });
    if (!std::string(name).ends_with(end)) continue;
    Carry carry{static_cast<float*>(tensor.data), 1};
    for (int32_t d = 0; d < tensor.rank; ++d) carry.size *= tensor.dims[d];
    return carry;
  }
  FAIL("no state tensor " << end);
  return {};
}

State alloc_state(const Layer& layer, int64_t channels) {
  return State(layer, sequence_layers::channel_spec({channels}));
}

// Runs a stream with one batch item, step by step.
std::vector<float> stream(const sl_layer* layer, sl_state* state, std::vector<float> x,
                          int64_t channels, int64_t units) {
  const auto time = static_cast<int64_t>(x.size()) / channels;
  std::vector<float> out(static_cast<size_t>(time * units));
  for (int64_t t = 0; t < time; ++t) {
    uint8_t valid = 1, mask = 0;
    const sl_sequence in = view(1, 1, channels, x.data() + t * channels, &valid);
    sl_sequence y = view(1, 1, units, out.data() + t * units, &mask);
    check([&](sl_error* e) { return sl_layer_step(layer, state, &in, &y, nullptr, e); });
  }
  return out;
}

TEST_CASE("an RNN's carry is set and read through the state's tensors", "[rnn]") {
  for (const std::string cell : {"GRUCell", "LSTMCell"}) {
    INFO(cell);
    const Layer layer =
        make_model(R"({"type":"RNN","cell":{"features":3,"type":")" + cell + "\"}}", 2);
    const std::vector<std::string> names = cell == "LSTMCell"
                                               ? std::vector<std::string>{"carry.c", "carry.h"}
                                               : std::vector<std::string>{"carry.h"};
    const std::vector<float> x = ramp(8 * 2);
    const std::vector<float> begin(x.begin(), x.begin() + 8), end(x.begin() + 8, x.end());
    const State first = alloc_state(layer, 2), second = alloc_state(layer, 2);
    const std::vector<float> made = stream(layer.get(), first.get(), begin, 2, 3);
    const Carry h = carry_of(first.get(), "carry.h");
    REQUIRE(h.size == 3);
    CHECK(std::vector<float>(h.data, h.data + 3) == std::vector<float>(made.end() - 3, made.end()));
    for (const std::string& name : names)
      std::copy_n(carry_of(first.get(), name).data, 3, carry_of(second.get(), name).data);
    const std::vector<float> want = stream(layer.get(), first.get(), end, 2, 3);
    CHECK(stream(layer.get(), second.get(), end, 2, 3) == want);
    const State fresh = alloc_state(layer, 2);
    CHECK(stream(layer.get(), fresh.get(), end, 2, 3) != want);
  }
}

// A named weight of shape [rows, columns], or [columns] if rows is 0.
struct Weight {
  std::string name;
  int64_t rows, columns;
  std::vector<float> values;
};

Layer model_of(const std::string& config, const std::vector<Weight>& list) {
  Weights weights;
  for (const Weight& weight : list) {
    Tensor tensor = make_array(SL_DTYPE_FLOAT32,
                               weight.rows > 0 ? std::vector<int64_t>{weight.rows, weight.columns}
                                               : std::vector<int64_t>{weight.columns});
    for (size_t i = 0; i < weight.values.size(); ++i)
      tensor.set(static_cast<int64_t>(i), weight.values[i]);
    weights.add("params." + weight.name, tensor.view());
  }
  return Layer(config, weights);
}

constexpr size_t kIn = 2, kUnits = 3;

double sigmoid(double v) { return 1 / (1 + std::exp(-v)); }

std::vector<float> random_floats(size_t count, std::mt19937& rng) {
  std::uniform_real_distribution<float> value(-1, 1);
  std::vector<float> out(count);
  for (float& v : out) v = value(rng);
  return out;
}

// The columns of one gate in an array of [rows, gates * kUnits].
std::vector<float> gate_of(const std::vector<float>& all, size_t gates, size_t gate) {
  std::vector<float> out;
  for (size_t row = 0; row < all.size() / (gates * kUnits); ++row) {
    for (size_t j = 0; j < kUnits; ++j) out.push_back(all[(row * gates + gate) * kUnits + j]);
  }
  return out;
}

double dot(const std::vector<double>& x, const std::vector<float>& w, size_t columns, size_t j) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += x[i] * static_cast<double>(w[i * columns + j]);
  return sum;
}

// Keras' GRU: gates [z, r, h] side by side, and a bias [2, 3 units], or [3 units] without
// reset_after.
struct KerasGru {
  std::vector<float> kernel, recurrent, bias;

  std::vector<double> run(const std::vector<float>& x, bool reset_after, double zoneout) const {
    std::vector<double> h(kUnits), out;
    const auto b = [&](size_t row, size_t j) {
      return reset_after || row == 0 ? static_cast<double>(bias[row * 3 * kUnits + j]) : 0.0;
    };
    for (size_t t = 0; t < x.size() / kIn; ++t) {
      const std::vector<double> in(&x[t * kIn], &x[t * kIn] + kIn);
      const auto a = [&](const std::vector<double>& carry, size_t j) {
        return dot(in, kernel, 3 * kUnits, j) + b(0, j) + dot(carry, recurrent, 3 * kUnits, j) +
               b(1, j);
      };
      std::vector<double> gated(kUnits), next(kUnits);
      for (size_t j = 0; j < kUnits; ++j) gated[j] = sigmoid(a(h, kUnits + j)) * h[j];
      for (size_t j = 0; j < kUnits; ++j) {
        const size_t n = 2 * kUnits + j;
        const double z = sigmoid(a(h, j)), r = sigmoid(a(h, kUnits + j));
        const double after = r * (dot(h, recurrent, 3 * kUnits, n) + b(1, n));
        const double inner = reset_after ? after : dot(gated, recurrent, 3 * kUnits, n);
        next[j] = (1 - z) * std::tanh(dot(in, kernel, 3 * kUnits, n) + b(0, n) + inner) + z * h[j];
      }
      out.insert(out.end(), next.begin(), next.end());
      for (size_t j = 0; j < kUnits; ++j) h[j] = zoneout * h[j] + (1 - zoneout) * next[j];
    }
    return out;
  }

  // Converts the weights as docs/layers/recurrent.md describes.
  Layer model(bool reset_after, double zoneout) const {
    std::vector<Weight> weights;
    const char* names[] = {"z", "r", "n"};
    for (size_t gate = 0; gate < 3; ++gate) {
      const std::string name = names[gate];
      std::vector<float> b = gate_of(bias, 3, gate);  // both rows of the bias
      const std::vector<float> second(b.begin() + kUnits, b.end());
      b.resize(kUnits);
      for (size_t j = 0; j < kUnits && reset_after && gate < 2; ++j) b[j] += second[j];
      weights.push_back({"cell.i" + name + ".kernel", kIn, kUnits, gate_of(kernel, 3, gate)});
      weights.push_back({"cell.i" + name + ".bias", 0, kUnits, b});
      weights.push_back({"cell.h" + name + ".kernel", kUnits, kUnits, gate_of(recurrent, 3, gate)});
      if (reset_after && gate == 2) weights.push_back({"cell.hn.bias", 0, kUnits, second});
    }
    return model_of(R"({"type":"RNN","cell":{"type":"GRUCell","features":3,"reset_after":)" +
                        std::string(reset_after ? "true" : "false") + R"(,"zoneout_probability":)" +
                        std::to_string(zoneout) + "}}",
                    weights);
  }
};

void check_both_ways(const Layer& layer, std::vector<float> x, const std::vector<double>& want) {
  const auto time = static_cast<int64_t>(x.size() / kIn);
  std::vector<uint8_t> mask(static_cast<size_t>(time), 1), out_mask(mask.size());
  std::vector<float> got(want.size());
  sl_sequence y = view(1, time, kUnits, got.data(), out_mask.data());
  run_layer(layer.get(), view(1, time, kIn, x.data(), mask.data()), &y);
  const State state = alloc_state(layer, kIn);
  const std::vector<float> stepped = stream(layer.get(), state.get(), x, kIn, kUnits);
  for (size_t i = 0; i < want.size(); ++i) {
    CHECK(static_cast<double>(got[i]) == Approx(want[i]).margin(2e-6));
    CHECK(static_cast<double>(stepped[i]) == Approx(want[i]).margin(2e-6));
  }
}

TEST_CASE("a GRUCell with Keras' weights is Keras' GRU, zoned out or not", "[rnn]") {
  std::mt19937 rng(3);
  const KerasGru gru{random_floats(kIn * 3 * kUnits, rng), random_floats(kUnits * 3 * kUnits, rng),
                     random_floats(2 * 3 * kUnits, rng)};
  const std::vector<float> x = random_floats(20 * kIn, rng);
  for (const bool reset_after : {true, false}) {
    for (const double zoneout : {0.0, 0.25, 1.0}) {
      INFO(reset_after << " " << zoneout);
      const Layer layer = gru.model(reset_after, zoneout);
      check_both_ways(layer, x, gru.run(x, reset_after, zoneout));
    }
  }
}

TEST_CASE("an LSTM and an LSTMCell zone both parts of the carry out", "[rnn]") {
  std::mt19937 rng(4);
  const std::vector<float> kernel = random_floats(kIn * 4 * kUnits, rng),
                           recurrent = random_floats(kUnits * 4 * kUnits, rng),
                           bias = random_floats(4 * kUnits, rng), x = random_floats(20 * kIn, rng);
  constexpr double kZoneout = 0.25;
  std::vector<double> c(kUnits), h(kUnits), want;
  for (size_t t = 0; t < 20; ++t) {
    const std::vector<double> in(&x[t * kIn], &x[t * kIn] + kIn), old_h = h;
    const auto a = [&](size_t gate, size_t j) {
      const size_t at = gate * kUnits + j;
      return dot(in, kernel, 4 * kUnits, at) + dot(old_h, recurrent, 4 * kUnits, at) +
             static_cast<double>(bias[at]);
    };
    for (size_t j = 0; j < kUnits; ++j) {
      const double next_c = sigmoid(a(1, j)) * c[j] + sigmoid(a(0, j)) * std::tanh(a(2, j));
      const double next_h = sigmoid(a(3, j)) * std::tanh(next_c);
      want.push_back(next_h);
      c[j] = kZoneout * c[j] + (1 - kZoneout) * next_c;
      h[j] = kZoneout * old_h[j] + (1 - kZoneout) * next_h;
    }
  }
  const Layer lstm = model_of(R"({"type":"LSTM","units":3,"zoneout_probability":0.25})",
                              {{"kernel.kernel", kIn, 4 * kUnits, kernel},
                               {"recurrent_kernel.kernel", kUnits, 4 * kUnits, recurrent},
                               {"bias", 0, 4 * kUnits, bias}});
  check_both_ways(lstm, x, want);
  std::vector<Weight> weights;
  const char* names[] = {"i", "f", "g", "o"};
  for (size_t gate = 0; gate < 4; ++gate) {
    const std::string name = names[gate];
    weights.push_back({"cell.i" + name + ".kernel", kIn, kUnits, gate_of(kernel, 4, gate)});
    weights.push_back({"cell.h" + name + ".kernel", kUnits, kUnits, gate_of(recurrent, 4, gate)});
    weights.push_back({"cell.h" + name + ".bias", 0, kUnits, gate_of(bias, 4, gate)});
  }
  const Layer cell = model_of(
      R"({"type":"RNN","cell":{"type":"LSTMCell","features":3,"zoneout_probability":0.25}})",
      weights);
  check_both_ways(cell, x, want);
}

std::vector<float> applied(const sl_layer* layer, std::vector<float> x, int64_t time,
                           int64_t channels, int64_t out_channels) {
  std::vector<uint8_t> mask(static_cast<size_t>(time), 1), out_mask(mask.size());
  std::vector<float> out(static_cast<size_t>(time * out_channels));
  sl_sequence y = view(1, time, out_channels, out.data(), out_mask.data());
  run_layer(layer, view(1, time, channels, x.data(), mask.data()), &y);
  return out;
}

// Wide enough for threads to divide the units.
TEST_CASE("a recurrence is the same on any number of threads, and in steps", "[rnn]") {
  constexpr int64_t kBatch = 2, kTime = 15, kWide = 256;  // too few rows for oneDNN
  const std::vector<float> x = ramp(kBatch * kTime * kWide);
  std::vector<uint8_t> mask(kBatch * kTime, 1);
  for (const size_t hole : {3u, 9u, 20u, 29u}) mask[hole] = 0;
  for (const std::string zoneout : {"", R"(,"zoneout_probability":0.5)"}) {
    for (const std::string layer :
         {R"({"type":"LSTM","units":256@})",
          R"({"type":"RNN","cell":{"type":"GRUCell","features":256@}})",
          R"({"type":"RNN","cell":{"type":"GRUCell","features":256,)"
          R"("activation_fn":"swish"@}})",
          R"({"type":"RNN","cell":{"type":"SimpleCell","features":256@}})",
          R"({"type":"RNN","cell":{"type":"MGUCell","features":256@}})",
          R"({"type":"RNN","cell":{"type":"LSTMCell","features":256@},)"
          R"("reverse":true})"}) {
      std::string config = layer;
      config.replace(config.find('@'), 1, zoneout);
      INFO(config);
      std::vector<std::vector<float>> made;
      for (const int32_t threads : {1, 2, 3}) {
        sl_layer_options options = SL_LAYER_OPTIONS_INIT;
        options.num_threads = threads;
        const Layer model = make_model(config, kWide, &options);
        std::vector<float> in = x, out(x.size());
        std::vector<uint8_t> in_mask = mask, out_mask(mask.size());
        sl_sequence y = view(kBatch, kTime, kWide, out.data(), out_mask.data());
        run_layer(model.get(), view(kBatch, kTime, kWide, in.data(), in_mask.data()), &y);
        made.push_back(out);
        int32_t steps = 0;
        check([&](sl_error* e) { return sl_layer_supports_step(model.get(), &steps, e); });
        if (!steps) continue;
        const std::vector<float> first(x.begin(), x.begin() + 3 * kWide);
        const State state = alloc_state(model, kWide);
        CHECK(stream(model.get(), state.get(), first, kWide, kWide) ==
              std::vector<float>(out.begin(), out.begin() + 3 * kWide));
      }
      CHECK(made[1] == made[0]);
      CHECK(made[2] == made[0]);
    }
  }
}

// Random weights of a GRU with 3 units under `prefix`; equal seeds give equal weights.
std::vector<Weight> gru_weights(const std::string& prefix, int64_t inputs, uint32_t seed) {
  std::mt19937 rng(seed);
  std::vector<Weight> weights;
  for (const std::string gate : {"r", "z", "n"}) {
    const auto add = [&](const std::string& name, int64_t rows) {
      const auto count = static_cast<size_t>(std::max<int64_t>(rows, 1)) * kUnits;
      weights.push_back({prefix + "cell." + name, rows, kUnits, random_floats(count, rng)});
    };
    add("i" + gate + ".kernel", inputs);
    add("i" + gate + ".bias", 0);
    add("h" + gate + ".kernel", kUnits);
    if (gate == "n") add("hn.bias", 0);
  }
  return weights;
}

std::vector<Weight> joined(std::vector<Weight> a, const std::vector<Weight>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST_CASE("stacked RNNs run one after the other, each with its own carry", "[rnn]") {
  const std::vector<float> x = ramp(9 * kIn);
  const Layer one = model_of(kGru, gru_weights("", kIn, 1));
  const Layer two = model_of(kGru, gru_weights("", kUnits, 2));
  const Layer both =
      model_of(std::string(R"({"type":"Serial","layers":[)") + kGru + "," + kGru + "]}",
               joined(gru_weights("layers_0.", kIn, 1), gru_weights("layers_1.", kUnits, 2)));
  const std::vector<float> want =
      applied(two.get(), applied(one.get(), x, 9, kIn, kUnits), 9, kUnits, kUnits);
  CHECK(applied(both.get(), x, 9, kIn, kUnits) == want);
  const State state = alloc_state(both, kIn);
  const std::vector<float> stepped = stream(both.get(), state.get(), x, kIn, kUnits);
  for (size_t i = 0; i < want.size(); ++i) CHECK(stepped[i] == Approx(want[i]).margin(1e-6));
  CHECK(carry_of(state.get(), "layers_0.carry.h").data !=
        carry_of(state.get(), "layers_1.carry.h").data);
}

TEST_CASE("a Bidirectional of RNNs merges two runs", "[rnn]") {
  constexpr int64_t kTime = 9;
  const std::vector<float> x = ramp(kTime * kIn);
  const Layer there = model_of(kGru, gru_weights("", kIn, 1));
  const Layer back = model_of(
      R"({"type":"RNN","cell":{"type":"GRUCell","features":3},"reverse":true,"keep_order":true})",
      gru_weights("", kIn, 2));
  const std::vector<float> f = applied(there.get(), x, kTime, kIn, kUnits);
  const std::vector<float> b = applied(back.get(), x, kTime, kIn, kUnits);
  for (const std::string merge : {"concat", "stack", "add", "mean", "product"}) {
    INFO(merge);
    const Layer layer =
        model_of(std::string(R"({"type":"Bidirectional","forward":)") + kGru + R"(,"backward":)" +
                     kGru + R"(,"combination":")" + merge + "\"}",
                 joined(gru_weights("forward.", kIn, 1), gru_weights("backward.", kIn, 2)));
    std::vector<float> want;
    for (size_t t = 0; t < kTime; ++t) {
      const size_t at = t * kUnits;
      if (merge == "concat" || merge == "stack") {
        want.insert(want.end(), &f[at], &f[at] + kUnits);
        want.insert(want.end(), &b[at], &b[at] + kUnits);
        continue;
      }
      for (size_t i = at; i < at + kUnits; ++i) {
        const float sum = f[i] + b[i];
        want.push_back(merge == "product" ? f[i] * b[i] : merge == "mean" ? sum / 2 : sum);
      }
    }
    std::vector<float> in = x, got(want.size());
    std::vector<uint8_t> mask(kTime, 1), out_mask(kTime);
    sl_sequence y = view(1, kTime, merge == "concat" ? 6 : 3, got.data(), out_mask.data());
    if (merge == "stack") {
      y.rank = 4;
      y.dims[2] = 2;
      y.dims[3] = kUnits;
    }
    run_layer(layer.get(), view(1, kTime, kIn, in.data(), mask.data()), &y);
    for (size_t i = 0; i < want.size(); ++i) CHECK(got[i] == Approx(want[i]).margin(1e-6));
  }
}

sl_status sum_create(void*, const char*, const sl_weight_source*, void** instance, sl_error*) {
  static int one;
  *instance = &one;
  return SL_STATUS_OK;
}
void sum_destroy(void*) {}
sl_status sum_state_size(const void*, const sl_channel_spec*, size_t* bytes, sl_error*) {
  *bytes = sizeof(float);
  return SL_STATUS_OK;
}
// Gives the running sum of the valid steps, for one channel.
sl_status sum_step(const void*, void* state, const sl_sequence* x, sl_sequence* y, sl_error*) {
  for (int64_t b = 0; b < x->dims[0]; ++b) {
    float& sum = static_cast<float*>(state)[b];
    for (int64_t t = b * x->dims[1]; t < (b + 1) * x->dims[1]; ++t) {
      if (x->mask[t]) sum += static_cast<const float*>(x->data)[t];
      static_cast<float*>(y->data)[t] = sum;
    }
  }
  return SL_STATUS_OK;
}
sl_status sum_layer(const void* instance, const sl_sequence* x, sl_sequence* y, sl_error* error) {
  std::vector<float> state(static_cast<size_t>(x->dims[0]));
  return sum_step(instance, state.data(), x, y, error);
}

TEST_CASE("a custom layer is an RNN's cell", "[rnn]") {
  sl_layer_callbacks callbacks = SL_LAYER_CALLBACKS_INIT;
  callbacks.create = sum_create;
  callbacks.destroy = sum_destroy;
  callbacks.state_size = sum_state_size;
  callbacks.layer = sum_layer;
  callbacks.step = sum_step;
  const CustomType custom("RunningSum", callbacks);
  float x[8] = {1, 2, 3, 50, 10, 20, 30, 40}, y[8];
  uint8_t mask[8] = {1, 1, 1, 0, 1, 1, 1, 1}, out_mask[8];
  sl_sequence out = view(2, 4, 1, y, out_mask);
  const Layer forward =
      make_model(R"({"type":"RNN","cell":{"type":"RunningSum"}})", 1, &custom.options);
  run_layer(forward.get(), view(2, 4, 1, x, mask), &out);
  CHECK((y[2] == 6 && y[4] == 10 && y[7] == 100));
  const Layer backward =
      make_model(R"({"type":"RNN","cell":{"type":"RunningSum"},"reverse":true,"keep_order":true})",
                 1, &custom.options);
  run_layer(backward.get(), view(2, 4, 1, x, mask), &out);
  CHECK((y[0] == 6 && y[1] == 5 && y[2] == 3 && y[4] == 100 && y[7] == 40));
}

TEST_CASE("invalid RNN configs are refused", "[rnn]") {
  const auto refused = [](const char* config) {
    return failure_of([&](sl_error* e) {
             sl_layer* layer = nullptr;
             return sl_layer_create(config, std::strlen(config), nullptr, nullptr, &layer, e);
           })
        .message;
  };
  CHECK_THAT(refused(R"({"type":"RNN","cell":{"type":"GRUCell"}})"), Contains("features"));
  // The error names the position in the config.
  for (const char* layer :
       {R"({"type":"GRUCell","features":2,"extra":1})",
        R"({"type":"OverlapAdd","frame_length":4,"frame_step":2})", R"({"type":"Nothing"})"}) {
    const std::string config = std::string(R"({"type":"RNN","cell":)") + layer + "}";
    CHECK_THAT(refused(config.c_str()), Contains("cell"));
  }
  CHECK_THAT(refused(R"({"type":"RNN","cell":{"type":"GRUCell","features":2,)"
                     R"("zoneout_probability":1.5}})"),
             Contains("cell") && Contains("zoneout_probability"));
  CHECK_THAT(refused(R"({"type":"RNN","cell":{"type":"Identity"},"time_major":true})"),
             Contains("strides"));
  CHECK_THAT(refused(R"({"type":"RNN","cell":{"type":"ConvLSTMCell","features":2,)"
                     R"("kernel_size":[3],"strides":[2]}})"),
             Contains("strides"));
}

}  // namespace
}  // namespace sl::testing
