// The files that `sl run` writes: an array or a sound, and a figure.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_RESULT_FILE_H_
#define SEQUENCE_LAYERS_CAPI_CLI_RESULT_FILE_H_

#include <string>

#include "cli/output.h"
#include "cli/plot.h"
#include "cli/source.h"

namespace sl::cli {

// The output of a model as .npy or as .wav. A file that is no regular one is given .npy.
class ResultFile {
 public:
  // Throws std::invalid_argument for another extension, and if it cannot be written.
  explicit ResultFile(const std::string& path);

  // Throws if what the model makes of it is no sound, though one is to be written.
  void check(const Model& model, const Source& source) const;
  void write(const Model& model, const Source& source, Tensor y) const;

 private:
  bool sound_;
  OutputFile file_;
};

class PlotFile {
 public:
  // Throws as ResultFile does.
  explicit PlotFile(const std::string& path);
  void write(const Plot& plot) const;

 private:
  PlotFormat format_;
  OutputFile file_;
};

// Output steps a second for that many of the input.
double output_rate(const Model& model, double input_rate);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_RESULT_FILE_H_
