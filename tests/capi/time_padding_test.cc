// Tests amounts of padding in time beyond the recorded cases: all layers that take them, chains,
// holes within sequences, ends of streams, errors.
#include <catch2/catch.hpp>

#include "support/models.h"
#include "testing/compare.h"
#include "testing/contract.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

std::string failures(const std::string& config, std::vector<int64_t> dims,
                     sl_dtype dtype = SL_DTYPE_FLOAT32, int64_t any = 3) {
  const Layer layer = make_model(config, any);
  CHECK(layer.supports_step());
  std::mt19937 rng(1);
  Case c;
  c.layer = &layer;
  c.input.x = random_sequence(dtype, std::move(dims), rng);
  c.probe_receptive_field = true;
  const Report report = check_contract(c);
  CHECK(report.checks.size() >= 5);
  return report.failures();
}

std::string padded(const std::string& rest, const std::string& field, int before, int after) {
  return "{" + rest + ",\"" + field + "\":[" + std::to_string(before) + "," +
         std::to_string(after) + "]}";
}

TEST_CASE("every amount of padding steps", "[time_padding]") {
  for (const int stride : {1, 2, 3}) {
    const std::string strides = R"(,"strides":)" + std::to_string(stride);
    for (int before = 0; before < 4; ++before) {
      for (int after = 0; after < 4; ++after) {
        INFO(stride << " [" << before << ", " << after << "]");
        CHECK(failures(padded(R"("type":"Conv1D","filters":2,"kernel_size":4)" + strides, "padding",
                              before, after),
                       {3, 13, 3}) == "");
        CHECK(failures(padded(R"("type":"MaxPooling1D","pool_size":4)" + strides, "padding", before,
                              after),
                       {3, 13, 3}) == "");
      }
    }
  }
}

TEST_CASE("all layers with windows over time take amounts of padding", "[time_padding]") {
  CHECK(failures(padded(R"("type":"Conv2D","filters":2,"kernel_size":[3,3],"strides":[2,1])",
                        "time_padding", 1, 1),
                 {3, 13, 4, 3}) == "");
  CHECK(failures(padded(R"("type":"DepthwiseConv1D","kernel_size":5)", "padding", 2, 2),
                 {3, 13, 3}) == "");
  CHECK(failures(padded(R"("type":"AveragePooling1D","pool_size":3,"masked_average":true)",
                        "padding", 1, 1),
                 {3, 13, 3}) == "");
  CHECK(failures(padded(R"("type":"Frame","frame_length":4,"frame_step":2)", "padding", 3, 2),
                 {3, 13, 3}, SL_DTYPE_INT32) == "");
  CHECK(failures(padded(R"("type":"STFT","frame_length":8,"fft_length":8,"frame_step":2)",
                        "time_padding", 4, 4),
                 {3, 21, 2}) == "");
}

TEST_CASE("transposed convolutions that are cut at both ends step", "[time_padding]") {
  for (const int stride : {1, 2, 3}) {
    for (int before = 0; before < 4; ++before) {
      for (int after = 0; after <= 4 - stride; ++after) {
        INFO(stride << " [" << before << ", " << after << "]");
        CHECK(failures(padded(R"("type":"Conv1DTranspose","filters":2,"kernel_size":4,"strides":)" +
                                  std::to_string(stride),
                              "padding", before, after),
                       {3, 9, 3}) == "");
      }
    }
  }
  CHECK(failures(padded(R"("type":"Conv2DTranspose","filters":2,"kernel_size":[4,4],"strides":2,)"
                        R"("spatial_padding":[1,1])",
                        "time_padding", 1, 1),
                 {3, 9, 4, 3}) == "");
  // Down and up again, as a codec does, beside the input.
  const std::string down =
      padded(R"("type":"Conv1D","filters":3,"kernel_size":4,"strides":2)", "padding", 1, 1);
  const std::string up = padded(
      R"("type":"Conv1DTranspose","filters":3,"kernel_size":4,"strides":2)", "padding", 1, 1);
  CHECK(failures(R"({"type":"Graph","nodes":[{"name":"down","layer":)" + down +
                     R"(},{"name":"up","layer":)" + up +
                     R"(},{"name":"sum","inputs":["up","input"],"combination":"add"}]})",
                 {3, 16, 3}) == "");

  const Layer short_one =
      make_model(padded(R"("type":"Conv1DTranspose","filters":2,"kernel_size":4,"strides":3)",
                        "padding", 0, 2),
                 3);
  CHECK_FALSE(short_one.supports_step());
  Case c;
  c.layer = &short_one;
  std::mt19937 rng(1);
  c.input.x = random_sequence(SL_DTYPE_FLOAT32, {3, 9, 3}, rng);
  CHECK(check_contract(c).failures() == "");
}

TEST_CASE("frames copy steps beyond the ends of each sequence", "[time_padding]") {
  const std::string mode = GENERATE("reflect", "edge");
  for (const int length : {7, 8}) {
    for (const int step : {1, 3}) {
      INFO(mode << " " << length << " " << step);
      const std::string frame = R"("type":"Frame","pad_mode":")" + mode + R"(","frame_length":)" +
                                std::to_string(length) + R"(,"frame_step":)" + std::to_string(step);
      CHECK(failures(padded(frame, "padding", length / 2, length / 2), {3, 17}) == "");
      CHECK(failures(padded(frame, "padding", 2, 5), {3, 17, 2}, SL_DTYPE_INT32) == "");
      CHECK(failures(padded(frame, "padding", length - 1, 0), {3, 17}) == "");
    }
  }
  // numpy.pad([0, 1, 2, 3, 4], 2, mode) in frames of 4.
  const Layer layer = make_model(R"({"type":"Frame","pad_mode":")" + mode +
                                 R"(","frame_length":4,"frame_step":2,"padding":[2,2]})");
  Input input{make_sequence(SL_DTYPE_INT32, {1, 5}), {}};
  for (int64_t t = 0; t < 5; ++t) input.x.set(t, static_cast<double>(t));
  const Tensor y = apply(layer, input);
  const std::vector<double> want = mode == "edge"
                                       ? std::vector<double>{0, 0, 0, 1, 0, 1, 2, 3, 2, 3, 4, 4}
                                       : std::vector<double>{2, 1, 0, 1, 0, 1, 2, 3, 2, 3, 4, 3};
  REQUIRE(y.size() == 12);
  for (int64_t i = 0; i < 12; ++i) CHECK(y.at(i).real() == want[static_cast<size_t>(i)]);
}

TEST_CASE("symmetric convolutions in a chain and in branches step", "[time_padding]") {
  const auto conv = [](int kernel, int stride) {
    return padded(R"("type":"Conv1D","filters":3,"kernel_size":)" + std::to_string(kernel) +
                      R"(,"strides":)" + std::to_string(stride),
                  "padding", kernel / 2, kernel / 2);
  };
  const std::string chain =
      R"({"type":"Serial","layers":[)" + conv(3, 1) + "," + conv(5, 1) + "," + conv(3, 1) + "]}";
  const Layer layer = make_model(chain, 3);
  CHECK(layer.input_latency() == 4);
  CHECK(layer.output_latency() == 4);
  CHECK(failures(chain, {3, 15, 3}) == "");
  // A U-Net: down, up, and skip connections around both.
  const std::string unet = R"({"type":"Graph","nodes":[{"name":"in","layer":)" + conv(3, 1) +
                           R"(},{"name":"down","layer":)" + conv(3, 2) +
                           R"(},{"name":"deep","layer":)" + conv(5, 1) +
                           R"(},{"name":"skip","inputs":["deep","down"],"combination":"add"},)"
                           R"({"name":"up","layer":{"type":"Upsample1D","rate":2}},)"
                           R"({"name":"sum","inputs":["up","in"],"combination":"concat"}]})";
  CHECK(failures(unet, {3, 16, 3}) == "");
}

TEST_CASE("amounts of padding beyond the window are refused", "[time_padding]") {
  const auto message = [](const std::string& config) {
    return thrown_by([&] { make_model(config); }).message;
  };
  CHECK_THAT(message(R"({"type":"Conv1D","filters":1,"kernel_size":3,"padding":[3,0]})"),
             Contains("$.padding (Conv1D): expected amounts of at most 2, as a window covers 3 "
                      "steps"));
  CHECK_THAT(message(R"({"type":"MaxPooling2D","pool_size":2,"time_padding":[0,2]})"),
             Contains("$.time_padding"));
  CHECK_THAT(message(R"({"type":"STFT","frame_length":4,"frame_step":2,"fft_length":4,)"
                     R"("pad_mode":"reflect"})"),
             Contains("expected \"constant\" unless time_padding is [before, after]"));
}

}  // namespace
}  // namespace sl::testing
