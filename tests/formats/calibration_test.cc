// Tests matrices that are rounded with error feedback, for given data.
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <random>

#include "faults/faults.h"
#include "support/models.h"
#include "testing/compare.h"
#include "testing/model.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;
using sequence_layers::Calibration;

constexpr int64_t kChannels = 96;

sl_layer_options options_of(const char* format) {
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.weight_format = format;
  return options;
}

// A model directory with random weights, for inputs of 96 channels.
std::string directory_of(const std::string& config, uint32_t seed = 3) {
  std::mt19937 rng(seed);
  WeightHint hint, repeated;
  hint.any = kChannels;
  repeated.any = kChannels;
  repeated.stack = {2};
  const std::string directory = scratch_directory();
  write_model(directory, config, make_weights(config, {{"", hint}, {"block", repeated}}, rng));
  return directory;
}

// Channels that are mixtures of twelve signals, and a little noise of their own.
Tensor correlated(int64_t time, uint32_t seed) {
  constexpr int64_t kSignals = 12;
  std::mt19937 mixing(1), rng(seed);
  std::normal_distribution<double> normal;
  std::vector<double> mix(kChannels * kSignals);
  for (double& share : mix) share = normal(mixing);
  Tensor x = make_sequence(SL_DTYPE_FLOAT32, {1, time, kChannels});
  for (int64_t t = 0; t < time; ++t) {
    double signals[kSignals];
    for (double& signal : signals) signal = normal(rng);
    for (int64_t c = 0; c < kChannels; ++c) {
      double value = 0.05 * normal(rng);
      for (int64_t i = 0; i < kSignals; ++i)
        value += signals[i] * mix[static_cast<size_t>(c * kSignals + i)];
      x.set(t * kChannels + c, value);
    }
  }
  return x;
}

// Signal to noise in dB of a layer's output, for data other than those of a calibration.
double ratio(const std::string& directory, const Layer& layer) {
  const Input input{correlated(200, 8), {}};
  const Tensor want = apply(Layer::open(directory), input), got = apply(layer, input);
  double signal = 0, noise = 0;
  for (int64_t i = 0; i < want.size(); ++i) {
    signal += std::norm(want.at(i));
    noise += std::norm(got.at(i) - want.at(i));
  }
  return 10 * std::log10(signal / noise);
}

// How many dB error feedback gains in a format.
double gain(const std::string& config, const char* format) {
  const std::string directory = directory_of(config);
  const sl_layer_options options = options_of(format);
  const Calibration calibration(directory, &options, correlated(400, 7).view());
  const double nearest = ratio(directory, Layer::open(directory, &options));
  return ratio(directory, Layer::open(directory, &options, calibration)) - nearest;
}

TEST_CASE("error feedback gains where inputs of a layer go together", "[calibration]") {
  CHECK(gain(R"({"type":"Dense","features":80,"use_bias":false})", "int4") > 6);
  // The rounding of activations stays.
  CHECK(gain(R"({"type":"Dense","features":80,"use_bias":false})", "int8") > 1.5);
}

TEST_CASE("every kind of matrix is rounded with error feedback", "[calibration]") {
  CHECK(gain(R"({"type":"Conv1D","filters":64,"kernel_size":3,"padding":"causal"})", "int4") > 3);
  CHECK(gain(R"({"type":"LSTM","units":64})", "int4") > 2);
  CHECK(gain(R"({"type":"EinsumDense","equation":"...a,ab->...b","output_shape":[64]})", "int4") >
        3);
  CHECK(gain(R"({"type":"DotProductSelfAttention","num_heads":3,"units_per_head":32,)"
             R"("max_past_horizon":8,"max_future_horizon":0})",
             "int4") > 3);
  CHECK(gain(R"({"type":"Repeat","num_repeats":2,"layer":)"
             R"({"type":"Dense","features":96,"name":"block"}})",
             "int4") > 3);
}

std::string saved(const Layer& layer) {
  const std::string path = scratch_directory() + "/model.safetensors";
  layer.save_weights(path);
  return read_file(path);
}

TEST_CASE("the same data give the same weights, which steps share", "[calibration]") {
  const std::string directory = directory_of(R"({"type":"LSTM","units":64})");
  const sl_layer_options options = options_of("int4");
  const Tensor data = correlated(100, 7);
  const Calibration first(directory, &options, data.view());
  const Calibration second(directory, &options, data.view());
  const Layer layer = Layer::open(directory, &options, first);
  const std::string file = saved(layer);
  CHECK(file == saved(Layer::open(directory, &options, second)));
  CHECK(file != saved(Layer::open(directory, &options)));
  const Input input{correlated(20, 9), {}};
  CHECK(compare_bits(Stepper(layer, input).run_all(), apply(layer, input)).reason == "");
  // Other formats are those without a calibration.
  const sl_layer_options bfloat16 = options_of("bfloat16");
  CHECK(saved(Layer::open(directory, &bfloat16, first)) ==
        saved(Layer::open(directory, &bfloat16)));
}

TEST_CASE("matrices that see few rows are rounded to the nearest", "[calibration]") {
  const std::string directory =
      directory_of(R"({"type":"Serial","layers":[{"type":"Dense","features":96},)"
                   R"({"type":"Downsample1D","rate":16},{"type":"Dense","features":64}]})");
  const sl_layer_options options = options_of("int4, layers_0.kernel=float32");
  const Tensor few = correlated(200, 7), more = correlated(800, 7);
  const Layer nearest = Layer::open(directory, &options);
  const sl_layer_options all = options_of("int4");
  // 13 rows for the second layer, 200 for the first one.
  const Calibration calibration(directory, &all, few.view());
  CHECK(saved(Layer::open(directory, &options, calibration)) == saved(nearest));
  const Calibration enough(directory, &all, more.view());
  CHECK(saved(Layer::open(directory, &options, enough)) != saved(nearest));
}

Failure failure_of_calibration(const std::string& directory, const char* format, const Tensor& x) {
  const sl_layer_options options = options_of(format);
  return failure_of([&](sl_error* error) {
    sl_calibration* calibration = nullptr;
    const sl_sequence view = x.view();
    const sl_status status =
        sl_calibration_create(directory.c_str(), &options, &view, nullptr, &calibration, error);
    sl_calibration_free(calibration);
    return status;
  });
}

TEST_CASE("calibration tells what is wrong", "[calibration]") {
  const std::string directory = directory_of(R"({"type":"Dense","features":64})");
  const Tensor data = correlated(40, 7);
  const Failure few = failure_of_calibration(directory, "int8", correlated(31, 7));
  CHECK(few.status == SL_STATUS_INVALID_ARGUMENT);
  CHECK_THAT(few.message, Contains("at most 31 rows of inputs: expected 32 or more"));
  CHECK(failure_of_calibration(directory, "int8", correlated(32, 7)).status == SL_STATUS_OK);
  const Failure none = failure_of_calibration(directory, "bfloat16", data);
  CHECK(none.status == SL_STATUS_INVALID_ARGUMENT);
  CHECK_THAT(none.message, Contains("no matrix of the model is to be int8 or int4"));
  const Failure shape = failure_of_calibration(
      directory, "int8", make_sequence(SL_DTYPE_FLOAT32, {1, 40, kChannels - 1}));
  CHECK(shape.status == SL_STATUS_SHAPE);
  CHECK_THAT(shape.message, Contains("95") && Contains("96"));
  const sl_layer_options options = options_of("int8");
  const Calibration calibration(directory, &options, data.view());
  const std::string other = directory_of(R"({"type":"Dense","features":64})", 4);
  const Failure changed = failure_of([&](sl_error* error) {
    sl_layer* layer = nullptr;
    return sl_layer_open_calibrated(other.c_str(), &options, calibration.get(), &layer, error);
  });
  CHECK(changed.status == SL_STATUS_INVALID_ARGUMENT);
  CHECK_THAT(changed.message, Contains("are not those that were calibrated"));
}

}  // namespace
}  // namespace sl::testing
