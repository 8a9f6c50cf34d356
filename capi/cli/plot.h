// Figures of sequences over time.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_PLOT_H_
#define SEQUENCE_LAYERS_CAPI_CLI_PLOT_H_

#include <optional>
#include <string>
#include <vector>

#include "cli/audio.h"

namespace sl::cli {

// A curve if there is one channel, else a heat map with channel 0 at the bottom.
struct Panel {
  std::string label;
  std::vector<double> values;  // [time, channels]
  int64_t channels = 1;
  double step = 1;                  // how far apart the values are on the time axis
  std::optional<double> low, high;  // limits of the value axis; else those of the values
  std::optional<double> threshold;  // a dashed line

  int64_t time() const { return static_cast<int64_t>(values.size()) / channels; }
};

struct Plot {
  std::string title;
  std::string time_label;
  std::vector<Panel> panels;      // one above the other, over the same time axis
  std::vector<Segment> segments;  // shaded, on the same axis
};

enum class PlotFormat { kPng, kSvg };

void write_plot(const Plot& plot, const std::string& path, PlotFormat format);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_PLOT_H_
