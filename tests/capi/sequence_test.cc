// Tests layouts of the caller's sequences: strides of all kinds, masks, alignment.
#include <catch2/catch.hpp>
#include <cstring>

#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

constexpr int64_t kBatch = 2, kTime = 6, kIn = 4, kOut = 3;
constexpr const char* kConfig =
    R"({"type":"Conv1D","filters":3,"kernel_size":3,"padding":"causal_valid"})";

// A float32 sequence in the caller's buffer and layout.
struct Layout {
  const char* name;
  bool time_major = false;
  bool reversed = false;    // later steps lie at lower addresses
  int64_t channel_gap = 1;  // distance between channels, in elements
  size_t offset = 0;        // in bytes
};

class Buffer {
 public:
  Buffer(const Layout& layout, int64_t time, int64_t channels)
      : bytes_(static_cast<size_t>(kBatch * time * channels * layout.channel_gap) * sizeof(float) +
                   layout.offset,
               0x5a) {
    view_.rank = 3;
    view_.dims[0] = kBatch;
    view_.dims[1] = time;
    view_.dims[2] = channels;
    view_.strides[2] = layout.channel_gap * static_cast<int64_t>(sizeof(float));
    const int64_t step = channels * view_.strides[2];
    view_.strides[0] = layout.time_major ? step : time * step;
    view_.strides[1] = layout.time_major ? kBatch * step : step;
    uint8_t* start = bytes_.data() + layout.offset;
    if (layout.reversed) {
      start += (time - 1) * view_.strides[1];
      view_.strides[1] = -view_.strides[1];
    }
    view_.data = start;
  }

  sl_sequence& view() { return view_; }
  uint8_t* at(int64_t b, int64_t t, int64_t c) {
    return static_cast<uint8_t*>(view_.data) + b * view_.strides[0] + t * view_.strides[1] +
           c * view_.strides[2];
  }
  void put(const Tensor& x) {
    for_each(x, [](uint8_t* here, const uint8_t* there) { std::memcpy(here, there, 4); });
  }
  bool equals(const Tensor& x) {
    bool same = true;
    for_each(x, [&](uint8_t* here, const uint8_t* there) {
      same = same && std::memcmp(here, there, 4) == 0;
    });
    return same;
  }
  // Whether bytes that belong to no element are unchanged.
  bool gaps_intact(const Tensor& x) {
    std::vector<uint8_t> left = bytes_;
    const uint8_t* begin = bytes_.data();
    for_each(x, [&](uint8_t* here, const uint8_t*) {
      std::memset(&left[static_cast<size_t>(here - begin)], 0x5a, 4);
    });
    return std::all_of(left.begin(), left.end(), [](uint8_t byte) { return byte == 0x5a; });
  }

 private:
  template <typename Fn>
  void for_each(const Tensor& x, Fn&& fn) {
    for (int64_t b = 0; b < x.dims[0]; ++b) {
      for (int64_t t = 0; t < x.dims[1]; ++t) {
        for (int64_t c = 0; c < x.dims[2]; ++c) {
          fn(at(b, t, c), &x.bytes[static_cast<size_t>((b * x.dims[1] + t) * x.dims[2] + c) * 4]);
        }
      }
    }
  }

  std::vector<uint8_t> bytes_;
  sl_sequence view_ = SL_SEQUENCE_INIT;
};

const std::vector<Layout>& layouts() {
  static const std::vector<Layout> all = {
      {"packed"},
      {"time-major", true},
      {"backwards", false, true},
      {"time-major backwards", true, true},
      {"every second element", false, false, 2},
      {"misaligned", false, false, 1, 1},
      {"misaligned with gaps", true, true, 3, 3},
  };
  return all;
}

Tensor random_x() {
  std::mt19937 rng(3);
  return random_sequence(SL_DTYPE_FLOAT32, {kBatch, kTime, kIn}, rng);
}

TEST_CASE("inputs and outputs of any strides, layer-wise", "[sequence]") {
  const Layer layer = make_model(kConfig, kIn);
  const Tensor x = random_x();
  const Tensor want = apply(layer, {x, {}});
  for (const Layout& in : layouts()) {
    for (const Layout& out : layouts()) {
      INFO("from " << in.name << " to " << out.name);
      Buffer x_buffer(in, kTime, kIn), y_buffer(out, kTime, kOut);
      x_buffer.put(x);
      x_buffer.view().mask = const_cast<uint8_t*>(x.mask.data());
      sl_error error = SL_ERROR_INIT;
      CHECK(sl_layer_apply(layer.get(), &x_buffer.view(), &y_buffer.view(), nullptr, &error) ==
            SL_STATUS_OK);
      CHECK(y_buffer.equals(want));
      CHECK(y_buffer.gaps_intact(want));
    }
  }
}

TEST_CASE("inputs and outputs of any strides, step-wise", "[sequence]") {
  const Layer layer = make_model(kConfig, kIn);
  const Tensor x = random_x();
  const Tensor want = apply(layer, {x, {}});
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.batch = kBatch;
  options.max_steps = 2;
  options.input = channel_spec(x);
  for (const Layout& in : layouts()) {
    for (const Layout& out : layouts()) {
      INFO("from " << in.name << " to " << out.name);
      const State state(layer, options);
      Buffer x_buffer(in, kTime, kIn), y_buffer(out, kTime, kOut);
      x_buffer.put(x);
      for (int64_t t = 0; t < kTime; t += 2) {
        sl_sequence x_block = x_buffer.view(), y_block = y_buffer.view();
        x_block.dims[1] = y_block.dims[1] = 2;
        x_block.data = x_buffer.at(0, t, 0);
        y_block.data = y_buffer.at(0, t, 0);
        x_block.mask = const_cast<uint8_t*>(x.mask.data()) + t;
        x_block.mask_strides[0] = kTime;
        x_block.mask_strides[1] = 1;
        CHECK(sl_layer_step(layer.get(), state.get(), &x_block, &y_block, nullptr, nullptr) ==
              SL_STATUS_OK);
      }
      CHECK(y_buffer.equals(want));
      CHECK(y_buffer.gaps_intact(want));
    }
  }
}

TEST_CASE("a null mask means that all steps are valid", "[sequence]") {
  const Layer layer = make_model(kConfig, kIn);
  Tensor x = random_x();
  x.mask.assign(x.mask.size(), 1);
  const Tensor want = apply(layer, {x, {}});
  Tensor y = make_sequence(SL_DTYPE_FLOAT32, {kBatch, kTime, kOut});
  sl_sequence in = x.view(), out = y.view();
  in.mask = nullptr;
  CHECK(sl_layer_apply(layer.get(), &in, &out, nullptr, nullptr) == SL_STATUS_OK);
  CHECK(compare_bits(y, want).reason == "");
  // An output without a mask pointer gets no mask.
  out.mask = nullptr;
  CHECK(sl_layer_apply(layer.get(), &in, &out, nullptr, nullptr) == SL_STATUS_OK);
}

TEST_CASE("masks of any strides, and any non-zero byte is valid", "[sequence]") {
  const Layer layer = make_model(kConfig, kIn);
  const Tensor x = random_x();
  const Tensor want = apply(layer, {x, {}});
  // Both masks are time-major.
  std::vector<uint8_t> in_mask(kBatch * kTime), out_mask(kBatch * kTime, 9);
  for (int64_t b = 0; b < kBatch; ++b) {
    for (int64_t t = 0; t < kTime; ++t) {
      in_mask[static_cast<size_t>(t * kBatch + b)] = x.valid(b, t) ? 200 : 0;
    }
  }
  Tensor y = make_sequence(SL_DTYPE_FLOAT32, {kBatch, kTime, kOut});
  sl_sequence in = x.view(), out = y.view();
  in.mask = in_mask.data();
  out.mask = out_mask.data();
  in.mask_strides[0] = out.mask_strides[0] = 1;
  in.mask_strides[1] = out.mask_strides[1] = kBatch;
  CHECK(sl_layer_apply(layer.get(), &in, &out, nullptr, nullptr) == SL_STATUS_OK);
  CHECK(y.bytes == want.bytes);
  for (int64_t b = 0; b < kBatch; ++b) {
    for (int64_t t = 0; t < kTime; ++t) {
      CHECK(out_mask[static_cast<size_t>(t * kBatch + b)] == (want.valid(b, t) ? 1 : 0));
    }
  }
}

TEST_CASE("a stride of 0 repeats one value along an axis of the input", "[sequence]") {
  const Layer layer = make_model(kConfig, kIn);
  Tensor x = make_sequence(SL_DTYPE_FLOAT32, {kBatch, kTime, kIn});
  float row[kIn] = {1, -2, 3, -4};
  for (int64_t i = 0; i < x.size(); ++i) x.set(i, row[i % kIn]);
  const Tensor want = apply(layer, {x, {}});
  Tensor y = make_sequence(SL_DTYPE_FLOAT32, {kBatch, kTime, kOut});
  sl_sequence in = x.view(), out = y.view();
  in.data = row;
  in.mask = nullptr;
  in.strides[2] = sizeof(float);  // strides of batch and time are 0
  CHECK(sl_layer_apply(layer.get(), &in, &out, nullptr, nullptr) == SL_STATUS_OK);
  CHECK(y.bytes == want.bytes);
}

TEST_CASE("inputs are only read", "[sequence]") {
  for (const Sample& sample : samples()) {
    INFO(sample.name);
    const Layer layer = make_sample(sample);
    std::vector<int64_t> dims = {2, 12};
    dims.insert(dims.end(), sample.channels.begin(), sample.channels.end());
    std::mt19937 rng(5);
    const Tensor x = random_sequence(sample.dtype, dims, rng);
    Tensor given = x;
    const sl_sequence in = given.view();
    sl_sequence out = SL_SEQUENCE_INIT;
    REQUIRE(sl_layer_output_shape(layer.get(), SL_MODE_LAYER, &in, nullptr, &out, nullptr) ==
            SL_STATUS_OK);
    Tensor y = make_like(out);
    out = y.view();
    CHECK(sl_layer_apply(layer.get(), &in, &out, nullptr, nullptr) == SL_STATUS_OK);
    CHECK(given.bytes == x.bytes);
    CHECK(given.mask == x.mask);
  }
}

}  // namespace
}  // namespace sl::testing
