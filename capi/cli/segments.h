// Finds speech in probabilities.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_SEGMENTS_H_
#define SEQUENCE_LAYERS_CAPI_CLI_SEGMENTS_H_

#include <vector>

namespace sl::cli {

struct Segment {
  double start = 0, end = 0;  // seconds
};

// Finds speech in probabilities that are `step_seconds` apart. Speech begins when the probability
// reaches the threshold and ends when it stays below threshold - 0.15 for 100 ms. Segments shorter
// than 250 ms are dropped. The others are extended by 30 ms at both ends; neighbours that would
// overlap share the gap between them.
std::vector<Segment> find_segments(const std::vector<double>& probabilities, double step_seconds,
                                   double threshold);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_SEGMENTS_H_
