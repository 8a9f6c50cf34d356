// A model: the layer tree of a JSON config with its weights, and what is needed to run it.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/allocator.h"
#include "core/parallel.h"
#include "layers/layer.h"
#include "model/constants.h"
#include "model/registry.h"
#include "model/tensor_store.h"

namespace sl {

struct ModelOptions {
  const Registry* registry = nullptr;  // null: the built-in one
  Allocator allocator;
  int num_threads = 1;
  ParallelForHook parallel_for = nullptr;
  void* parallel_for_user_data = nullptr;
};

class Model {
 public:
  Model(std::string_view config, std::shared_ptr<const TensorStore> weights,
        const ModelOptions& options);
  // Of a directory with config.json and model.safetensors.
  static std::unique_ptr<Model> open(const std::string& directory, const ModelOptions& options);

  const Layer& root() const { return *root_; }
  const Allocator& allocator() const { return allocator_; }
  const Parallel& parallel() const { return parallel_; }
  // Of config and weights: tells the saved states of one model from those of another.
  uint64_t fingerprint() const { return fingerprint_; }
  // The spec recorded with the weights, else the one that the layers imply.
  std::optional<ChannelSpec> input_spec() const;
  // An entry of the metadata of the weights' file; null if there is none of that key.
  const std::string* metadata(std::string_view key) const;
  // Constants that the layers read.
  const ConstantTable& constants() const { return constants_; }
  // Whether a layer reads invalid steps, so that those of input and constants count as zeros.
  bool masks_input() const { return masks_input_; }
  // Where steps differ from whole runs, whatever the input is or if its mask has holes.
  const std::vector<StepDifference>& step_differences() const { return step_differences_; }

  // The specs of what comes out, with the constants checked. These may lack data.
  ChannelSpec output_spec(const ChannelSpec& input, const Constants& constants) const;
  SequenceSpec output(const SequenceSpec& input, const Constants& constants) const;

  // Runs a whole sequence. The result lies in the workspace, or is x itself. Wanted emits have the
  // right shape.
  Sequence apply(Workspace& workspace, const Sequence& x, std::span<Sequence> emits,
                 const Constants& constants) const;
  // Everything that the layers declare for an input.
  Declaration declare(const SequenceSpec& input, const Constants& constants) const;
  // The tree as JSON.
  std::string describe(const ChannelSpec& input, const Constants& constants) const;

 private:
  Sequence run_layer(Workspace& workspace, const Sequence& x, std::span<Sequence> emits,
                     const Constants& constants) const;

  std::shared_ptr<const TensorStore> weights_;  // layers may point into it
  Allocator allocator_;
  Parallel parallel_;
  std::unique_ptr<Layer> root_;
  ConstantTable constants_;
  std::vector<StepDifference> step_differences_;
  bool masks_input_ = false;
  uint64_t fingerprint_ = 0;
};

}  // namespace sl
