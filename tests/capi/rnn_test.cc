// RNN beyond the recorded cases: carries by name, invalid steps, time-major arrays, layers as
// cells.
#include <catch2/catch.hpp>
#include <cstring>

#include "cli/runner.h"
#include "support/models.h"

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
  cli::check([&](sl_error* e) { return sl_layer_apply(layer, &x, y, nullptr, e); });
}

TEST_CASE("invalid steps leave an RNN's carry alone, wherever they are", "[rnn]") {
  for (const char* cell : {"SimpleCell", "LSTMCell", "OptimizedLSTMCell", "GRUCell", "MGUCell"}) {
    INFO(cell);
    const cli::Layer layer = make_model(
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

TEST_CASE("an RNN takes time-major arrays by strides", "[rnn]") {
  const cli::Layer layer = make_model(kGru, 2);
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

sl_status sum_create(void*, const char*, const sl_weight_source*, void** instance, sl_error*) {
  static int one;
  *instance = &one;
  return SL_OK;
}
void sum_destroy(void*) {}
sl_status sum_state_size(const void*, int64_t batch, const sl_channel_spec*, size_t* bytes,
                         sl_error*) {
  *bytes = static_cast<size_t>(batch) * sizeof(float);
  return SL_OK;
}
// The running sum of the valid steps: one channel.
sl_status sum_step(const void*, void* state, const sl_sequence* x, sl_sequence* y, sl_error*) {
  for (int64_t b = 0; b < x->dims[0]; ++b) {
    float& sum = static_cast<float*>(state)[b];
    for (int64_t t = b * x->dims[1]; t < (b + 1) * x->dims[1]; ++t) {
      if (x->mask[t]) sum += static_cast<const float*>(x->data)[t];
      static_cast<float*>(y->data)[t] = sum;
    }
  }
  return SL_OK;
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
  sl_registry* registry = nullptr;
  cli::check([&](sl_error* e) { return sl_registry_create(&registry, e); });
  cli::check([&](sl_error* e) { return sl_registry_add(registry, "RunningSum", &callbacks, e); });
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.registry = registry;
  float x[8] = {1, 2, 3, 50, 10, 20, 30, 40}, y[8];
  uint8_t mask[8] = {1, 1, 1, 0, 1, 1, 1, 1}, out_mask[8];
  sl_sequence out = view(2, 4, 1, y, out_mask);
  const cli::Layer forward =
      make_model(R"({"type":"RNN","cell":{"type":"RunningSum"}})", 1, &options);
  run_layer(forward.get(), view(2, 4, 1, x, mask), &out);
  CHECK((y[2] == 6 && y[4] == 10 && y[7] == 100));
  const cli::Layer backward =
      make_model(R"({"type":"RNN","cell":{"type":"RunningSum"},"reverse":true,"keep_order":true})",
                 1, &options);
  run_layer(backward.get(), view(2, 4, 1, x, mask), &out);
  CHECK((y[0] == 6 && y[1] == 5 && y[2] == 3 && y[4] == 100 && y[7] == 40));
  sl_registry_free(registry);
}

TEST_CASE("what cannot be an RNN is refused", "[rnn]") {
  const auto refused = [](const char* config) {
    return failure_of([&](sl_error* e) {
             sl_layer* layer = nullptr;
             return sl_layer_create(config, std::strlen(config), nullptr, nullptr, &layer, e);
           })
        .message;
  };
  CHECK_THAT(refused(R"({"type":"RNN","cell":{"type":"GRUCell"}})"), Contains("features"));
  CHECK_THAT(refused(R"({"type":"RNN","cell":{"type":"Identity"},"time_major":true})"),
             Contains("strides"));
  CHECK_THAT(refused(R"({"type":"RNN","cell":{"type":"ConvLSTMCell","features":2,)"
                     R"("kernel_size":[3],"strides":[2]}})"),
             Contains("strides"));
}

}  // namespace
}  // namespace sl::testing
