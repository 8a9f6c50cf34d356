// Matrices in int8 and int4 that are rounded for the inputs that they have in a run of data.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "model/model.h"

namespace sl {

class Calibration {
 public:
  // Runs the model of a directory layer-wise on some data.
  using Apply = std::function<void(const Model& model)>;

  // Rounds the matrices to which `options` give int8 or int4. Runs the model as often as its
  // statistics, of which a limited number of bytes is kept at a time, make necessary.
  Calibration(const std::string& directory, ModelOptions options, const Apply& apply);

  // Opens the model with these matrices where `options` give them the same format again.
  std::unique_ptr<Model> open(const std::string& directory, ModelOptions options) const;

 private:
  std::map<std::string, ops::Panels> matrices_;
  uint64_t weights_fingerprint_ = 0;
};

}  // namespace sl
