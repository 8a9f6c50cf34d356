// Makes a model in a lesser format accurate: rounds its matrices for given data, and chooses those
// that keep more precision.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_CALIBRATE_H_
#define SEQUENCE_LAYERS_CAPI_CLI_CALIBRATE_H_

#include <optional>
#include <string>
#include <vector>

#include "testing/model.h"

namespace sl::cli {

// A matrix that keeps more precision.
struct KeptMatrix {
  std::vector<std::string> tensors;  // of which it is made
  double alone_db = 0;               // signal to noise at the output if only this one is converted
};

struct CalibrationOptions {
  std::string formats;
  std::string kept_format = "float32";
  double aim_db = 40;
  bool feedback = true;  // rounds with error feedback, not to the nearest
};

struct CalibratedModel {
  std::string formats;  // the given ones, and that of the kept matrices
  std::optional<sequence_layers::Calibration> weights;  // nothing: rounded to the nearest
  std::vector<KeptMatrix> kept;
  double output_db = 0;  // signal to noise at the output for these formats
};

// Opens a model directory in other formats, with calibrated weights if there are some.
sequence_layers::Layer open_in_formats(
    const std::string& directory, const std::string& formats,
    const std::optional<sequence_layers::Calibration>& weights = std::nullopt);

// Keeps as few bytes in the other format as the aim for the output needs: those matrices first that
// add the most noise for their size.
CalibratedModel calibrate(const testing::Model& model, const testing::Input& input,
                          const CalibrationOptions& options);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_CALIBRATE_H_
