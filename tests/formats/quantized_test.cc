// Tests models with weights in fewer bytes: steps against layer-wise runs, errors, and tables.
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "faults/golden_cases.h"
#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

sl_layer_options options_of(const char* format) {
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.weight_format = format;
  return options;
}

// The difference of the valid values of two sequences, relative to those of the second one, as root
// mean squares. Values that are not finite in both count nothing.
double relative_error(const Tensor& got, const Tensor& want) {
  double error = 0, power = 0;
  const int64_t time = std::min(got.time(), want.time()), size = want.step_size();
  for (int64_t b = 0; b < want.batch(); ++b) {
    for (int64_t t = 0; t < time; ++t) {
      if (!want.valid(b, t)) continue;
      for (int64_t i = 0; i < size; ++i) {
        const auto a = got.at((b * got.time() + t) * size + i);
        const auto e = want.at((b * want.time() + t) * size + i);
        if (!std::isfinite(std::abs(a)) && !std::isfinite(std::abs(e))) continue;
        error += std::norm(a - e);
        power += std::norm(e);
      }
    }
  }
  return power > 0 ? std::sqrt(error / power) : std::sqrt(error);
}

TEST_CASE("every layer type steps as it runs layer-wise, with weights in fewer bytes",
          "[weight_format]") {
  for (const char* format : {"bfloat16", "int8", "int4"}) {
    const sl_layer_options options = options_of(format);
    int64_t compared = 0, equal = 0;
    for_each_golden_case([&](const GoldenCase& golden) {
      INFO(format << " " << golden.name);
      const Weights weights = select_weights(golden.tensors, golden.name + "/weights/");
      const Layer layer(golden.config(), weights, &options);
      if (!layer.supports_step()) return;
      const Case c = golden.check(&layer);
      const Tensor whole = apply(layer, c.input);
      const Tensor stepped = Stepper(layer, c.input).run_all();
      if (whole.dtype == SL_DTYPE_INT32 || whole.dtype == SL_DTYPE_BOOL) return;
      // An input halfway between two integers may be rounded to either before a product.
      CHECK(relative_error(stepped, whole) < 0.02);
      ++compared;
      equal += compare_sequences(stepped, whole, {1e-5, 1e-5}).ok();
    });
    CHECK(compared > 300);
    CHECK(equal > compared * 9 / 10);
  }
}

TEST_CASE("errors of a dense layer are those of its format", "[weight_format]") {
  const std::string config = R"({"type":"Dense","features":300})";
  std::mt19937 rng(7);
  const Input input{random_sequence(SL_DTYPE_FLOAT32, {2, 20, 500}, rng), {}};
  const Tensor want = apply(make_model(config, 500), input);
  const auto error = [&](const char* format) {
    const sl_layer_options options = options_of(format);
    return relative_error(apply(make_model(config, 500, &options), input), want);
  };
  CHECK(error("float32") == 0);
  CHECK(error("bfloat16") < 0.002);
  CHECK(error("bfloat16") > 0.0005);
  CHECK(error("int8") < 0.01);
  CHECK(error("int4") < 0.11);
  CHECK(error("int4") > error("int8"));
}

TEST_CASE("tables of embeddings are packed, and shared with their transposes", "[weight_format]") {
  const std::string config =
      R"({"type":"Serial","layers":[{"type":"Embedding","name":"table","num_embeddings":50,)"
      R"("dimension":70},{"type":"EmbeddingTranspose","embedding_path":"table","use_bias":false,)"
      R"("embedding":{"type":"Embedding","num_embeddings":50,"dimension":70}}]})";
  Input input{make_sequence(SL_DTYPE_INT32, {1, 52, 1}), {}};
  for (int64_t i = 0; i < 50; ++i) input.x.set(i, static_cast<double>(i));
  input.x.set(50, -1);  // the last row
  input.x.set(51, 50);  // there is no such row
  const Tensor want = apply(make_model(config, 0), input);
  for (const auto& [format, tolerance] :
       {std::pair{"bfloat16", 0.006}, {"int8", 0.02}, {"int4", 0.2}}) {
    INFO(format);
    const sl_layer_options options = options_of(format);
    const Layer layer = make_model(config, 0, &options);
    const Tensor y = apply(layer, input);
    CHECK(y.bytes != want.bytes);
    CHECK(relative_error(y, want) < tolerance);
    CHECK(std::isnan(y.at(51 * 50).real()));
    for (int64_t i = 0; i < 50; ++i) CHECK(y.at(50 * 50 + i) == y.at(49 * 50 + i));
    CHECK(compare_bits(Stepper(layer, input).run_all(), y).reason == "");
  }
}

}  // namespace
}  // namespace sl::testing
