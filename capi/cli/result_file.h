// The files that `sl run` writes: an array or a sound, and a figure.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_RESULT_FILE_H_
#define SEQUENCE_LAYERS_CAPI_CLI_RESULT_FILE_H_

#include <string>

#include "cli/output.h"
#include "cli/plot.h"
#include "cli/source.h"

namespace sl::cli {

// A model's output as .npy or .wav. A pipe or device gets .npy.
class ResultFile {
 public:
  // Throws std::invalid_argument for any other extension. Throws if the file cannot be written.
  explicit ResultFile(const std::string& path);

  // Throws if the output is to be written as .wav but is no sound.
  void check(const testing::Model& model, const Source& source) const;
  void write(const testing::Model& model, const Source& source, testing::Tensor y) const;

 private:
  bool sound_;
  OutputFile file_;
};

class PlotFile {
 public:
  // Throws std::invalid_argument for a wrong extension. Throws if the file cannot be written.
  explicit PlotFile(const std::string& path);
  void write(const Plot& plot) const;

 private:
  PlotFormat format_;
  OutputFile file_;
};

// Converts a rate of input steps per second to output steps per second.
double output_rate(const testing::Model& model, double input_rate);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_RESULT_FILE_H_
