// Runs a layer over a whole host tensor, layer-wise or step-wise.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_RUNNER_H_
#define SEQUENCE_LAYERS_CAPI_CLI_RUNNER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cli/api.h"
#include "cli/tensor.h"

namespace sl::cli {

using Constants = std::vector<NamedTensor>;

// What goes into a run.
struct Input {
  Tensor x;
  Constants constants;
};

// What the model says of its constants.
std::vector<sl_constant_info> constant_infos(const sl_layer* layer);

// The views of constants in the form that the ABI takes; the constants must outlive it.
std::vector<sl_constant> views(const Constants& constants);

// The layer-wise output; also its emits if a place for them is given.
Tensor apply(const sl_layer* layer, const Input& input, std::vector<NamedTensor>* emits = nullptr);

// Dtype and dims of the layer-wise output.
sl_sequence output_shape(const sl_layer* layer, const Input& input);

// Channel spec of the output for that input.
sl_channel_spec output_spec(const sl_layer* layer, const Input& input);

// Zeroed emits with their paths and the shapes that they have for an x of these constants.
// Those of a step are a stream's, if its state is given.
std::vector<NamedTensor> make_emits(const sl_layer* layer, sl_mode mode, const Tensor& x,
                                    const Constants& constants, sl_state* state = nullptr);

// A finite input cut into blocks, and a stream to run them through. The input is padded with
// `input_latency` invalid steps, and then up to a multiple of the block. The stream takes that many
// steps and no more, if the layer needs an end.
class Stepper {
 public:
  struct Options {
    int64_t blocks_per_step = 1;
    int64_t max_steps = 1;    // of blocks_per_step each, that one call of `call` takes
    bool own_memory = false;  // the state lives in the stepper's memory, not the library's
    bool with_emits = false;
    bool ends = false;  // even if the layer does not need it
  };

  Stepper(const sl_layer* layer, const Input& input, Options options);
  Stepper(const sl_layer* layer, const Input& input) : Stepper(layer, input, Options()) {}

  int64_t num_steps() const { return num_steps_; }
  // Runs the blocks [begin, end) on the stream as it stands; returns their raw outputs, latency
  // included. `progress` is told the number of blocks done.
  Tensor run(int64_t begin, int64_t end, const std::function<void(int64_t)>& progress = nullptr);
  // Runs the blocks [begin, end) in one call of sl_layer_step; returns its raw output.
  Tensor call(int64_t begin, int64_t end);
  // The blocks [0, end) in one layer-wise call, after which the stream goes on: what run(0, end)
  // gives. Also the emits if a place for them is given.
  Tensor prefill(int64_t end, std::vector<NamedTensor>* emits = nullptr);
  // Runs everything and drops the first `output_latency` steps.
  Tensor run_all(const std::function<void(int64_t)>& progress = nullptr);

  sl_state* state() { return state_.get(); }
  // Heap calls and locks in all calls made so far.
  int64_t allocations() const { return allocations_; }
  // Time spent in steps alone, over all runs.
  std::chrono::nanoseconds step_time() const { return step_time_; }
  // Of the last run, concatenated over time.
  const std::vector<NamedTensor>& emits() const { return emits_; }

  // The ABI's real-time calls on states, counted too.
  void reset();
  void prepare();  // is not
  std::vector<uint8_t> save();
  void load(const std::vector<uint8_t>& bytes);
  void copy_from(const Stepper& source);

 private:
  void make_state();
  Tensor nothing();
  // What goes with the blocks [begin, end).
  Constants constants_of(int64_t begin, int64_t end) const;
  // Counts what call(sl_error*) allocates, and throws what it reports.
  template <typename Call>
  void trapped(Call&& call);

  const sl_layer* layer_;
  Input input_;
  Options options_;
  std::vector<bool> streamed_;  // of each constant, whether it is fed block by block along with x
  int64_t block_ = 1;
  int64_t num_steps_ = 0;
  int64_t allocations_ = 0;
  std::chrono::nanoseconds step_time_{0};
  std::vector<NamedTensor> emits_;
  std::vector<uint8_t> memory_;
  State state_;  // last: freed before its memory
};

// x without its first `steps` steps.
Tensor drop_steps(const Tensor& x, int64_t steps);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_RUNNER_H_
