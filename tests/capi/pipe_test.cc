// Tests audio through a model as a host has it: latency, rates, channels, dry and wet, flush, swap.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "support/models.h"
#include "testing/trap.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;
using sequence_layers::Pipe;

using Channels = std::vector<std::vector<float>>;

// Sizes of calls, repeated over and over.
using Sizes = std::vector<int64_t>;
const std::vector<Sizes>& call_sizes() {
  static const std::vector<Sizes> kSizes = {
      {1}, {7}, {64}, {100}, {441}, {4096}, {1, 64, 7, 4096, 3, 441, 100, 2, 999}};
  return kSizes;
}

Layer layer_of(const std::string& config, int64_t channels = 1) {
  return make_model(config, channels);
}

// A model with latency and blocks whose layer-wise output is its input, but for the first 37 steps.
const std::string kLate = R"({"type":"Serial","layers":[{"type":"Lookahead","length":37},)"
                          R"({"type":"Delay","length":37},{"type":"Blockwise","block_size":100,)"
                          R"("child_layer":{"type":"Identity"}}]})";
const std::string kIdentity = R"({"type":"Identity"})";
const std::string kHalf = R"({"type":"Scale","scale":0.5})";
const std::string kTanh = R"({"type":"Tanh"})";
const std::string kRecurrent =
    R"({"type":"Serial","layers":[{"type":"ExpandDims","axis":-1},{"type":"LSTM","units":1},)"
    R"({"type":"Dense","features":1},{"type":"Squeeze","axis":-1}]})";
const std::string kStereo =
    R"({"type":"Conv1D","filters":2,"kernel_size":5,"padding":"reverse_causal"})";

sl_pipe_options options_for(double host_rate, double model_rate, int64_t host_channels = 1) {
  sl_pipe_options options = SL_PIPE_OPTIONS_INIT;
  options.host_rate = host_rate;
  options.model_rate = model_rate;
  options.host_channels = host_channels;
  return options;
}

std::vector<float*> pointers(Channels& channels, int64_t from) {
  std::vector<float*> out;
  for (std::vector<float>& channel : channels) out.push_back(channel.data() + from);
  return out;
}

int64_t length_of(const Channels& channels) { return static_cast<int64_t>(channels[0].size()); }

Channels silence(size_t channels, int64_t frames) {
  return Channels(channels, std::vector<float>(static_cast<size_t>(frames)));
}

// Processes frames [from, to) of `in` into `out`, in calls of these sizes, with `between` before
// each call.
void play(Pipe& pipe, Channels in, Channels& out, int64_t from, int64_t to, const Sizes& sizes,
          const std::function<void(int64_t)>& between = {}) {
  sl_error error = SL_ERROR_INIT;
  size_t turn = 0;
  for (int64_t at = from; at < to;) {
    const int64_t frames = std::min(sizes[turn++ % sizes.size()], to - at);
    if (between) between(at);
    const std::vector<float*> x = pointers(in, at), y = pointers(out, at);
    if (pipe.process(x.data(), y.data(), frames, &error) != SL_STATUS_OK) FAIL(error.message);
    at += frames;
  }
}

Channels play(Pipe& pipe, const Channels& in, const Sizes& sizes) {
  Channels out = silence(in.size(), length_of(in));
  play(pipe, in, out, 0, length_of(in), sizes);
  return out;
}

// The whole output: processed, flushed, and without the latency at its start.
Channels play_all(Pipe& pipe, const Channels& in, const Sizes& sizes) {
  const int64_t frames = length_of(in), latency = pipe.latency();
  Channels out = silence(in.size(), frames + latency);
  play(pipe, in, out, 0, frames, sizes);
  sl_error error = SL_ERROR_INIT;
  int64_t at = frames;
  for (size_t turn = 0;; ++turn) {
    const std::vector<float*> y = pointers(out, at);
    const int64_t got = pipe.flush(y.data(), sizes[turn % sizes.size()], &error);
    if (got < 0) FAIL(error.message);
    if (got == 0) break;
    at += got;
  }
  CHECK(at == frames + latency);
  for (std::vector<float>& channel : out) channel.erase(channel.begin(), channel.begin() + latency);
  return out;
}

std::vector<float> noise(int64_t frames, uint32_t seed = 1) {
  std::mt19937 rng(seed);
  std::uniform_real_distribution<float> uniform(-0.9f, 0.9f);
  std::vector<float> out(static_cast<size_t>(frames));
  for (float& value : out) value = uniform(rng);
  return out;
}

// The layer-wise output for samples of one channel, or of several as a row a step.
Channels apply(const sequence_layers::Layer& layer, const Channels& in) {
  const auto rows = static_cast<int64_t>(in.size());
  const std::vector<int64_t> dims = rows == 1 ? std::vector<int64_t>{1, length_of(in)}
                                              : std::vector<int64_t>{1, length_of(in), rows};
  Tensor x = make_sequence(SL_DTYPE_FLOAT32, dims);
  Tensor y = x;
  for (size_t c = 0; c < in.size(); ++c) {
    for (size_t t = 0; t < in[c].size(); ++t)
      reinterpret_cast<float*>(x.bytes.data())[t * in.size() + c] = in[c][t];
  }
  const sl_sequence from = x.view();
  sl_sequence to = y.view();
  layer.apply(from, &to);
  Channels out = in;
  for (size_t c = 0; c < in.size(); ++c) {
    for (size_t t = 0; t < in[c].size(); ++t)
      out[c][t] = reinterpret_cast<const float*>(y.bytes.data())[t * in.size() + c];
  }
  return out;
}

float difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  float most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

int64_t peak_of(const std::vector<float>& samples) {
  const auto peak = std::max_element(samples.begin(), samples.end(),
                                     [](float a, float b) { return std::abs(a) < std::abs(b); });
  return peak - samples.begin();
}

Failure create_failure(const std::string& config, const sl_pipe_options* options,
                       int64_t channels = 1) {
  const auto layer = layer_of(config, channels);
  return failure_of([&](sl_error* e) {
    sl_pipe* pipe = nullptr;
    const sl_status status = sl_pipe_create(layer.get(), options, &pipe, e);
    sl_pipe_free(pipe);
    return status;
  });
}

TEST_CASE("an impulse comes at the reported frame, whatever the rates and sizes of calls",
          "[pipe]") {
  for (const std::string& config : {kIdentity, kLate}) {
    const auto layer = layer_of(config);
    for (const double model : {16000.0, 48000.0}) {
      for (const double host : {16000.0, 22050.0, 44100.0, 48000.0, 96000.0}) {
        Pipe pipe(layer, options_for(host, model));
        std::vector<float> in(6000);
        constexpr int64_t kImpulse = 1234;
        in[kImpulse] = 1;
        Channels first;
        for (const Sizes& sizes : call_sizes()) {
          INFO(config << " at " << model << " in a host at " << host << ", calls of " << sizes[0]);
          pipe.reset();
          const Channels out = play(pipe, {in}, sizes);
          CHECK(peak_of(out[0]) == kImpulse + pipe.latency());
          // Less bandwidth makes a lower peak: the share that is left is that of the lower rate.
          const double band = std::min(1.0, model / host);
          CHECK(out[0][static_cast<size_t>(kImpulse + pipe.latency())] ==
                Approx(band).epsilon(0.15));
          if (first.empty()) first = out;
          CHECK(difference(out[0], first[0]) < 1e-6f);
        }
      }
    }
  }
}

TEST_CASE("the latency is that of the model, its block and the converters", "[pipe]") {
  CHECK(Pipe(layer_of(kIdentity)).latency() == 0);
  CHECK(Pipe(layer_of(kLate)).latency() == 37 + 99);
  sl_pipe_options options = options_for(48000, 16000);
  options.quality = SL_PIPE_QUALITY_FAST;
  const int64_t fast = Pipe(layer_of(kIdentity), options).latency();
  options.quality = SL_PIPE_QUALITY_MEDIUM;
  const int64_t medium = Pipe(layer_of(kIdentity), options).latency();
  options.quality = SL_PIPE_QUALITY_BEST;
  CHECK(fast > 0);
  CHECK(fast < medium);
  CHECK(medium < Pipe(layer_of(kIdentity), options).latency());
  options.min_latency = 5000;
  CHECK(Pipe(layer_of(kIdentity), options).latency() == 5000);
}

TEST_CASE("at equal rates the output is that of the layer, sample for sample", "[pipe]") {
  for (const std::string& config : {kLate, kTanh, kRecurrent}) {
    const auto layer = layer_of(config);
    Pipe pipe(layer);
    const Channels in = {noise(5003)};
    const Channels expected = apply(layer, in);
    for (const Sizes& sizes : call_sizes()) {
      INFO(config << ", calls of " << sizes[0]);
      pipe.reset();
      CHECK(play_all(pipe, in, sizes) == expected);
    }
  }
}

TEST_CASE("speech rates there and back keep a tone", "[pipe]") {
  for (const double host : {22050.0, 44100.0, 96000.0}) {
    const auto layer = layer_of(kTanh);
    Pipe pipe(layer, options_for(host, 48000));
    std::vector<float> tone(8000);
    for (size_t i = 0; i < tone.size(); ++i)
      tone[i] =
          0.001f * static_cast<float>(std::sin(2 * M_PI * 1000 / host * static_cast<double>(i)));
    const Channels out = play_all(pipe, {tone}, {64});
    float most = 0;
    for (size_t i = 1000; i < 7000; ++i) most = std::max(most, std::abs(out[0][i] - tone[i]));
    CHECK(most < 1e-6f);  // of 1e-3: -60 dB
  }
}

TEST_CASE("a model of one channel hears each channel alone, or their mean", "[pipe]") {
  const auto layer = layer_of(kRecurrent);
  const Channels in = {noise(3000, 1), noise(3000, 2), noise(3000, 3)};
  Pipe each(layer, options_for(0, 0, 3));
  const Channels alone = play_all(each, in, {100, 33});
  for (size_t c = 0; c < 3; ++c) CHECK(difference(alone[c], apply(layer, {in[c]})[0]) < 1e-6f);

  sl_pipe_options options = options_for(0, 0, 3);
  options.channels = SL_PIPE_CHANNELS_MIX;
  Pipe mix(layer, options);
  std::vector<float> mean(3000);
  for (size_t i = 0; i < mean.size(); ++i) mean[i] = (in[0][i] + in[1][i] + in[2][i]) / 3;
  const Channels mixed = play_all(mix, in, {64});
  for (size_t c = 0; c < 3; ++c) CHECK(difference(mixed[c], apply(layer, {mean})[0]) < 1e-6f);
}

TEST_CASE("a model's own channels are those of the host", "[pipe]") {
  const auto layer = layer_of(kStereo, 2);
  Pipe pipe(layer);
  CHECK(pipe.host_channels() == 2);
  CHECK(pipe.latency() == 4);
  const Channels in = {noise(2000, 1), noise(2000, 2)};
  const Channels out = play_all(pipe, in, {64, 1}), expected = apply(layer, in);
  for (size_t c = 0; c < 2; ++c) CHECK(difference(out[c], expected[c]) < 1e-6f);
}

TEST_CASE("outputs may be the memory of inputs, also of other channels", "[pipe]") {
  const auto layer = layer_of(kTanh);
  Pipe apart(layer, options_for(0, 0, 2)), same(layer, options_for(0, 0, 2));
  const Channels in = {noise(128, 1), noise(128, 2)};
  const Channels expected = play(apart, in, {128});
  Channels both = in;
  const float* x[] = {both[0].data(), both[1].data()};
  float* y[] = {both[1].data(), both[0].data()};
  REQUIRE(same.process(x, y, 128) == SL_STATUS_OK);
  CHECK(both[1] == expected[0]);
  CHECK(both[0] == expected[1]);
}

TEST_CASE("the dry signal is as late as the wet one", "[pipe]") {
  sl_pipe_options options = options_for(44100, 48000);
  options.dry = 1;
  const auto layer = layer_of(kLate);
  Pipe pipe(layer, options);
  const Channels in = {noise(4000)};
  CHECK(play_all(pipe, in, {100})[0] == in[0]);

  const auto halving = layer_of(kHalf);
  Pipe half(halving);
  half.set_dry(0.5f);
  half.reset();
  const std::vector<float> mixed = play_all(half, in, {64})[0];
  for (size_t i = 0; i < mixed.size(); ++i) REQUIRE(mixed[i] == Approx(0.75f * in[0][i]));
}

TEST_CASE("a change from wet to dry is gradual and ends", "[pipe]") {
  const auto layer = layer_of(kHalf);
  Pipe pipe(layer, options_for(48000, 48000));
  const Channels in = {std::vector<float>(4000, 1.0f)};
  Channels out = silence(1, 4000);
  play(pipe, in, out, 0, 1000, {64});
  pipe.set_dry(1);
  play(pipe, in, out, 1000, 4000, {64});
  CHECK(out[0][999] == 0.5f);
  CHECK(out[0][1000 + 960] == 1.0f);
  for (size_t i = 1000; i < 1960; ++i) REQUIRE(out[0][i] - out[0][i - 1] < 0.5f / 900);
}

TEST_CASE("calls neither allocate nor lock", "[pipe]") {
  for (const double model : {48000.0, 16000.0}) {
    const auto first = layer_of(kRecurrent), second = layer_of(kLate);
    sl_pipe_options options = options_for(48000, model, 2);
    Pipe pipe(first, options), next(second, options);
    Channels in = {noise(20000, 1), noise(20000, 2)}, out = silence(2, 20000);
    const Sizes sizes = {64, 1, 4096, 7, 441};
    size_t turn = 0;
    bool swapped = false;
    int64_t calls = 0;
    sl_status status = SL_STATUS_OK;
    for (int64_t at = 0; at < 16000 && status == SL_STATUS_OK;) {
      const int64_t frames = sizes[turn++ % sizes.size()];
      const float* x[] = {in[0].data() + at, in[1].data() + at};
      float* y[] = {out[0].data() + at, out[1].data() + at};
      AllocationTrap trap;
      if (at > 5000 && !swapped) {
        status = sl_pipe_swap(pipe.get(), next.get(), nullptr);
        swapped = true;
      }
      if (status == SL_STATUS_OK) status = sl_pipe_process(pipe.get(), x, y, frames, nullptr);
      if (at > 9000) sl_pipe_set_dry(pipe.get(), 0.5f, nullptr);
      calls += trap.count();
      at += frames;
    }
    CHECK(status == SL_STATUS_OK);
    CHECK(!pipe.is_fading());
    float* y[] = {out[0].data(), out[1].data()};
    AllocationTrap trap;
    const int64_t flushed = sl_pipe_flush(pipe.get(), y, 4096, nullptr);
    status = sl_pipe_reset(pipe.get(), nullptr);
    calls += trap.count();
    CHECK(flushed == std::min<int64_t>(4096, pipe.latency()));
    CHECK(status == SL_STATUS_OK);
    CHECK(calls == 0);
  }
}

TEST_CASE("numbers too small to be normal count as zero, and do so in no other code", "[pipe]") {
  const auto layer = layer_of(kHalf);
  Pipe pipe(layer);
  volatile float least = 1.5e-38f;
  std::vector<float> in = {least, 1.0f}, out(2);
  const float* x[] = {in.data()};
  float* y[] = {out.data()};
  REQUIRE(pipe.process(x, y, 2) == SL_STATUS_OK);
  CHECK(out == std::vector<float>{0.0f, 0.5f});
  CHECK(least * 0.5f > 0.0f);
}

TEST_CASE("a swap fades from one model to the other without a jump", "[pipe]") {
  // A tone, which the first model leaves and the second halves: no step is larger than the tone's.
  std::vector<float> tone(12000);
  for (size_t i = 0; i < tone.size(); ++i)
    tone[i] = static_cast<float>(std::sin(2 * M_PI * 440 / 48000 * static_cast<double>(i)));
  float steepest = 0;
  for (size_t i = 1; i < tone.size(); ++i)
    steepest = std::max(steepest, std::abs(tone[i] - tone[i - 1]));
  const auto whole = layer_of(kLate), half = layer_of(kHalf);
  for (const bool late_first : {true, false}) {
    sl_pipe_options options = options_for(48000, 48000);
    options.min_latency = 136;
    options.fade_frames = 960;
    Pipe pipe(late_first ? whole : half, options), next(late_first ? half : whole, options);
    Channels out = silence(1, 12000);
    bool swapped = false;
    play(pipe, {tone}, out, 0, 12000, {64}, [&](int64_t at) {
      if (at < 4000 || swapped) return;
      REQUIRE(pipe.swap(&next) == SL_STATUS_OK);
      CHECK(pipe.is_fading());
      swapped = true;
    });
    CHECK(!pipe.is_fading());
    CHECK(pipe.latency() == 136);
    const float before = late_first ? 1.0f : 0.5f, after = late_first ? 0.5f : 1.0f;
    for (size_t i = 136 + 38; i < 12000; ++i) {
      REQUIRE(std::abs(out[0][i] - out[0][i - 1]) <= steepest * 1.001f + 1.0f / 960);
      if (i < 4000) REQUIRE(out[0][i] == Approx(before * tone[i - 136]).margin(1e-6));
      if (i > 5300) REQUIRE(out[0][i] == Approx(after * tone[i - 136]).margin(1e-6));
    }
    // The old model can be had back.
    next.reset();
    CHECK(pipe.swap(&next) == SL_STATUS_OK);
  }
}

// STFT and back, late by 240 steps: the first steps of a stream lack the frames before it.
const std::string kFrames =
    R"({"type":"Serial","layers":[{"type":"STFT","frame_length":400,"frame_step":160,)"
    R"("fft_length":512,"time_padding":"semicausal"},{"type":"InverseSTFT","frame_length":400,)"
    R"("frame_step":160,"fft_length":512,"window_fn":{"function":"inverse_stft",)"
    R"("frame_step":160}}]})";

TEST_CASE("a swap waits for the past that the new model needs", "[pipe]") {
  std::vector<float> tone(12000);
  for (size_t i = 0; i < tone.size(); ++i)
    tone[i] = static_cast<float>(std::sin(2 * M_PI * 440 / 16000 * static_cast<double>(i)));
  const auto frames = layer_of(kFrames), delay = layer_of(R"({"type":"Delay","length":240})");
  for (const double host_rate : {16000.0, 22050.0}) {
    sl_pipe_options options = options_for(host_rate, 16000);
    options.fade_frames = 100;
    options.max_frames = 512;
    options.min_latency = Pipe(frames, options).latency();
    Pipe alone(frames, options);
    const Channels expected = play(alone, {tone}, {64, 500, 1});
    for (const bool same : {true, false}) {
      INFO(host_rate << (same ? ", the same model" : ", a delay as long"));
      Pipe pipe(same ? frames : delay, options), next(frames, options);
      Channels out = silence(1, 12000);
      bool swapped = false;
      play(pipe, {tone}, out, 0, 12000, {64, 500, 1}, [&](int64_t at) {
        if (at < 4000 || swapped) return;
        REQUIRE(pipe.swap(&next) == SL_STATUS_OK);
        swapped = true;
      });
      CHECK(!pipe.is_fading());
      // Neither the beginning of the new model's stream nor the fade is heard.
      for (size_t i = 2000; i < 12000; ++i)
        REQUIRE(out[0][i] == Approx(expected[0][i]).margin(1e-5));
    }
  }
}

TEST_CASE("a swap to a model with an endless past waits for a second of it", "[pipe]") {
  const auto layer = layer_of(kRecurrent);
  sl_pipe_options options = options_for(1000, 1000);
  options.fade_frames = 10;
  Pipe pipe(layer, options), next(layer, options);
  Channels out = silence(1, 1010);
  REQUIRE(pipe.swap(&next) == SL_STATUS_OK);
  play(pipe, {noise(1010)}, out, 0, 1009, {1009});
  CHECK(pipe.is_fading());
  play(pipe, {noise(1010)}, out, 1009, 1010, {1});
  CHECK(!pipe.is_fading());
}

TEST_CASE("a reset starts anew, also within a fade", "[pipe]") {
  const auto layer = layer_of(kRecurrent);
  Pipe pipe(layer), next(layer);
  const Channels in = {noise(500)};
  const Channels expected = play_all(pipe, in, {64});
  pipe.reset();
  CHECK(play_all(pipe, in, {64}) == expected);
  pipe.reset();
  REQUIRE(pipe.swap(&next) == SL_STATUS_OK);
  play(pipe, in, {100});
  REQUIRE(pipe.is_fading());
  pipe.reset();
  CHECK(!pipe.is_fading());
  CHECK(play_all(pipe, in, {64}) == expected);
}

TEST_CASE("what hosts do wrong is refused", "[pipe]") {
  const auto layer = layer_of(kIdentity);
  sl_pipe_options options = options_for(48000, 48000);
  options.max_frames = 64;
  Pipe pipe(layer, options), next(layer, options);
  Channels in = {noise(200)}, out = in;
  const float* x[] = {in[0].data()};
  float* y[] = {out[0].data()};
  const auto process = [&](int64_t frames) {
    return failure_of([&](sl_error* e) { return pipe.process(x, y, frames, e); });
  };
  CHECK(process(0).message == "");
  CHECK(process(65).message == "frames is 65: expected 0 to 64");
  CHECK(process(-1).message == "frames is -1: expected 0 to 64");
  x[0] = nullptr;
  CHECK(process(1).message == "in is null");
  x[0] = in[0].data();
  const auto swap = [&](Pipe& with) {
    return failure_of([&](sl_error* e) { return pipe.swap(&with, e); });
  };
  CHECK_THAT(swap(pipe).message, Contains("fading"));
  Pipe other(layer, options_for(44100, 48000));
  CHECK_THAT(swap(other).message, Contains("1 channels at 44100 a second in calls of 4096 frames"));
  REQUIRE(next.process(x, y, 1) == SL_STATUS_OK);
  CHECK_THAT(swap(next).message, Contains("not at its start"));
  next.reset();
  CHECK(swap(next).message == "");
  CHECK_THAT(swap(next).message, Contains("still heard"));
  CHECK_THAT(failure_of([&](sl_error* e) { return next.process(x, y, 1, e); }).message,
             Contains("still heard"));
  CHECK(pipe.flush(y, 64) == 0);
  CHECK_THAT(process(1).message, Contains("was flushed"));
  pipe.reset();
  CHECK(process(1).message == "");
  CHECK_THAT(failure_of([&](sl_error* e) { return sl_pipe_set_dry(pipe.get(), 1.5f, e); }).message,
             Contains("dry is 1.5: expected 0 to 1"));
  CHECK(sl_pipe_latency(nullptr) == 0);
  CHECK(sl_pipe_host_channels(nullptr) == 0);
  CHECK(sl_pipe_is_fading(nullptr) == 0);
}

TEST_CASE("models that are no audio effects are refused with the reason", "[pipe]") {
  const auto refused = [](const std::string& config, const std::string& reason,
                          int64_t channels = 1) {
    INFO(config);
    const Failure failure = create_failure(config, nullptr, channels);
    CHECK(failure.status == SL_STATUS_UNSUPPORTED);
    CHECK_THAT(failure.message, Contains(reason));
  };
  refused(R"({"type":"Downsample1D","rate":2})", "makes 1/2 output steps for each input step");
  refused(R"({"type":"Reshape","output_shape":[1,1]})",
          "output is float32[1, 1]: a pipe takes audio");
  refused(R"({"type":"Conv1D","filters":1,"kernel_size":3,"padding":"same"})", "same");
  refused(R"({"type":"Conditioning","conditioning_name":"c","projection":"identity",)"
          R"("combination":"add"})",
          "reads the constant \"c\"");
  refused(R"({"type":"Cast","dtype":"int32"})", "output is int32[]");
}

TEST_CASE("channels and rates that do not fit are refused", "[pipe]") {
  const auto refused = [](const std::string& config, int64_t channels, const auto& change,
                          sl_status status, const std::string& reason) {
    sl_pipe_options options = SL_PIPE_OPTIONS_INIT;
    change(options);
    const Failure failure = create_failure(config, &options, channels);
    INFO(reason);
    CHECK(failure.status == status);
    CHECK_THAT(failure.message, Contains(reason));
  };
  refused(
      kStereo, 2, [](auto& o) { o.host_channels = 3; }, SL_STATUS_UNSUPPORTED,
      "3 channels of the host do not fit a model that makes 2 of 2");
  refused(
      kStereo, 2, [](auto& o) { o.channels = SL_PIPE_CHANNELS_EACH; }, SL_STATUS_UNSUPPORTED,
      "options.channels: each");
  refused(
      kIdentity, 1, [](auto& o) { o.host_rate = 48000, o.model_rate = 100; }, SL_STATUS_UNSUPPORTED,
      "more than 256 times apart");
  refused(
      kIdentity, 1, [](auto& o) { o.host_rate = -1; }, SL_STATUS_INVALID_ARGUMENT,
      "options.host_rate is -1");
  refused(
      kIdentity, 1, [](auto& o) { o.model_rate = NAN; }, SL_STATUS_INVALID_ARGUMENT,
      "options.model_rate is nan");
  refused(
      kIdentity, 1, [](auto& o) { o.host_channels = 129; }, SL_STATUS_INVALID_ARGUMENT,
      "options.host_channels is 129: expected 0 to 128");
  refused(
      kIdentity, 1, [](auto& o) { o.max_frames = -1; }, SL_STATUS_INVALID_ARGUMENT,
      "options.max_frames is -1");
  refused(
      kIdentity, 1, [](auto& o) { o.dry = NAN; }, SL_STATUS_INVALID_ARGUMENT,
      "options.dry is nan: expected 0 to 1");
  refused(
      kIdentity, 1, [](auto& o) { o.quality = 4; }, SL_STATUS_INVALID_ARGUMENT,
      "options.quality is 4: expected 0 to 3");
  refused(
      kIdentity, 1, [](auto& o) { o.channels = 4; }, SL_STATUS_INVALID_ARGUMENT,
      "options.channels is 4: expected 0 to 3");
}

TEST_CASE("the model's rate is that of its metadata", "[pipe]") {
  const auto layer_with = [](const std::string& rate) {
    const std::string header = R"({"__metadata__":{"sample_rate":")" + rate + R"("}})";
    const uint64_t size = header.size();
    std::string image(sizeof(size), '\0');
    std::memcpy(image.data(), &size, sizeof(size));
    image += header;
    return sequence_layers::Layer(kIdentity,
                                  sequence_layers::Weights::read(image.data(), image.size()));
  };
  const auto layer = layer_with("16000");
  CHECK(Pipe(layer).latency() == 0);
  CHECK(Pipe(layer, options_for(48000, 0)).latency() ==
        Pipe(layer_of(kIdentity), options_for(48000, 16000)).latency());
  const auto broken = layer_with("fast");
  CHECK_THAT(failure_of([&](sl_error* e) {
               sl_pipe* pipe = nullptr;
               return sl_pipe_create(broken.get(), nullptr, &pipe, e);
             }).message,
             Contains("metadata \"sample_rate\" is \"fast\""));
}

TEST_CASE("after a failed callback the output is silence until a reset", "[pipe]") {
  sl_layer_callbacks callbacks = SL_LAYER_CALLBACKS_INIT;
  static bool fails = false;
  callbacks.create = [](void*, const char*, const sl_weight_source*, void**, sl_error*) {
    return sl_status{SL_STATUS_OK};
  };
  callbacks.layer = [](const void*, const sl_sequence* x, sl_sequence* y, sl_error*) {
    std::memcpy(y->data, x->data, static_cast<size_t>(x->dims[0] * x->dims[1]) * sizeof(float));
    return sl_status{fails ? SL_STATUS_LENGTH : SL_STATUS_OK};
  };
  sequence_layers::Registry registry;
  registry.add("Mine", callbacks);
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.registry = registry.get();
  const sequence_layers::Layer layer(R"({"type":"Mine"})", &options);
  Pipe pipe(layer);
  float in[8] = {1, 1, 1, 1, 1, 1, 1, 1}, out[8];
  const float* x[] = {in};
  float* y[] = {out};
  fails = true;
  CHECK(pipe.process(x, y, 8) == SL_STATUS_LENGTH);
  CHECK(std::accumulate(out, out + 8, 0.0f) == 0);
  fails = false;
  CHECK(pipe.process(x, y, 8) == SL_STATUS_LENGTH);
  pipe.reset();
  CHECK(pipe.process(x, y, 8) == SL_STATUS_OK);
  CHECK(std::accumulate(out, out + 8, 0.0f) == 8);
}

}  // namespace
}  // namespace sl::testing
