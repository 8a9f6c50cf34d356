// Chooses the matrices that keep float32 so that a model in a lesser format stays accurate.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_CALIBRATE_H_
#define SEQUENCE_LAYERS_CAPI_CLI_CALIBRATE_H_

#include <string>
#include <vector>

#include "testing/model.h"

namespace sl::cli {

// A matrix that keeps float32.
struct KeptMatrix {
  std::vector<std::string> tensors;  // of which it is made
  double alone_db = 0;               // signal to noise at the output if only this one is converted
};

struct Calibration {
  std::string formats;  // the given ones, and float32 for the kept matrices
  std::vector<KeptMatrix> kept;
  double output_db = 0;  // signal to noise at the output for these formats
};

// Keeps as few bytes in float32 as the aim for the output needs: those matrices first that add the
// most noise for their size.
Calibration calibrate(const testing::Model& model, const testing::Input& input,
                      const std::string& formats, double aim_db);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_CALIBRATE_H_
