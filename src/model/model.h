// A model: the layer tree of a JSON config with its weights, allocator and threads.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/allocator.h"
#include "core/kept_memory.h"
#include "core/parallel.h"
#include "core/step_team.h"
#include "layers/layer.h"
#include "model/constants.h"
#include "model/registry.h"
#include "model/tensor_store.h"

namespace sl {

struct ModelOptions {
  const Registry* registry = nullptr;  // null: the registry of built-in types
  Allocator allocator;
  int num_threads = 1;
  std::string weight_format;  // as WeightFormats reads it
  int num_step_threads = 1;
  int max_lent_threads = 0;  // for steps as well
  MatmulBackend matmul_backend = MatmulBackend::kDefault;
  WeightFormat kv_format = WeightFormat::kFloat32;
  ParallelForHook parallel_for = nullptr;
  void* parallel_for_user_data = nullptr;
  MatrixMaker* matrix_maker = nullptr;  // null: weights are rounded to the nearest
};

class Model {
 public:
  Model(std::string_view config, std::shared_ptr<const TensorStore> weights,
        const ModelOptions& options);
  // Opens a directory with config.json and, unless the model has no weights, model.safetensors.
  static std::unique_ptr<Model> open(const std::string& directory, const ModelOptions& options);

  const Layer& root() const { return *root_; }
  const Allocator& allocator() const { return allocator_; }
  // Memory of whole runs. No run notices another one's use.
  KeptMemory& kept_memory() const { return kept_memory_; }
  const Parallel& parallel() const { return parallel_; }
  // For steps, whose threads start_step_threads() starts.
  const Parallel& step_parallel() const { return step_parallel_; }
  void start_step_threads() const { step_team_.start(); }
  // Maps all pages of packed weights, so that no step has to.
  void touch_weights() const {
    if (weights_) weights_->touch_panels();
  }
  // Works on steps of other threads while keep_going(data). Fails if no more threads may be lent.
  void lend_thread(StepTeam::KeepGoing keep_going, void* data) const;
  // A hash of config and weights, which tells the saved states of different models apart.
  uint64_t fingerprint() const { return fingerprint_; }
  // A hash of the weights' file; 0 if there is none.
  uint64_t weights_fingerprint() const { return weights_ ? weights_->fingerprint() : 0; }
  // Writes a weights file in which all matrices lie packed.
  void save_packed(const std::string& path) const;
  // The input spec that the weights record or, by default, the one that the layers imply.
  std::optional<ChannelSpec> input_spec() const;
  // An entry of the metadata of the weights' file; null if there is none of that key.
  const std::string* metadata(std::string_view key) const;
  // Constants that the layers read.
  const ConstantTable& constants() const { return constants_; }
  // Whether a layer reads invalid steps. The model then sets those of its input and constants to
  // zero.
  bool masks_input() const { return masks_input_; }
  // Where steps differ from layer-wise runs, each with the condition under which they do.
  const std::vector<StepDifference>& step_differences() const { return step_differences_; }

  // The spec of the output. Checks the constants, which need no data.
  ChannelSpec output_spec(const ChannelSpec& input, const Constants& constants) const;
  SequenceSpec output(const SequenceSpec& input, const Constants& constants) const;

  // Runs a whole sequence layer-wise. The result lies in the workspace, or is x itself. The caller
  // has checked the shapes of the emits.
  Sequence apply(Workspace& workspace, const Sequence& x, std::span<Sequence> emits,
                 const Constants& constants) const {
    return apply(workspace, parallel_, x, emits, constants);
  }
  Sequence apply(Workspace& workspace, const Parallel& parallel, const Sequence& x,
                 std::span<Sequence> emits, const Constants& constants) const;
  // The state, emits and plans that the layers declare for an input.
  Declaration declare(const SequenceSpec& input, const Constants& constants) const;
  // The layer tree as JSON, with the properties of each layer.
  std::string describe(const ChannelSpec& input, const Constants& constants) const;

 private:
  Sequence run_layer(Workspace& workspace, const Parallel& parallel, const Sequence& x,
                     std::span<Sequence> emits, const Constants& constants) const;

  std::shared_ptr<const TensorStore> weights_;  // kept alive because layers may point into it
  WeightUse use_;
  Allocator allocator_;
  mutable KeptMemory kept_memory_{allocator_};
  std::unique_ptr<Layer> root_;
  // Destroyed before the layers, which late threads may still be reading.
  Parallel parallel_;
  StepTeam step_team_;
  Parallel step_parallel_;
  ConstantTable constants_;
  std::vector<StepDifference> step_differences_;
  bool masks_input_ = false;
  uint64_t fingerprint_ = 0;
};

}  // namespace sl
