#include "cli/segments.h"

#include <algorithm>

namespace sl::cli {
namespace {

constexpr double kHysteresis = 0.15;
constexpr double kMinSpeech = 0.250;
constexpr double kMinSilence = 0.100;
constexpr double kPad = 0.030;
constexpr double kNone = -1;

void pad_segments(std::vector<Segment>& segments, double length) {
  for (size_t i = 0; i < segments.size(); ++i) {
    if (i == 0) segments[i].start = std::max(0.0, segments[i].start - kPad);
    if (i + 1 == segments.size()) {
      segments[i].end = std::min(length, segments[i].end + kPad);
      break;
    }
    const double pad = std::min(kPad, (segments[i + 1].start - segments[i].end) / 2);
    segments[i].end += pad;
    segments[i + 1].start -= pad;
  }
}

}  // namespace

std::vector<Segment> find_segments(const std::vector<double>& probabilities, double step_seconds,
                                   double threshold) {
  const double length = static_cast<double>(probabilities.size()) * step_seconds;
  std::vector<Segment> segments;
  // Positions where the speech and the silence after it began.
  double start = kNone, silence = kNone;
  auto finish = [&](double end) {
    if (end - start > kMinSpeech) segments.push_back({start, end});
    start = silence = kNone;
  };
  for (size_t i = 0; i < probabilities.size(); ++i) {
    const double now = static_cast<double>(i) * step_seconds;
    if (probabilities[i] >= threshold) {
      silence = kNone;
      if (start == kNone) start = now;
    } else if (start != kNone && probabilities[i] < threshold - kHysteresis) {
      if (silence == kNone) silence = now;
      if (now - silence >= kMinSilence) finish(silence);
    }
  }
  if (start != kNone) finish(length);
  pad_segments(segments, length);
  return segments;
}

}  // namespace sl::cli
