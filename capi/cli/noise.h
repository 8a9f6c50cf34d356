// Signal-to-noise ratios between the outputs of two models.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_NOISE_H_
#define SEQUENCE_LAYERS_CAPI_CLI_NOISE_H_

#include <cmath>
#include <complex>
#include <cstdio>
#include <limits>
#include <string>

#include "testing/tensor.h"

namespace sl::cli {

using testing::Tensor;

// The power of a signal and of what was added to it.
class Noise {
 public:
  // Adds the valid steps [begin, end) of both.
  void add(const Tensor& signal, const Tensor& other, int64_t begin, int64_t end) {
    const int64_t size = signal.step_size();
    for (int64_t b = 0; b < signal.batch(); ++b) {
      for (int64_t t = begin; t < end; ++t) {
        if (!signal.valid(b, t)) continue;
        for (int64_t i = (b * signal.time() + t) * size; i < (b * signal.time() + t + 1) * size;
             ++i) {
          signal_ += std::norm(signal.at(i));
          noise_ += std::norm(signal.at(i) - other.at(i));
        }
      }
    }
  }
  void add(const Tensor& signal, const Tensor& other) { add(signal, other, 0, signal.time()); }

  // Signal to noise in dB; infinite if there is no noise.
  double ratio() const {
    if (noise_ == 0) return std::numeric_limits<double>::infinity();
    return 10 * std::log10(signal_ / noise_);
  }

 private:
  double signal_ = 0, noise_ = 0;
};

inline std::string decibels(double ratio) {
  if (std::isinf(ratio) && ratio > 0) return "exact";
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f dB", ratio);
  return text;
}

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_NOISE_H_
