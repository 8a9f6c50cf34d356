// Tests that layers run in pieces give the bits that they give one after the other, with less
// memory.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>

#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

constexpr int64_t kTime = 100000, kSpectrum = 257;

// Features of which the spectra are too large for the cache.
std::string features(const std::string& padding) {
  return R"({"type":"Serial","layers":[{"type":"STFT","frame_length":400,"frame_step":80,)"
         R"("fft_length":512,"output_magnitude":true,"time_padding":")" +
         padding +
         R"("},{"type":"LinearToMelSpectrogram","num_mel_bins":20,"sample_rate":16000,)"
         R"("lower_edge_hertz":80,"upper_edge_hertz":7600},{"type":"Add","shift":1e-6},)"
         R"({"type":"Log"},{"type":"BatchNormalization","name":"norm"}]})";
}

// Bytes that a caller's allocator has given out at most at a time.
struct Meter {
  sl_allocator allocator() {
    sl_allocator out = SL_ALLOCATOR_INIT;
    out.user_data = this;
    out.allocate = [](void* meter, size_t size, size_t alignment) -> void* {
      auto* self = static_cast<Meter*>(meter);
      self->peak = std::max(self->peak, self->now += size);
      return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    };
    out.deallocate = [](void* meter, void* memory, size_t size, size_t) {
      static_cast<Meter*>(meter)->now -= size;
      std::free(memory);
    };
    return out;
  }
  // Bytes that a run takes at most beside what was taken before.
  template <typename Fn>
  size_t peak_of(Fn&& run) {
    peak = now;
    run();
    return peak - now;
  }
  size_t now = 0, peak = 0;
};

// A run that is recorded goes through the layers one after the other.
Tensor recorded(const Layer& layer, const Input& input) {
  const sequence_layers::Profile profile;
  return apply(layer, input, nullptr, profile.get());
}

TEST_CASE("layers in pieces give the same bits, masks with holes included", "[pieces]") {
  for (const char* padding :
       {"causal", "valid", "same", "causal_valid", "reverse_causal_valid", "semicausal_full"}) {
    for (const int32_t threads : {1, 3}) {
      CAPTURE(padding, threads);
      sl_layer_options options = SL_LAYER_OPTIONS_INIT;
      options.num_threads = threads;
      const Layer layer = make_model(features(padding), 20, &options);
      std::mt19937 rng(1);
      Input input{random_sequence(SL_DTYPE_FLOAT32, {2, kTime}, rng), {}};
      for (const bool holes : {false, true}) {
        std::fill(input.x.mask.begin(), input.x.mask.end(), uint8_t{1});
        if (holes) {
          std::fill_n(input.x.mask.begin() + 30000, 900, uint8_t{0});
          std::fill(input.x.mask.end() - 5000, input.x.mask.end(), uint8_t{0});
        }
        CHECK(compare_bits(apply(layer, input), recorded(layer, input)).reason == "");
      }
    }
  }
}

// A convolution of which the outputs are too large for the cache, and layers that divide them into
// groups.
std::string images(const std::string& convolution, const std::string& pool) {
  return R"({"type":"Serial","layers":[{"type":"Conv2D","filters":17,"name":"conv",)" +
         convolution + R"(},{"type":"Tanh"},{"type":"Scale","scale":3},{"type":"MaxPooling2D",)" +
         pool +
         R"(},{"type":"AveragePooling2D","pool_size":[2,1],"strides":[2,1],)"
         R"("time_padding":"reverse_causal","spatial_padding":"valid"}]})";
}

TEST_CASE("convolutions in pieces with pooling give the same bits", "[pieces]") {
  for (const char* convolution :
       {R"("kernel_size":[3,3],"time_padding":"same")",
        R"("kernel_size":[3,5],"dilation_rate":[4,1],"strides":[2,1],"time_padding":"causal")",
        R"("kernel_size":[2,40],"time_padding":"semicausal_full","activation":"softmax")",
        R"("kernel_size":[4,3],"time_padding":"reverse_causal_valid","compute_dtype":"bfloat16")",
        R"("kernel_size":[2,3],"time_padding":[0,1])"}) {
    for (const char* pool : {R"("pool_size":[1,4],"strides":[1,4])",
                             R"("pool_size":[2,2],"strides":[3,2],"time_padding":"reverse_causal")",
                             R"("pool_size":[3,2],"strides":[2,2],"time_padding":"same")"}) {
      CAPTURE(convolution, pool);
      for (const int32_t threads : {1, 3}) {
        sl_layer_options options = SL_LAYER_OPTIONS_INIT;
        options.num_threads = threads;
        const Layer layer = make_model(images(convolution, pool), 3, &options);
        std::mt19937 rng(1);
        for (const int64_t time : {3, 401, 1000}) {
          Input input{random_sequence(SL_DTYPE_FLOAT32, {2, time, 50, 3}, rng), {}};
          for (const bool holes : {false, true}) {
            std::fill(input.x.mask.begin(), input.x.mask.end(), uint8_t{1});
            if (holes) std::fill_n(input.x.mask.begin() + time / 2, time, uint8_t{0});
            CHECK(compare_bits(apply(layer, input), recorded(layer, input)).reason == "");
          }
        }
      }
    }
  }
}

TEST_CASE("convolutions in pieces keep no whole result before pooling", "[pieces]") {
  Meter meter;
  const sl_allocator allocator = meter.allocator();
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.allocator = &allocator;
  const Layer layer =
      make_model(images(R"("kernel_size":[3,3],"time_padding":"same")",
                        R"("pool_size":[2,2],"strides":[2,2],"time_padding":"valid")"),
                 3, &options);
  std::mt19937 rng(1);
  const Input input{random_sequence(SL_DTYPE_FLOAT32, {1, 2000, 50, 3}, rng), {}};
  const size_t outputs = size_t{2000} * 50 * 17 * sizeof(float);
  CHECK(meter.peak_of([&] { recorded(layer, input); }) > outputs);
  CHECK(meter.peak_of([&] { apply(layer, input); }) < outputs);
}

TEST_CASE("layers in pieces keep no whole result between them", "[pieces]") {
  Meter meter;
  const sl_allocator allocator = meter.allocator();
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.allocator = &allocator;
  const Layer layer = make_model(features("causal"), 20, &options);
  std::mt19937 rng(1);
  const Input input{random_sequence(SL_DTYPE_FLOAT32, {1, kTime}, rng), {}};
  const size_t spectra = kTime / 80 * kSpectrum * sizeof(float);
  CHECK(meter.peak_of([&] { recorded(layer, input); }) > spectra);
  CHECK(meter.peak_of([&] { apply(layer, input); }) < spectra);
}

}  // namespace
}  // namespace sl::testing
