// Conversion of the sample rate of a stream, by libsamplerate, which is loaded at its first use: a
// library that is missing takes away this one ability and nothing else.
#pragma once

#include <cstdint>
#include <memory>

namespace sl::ops {

// The values are those of sl_pipe_quality.
enum class ConverterQuality : int32_t { kDefault = 0, kFast = 1, kMedium = 2, kBest = 3 };

class RateConverter {
 public:
  static constexpr double kMaxRatio = 256;
  static constexpr int64_t kMaxChannels = 128;

  // Frames of `channels` interleaved samples; `ratio` is the output rate over the input rate, from
  // 1 / kMaxRatio to kMaxRatio. Fails with kUnsupported if libsamplerate is not found.
  RateConverter(ConverterQuality quality, int64_t channels, double ratio);

  // Frames of input behind the position of an output frame that must have come before it is made:
  // output frame k is the input at position k / ratio.
  int64_t lookahead() const { return lookahead_; }
  // Maximum of frames that `frames` of input make.
  int64_t max_output(int64_t frames) const;
  // Takes all of the input, and writes at most max_output(frames) frames, whose number it returns.
  // Real-time.
  int64_t process(const float* in, int64_t frames, float* out);
  // Back to the start of a stream. Real-time.
  void reset();

 private:
  struct Close {
    void operator()(void* converter) const;
  };

  double ratio_;
  std::unique_ptr<void, Close> converter_;
  int64_t lookahead_ = 0;
};

}  // namespace sl::ops
