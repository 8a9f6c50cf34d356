// Figures of sequences over time.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_PLOT_H_
#define SEQUENCE_LAYERS_CAPI_CLI_PLOT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/segments.h"

namespace sl::cli {

// A curve for one channel, or else a heat map with channel 0 at the bottom.
struct Panel {
  std::string label;
  std::vector<double> values;  // [time, channels]
  int64_t channels = 1;
  double step = 1;                  // distance between values on the time axis
  std::optional<double> low, high;  // limits of the value axis; default: those of the values
  std::optional<double> threshold;  // drawn as a dashed line

  int64_t time() const { return static_cast<int64_t>(values.size()) / channels; }
};

struct Plot {
  std::string title;
  std::string time_label;
  std::vector<Panel> panels;      // stacked, with a common time axis
  std::vector<Segment> segments;  // shaded ranges of the time axis
};

enum class PlotFormat { kPng, kSvg };

void write_plot(const Plot& plot, const std::string& path, PlotFormat format);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_PLOT_H_
