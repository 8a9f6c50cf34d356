// Runs a layer over a whole host tensor, layer-wise or step-wise.
#ifndef SEQUENCE_LAYERS_CAPI_TESTING_RUNNER_H_
#define SEQUENCE_LAYERS_CAPI_TESTING_RUNNER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sequence_layers/sequence_layers.hpp"
#include "testing/tensor.h"

namespace sl::testing {

using sequence_layers::check;
using sequence_layers::Error;
using sequence_layers::Layer;
using sequence_layers::State;

using Constants = std::vector<NamedTensor>;

// The arguments of a run: x, and the constants that come with it.
struct Input {
  Tensor x;
  Constants constants;
};

// For each constant, whether a stream gets a part of it with each block.
std::vector<bool> streamed_constants(const Layer& layer, const Constants& constants);

// Views of constants as the ABI takes them. They point into `constants`.
std::vector<sl_constant> views(const Constants& constants);

// Runs the layer on the whole input. Also returns its emits if `emits` is not null, and
// records the run in a profile.
Tensor apply(const Layer& layer, const Input& input, std::vector<NamedTensor>* emits = nullptr,
             sl_profile* profile = nullptr);

// Dtype and dims of the layer-wise output.
sl_sequence output_shape(const Layer& layer, const Input& input);

// Channel spec of the output for that input.
sl_channel_spec output_spec(const Layer& layer, const Input& input);

// Zero-filled emits with their paths, shaped for this x and these constants. In step mode with a
// state, shapes are those of that stream.
std::vector<NamedTensor> make_emits(const Layer& layer, sl_mode mode, const Tensor& x,
                                    const Constants& constants, const State* state = nullptr);

// Cuts a finite input into blocks and runs them through a stream. The input is padded with
// `input_latency` invalid steps, and then to a multiple of the block. If the layer needs a maximum
// length, the stream is created for exactly that many steps.
class Stepper {
 public:
  struct Options {
    int64_t blocks_per_step = 1;
    int64_t max_steps = 1;    // maximum for one `call`, in units of blocks_per_step blocks
    bool own_memory = false;  // puts the state into memory of the stepper, not of the library
    bool with_emits = false;
    bool ends = false;  // sets a maximum length even if the layer does not need it
  };

  // The layer must outlive the stepper.
  Stepper(const Layer& layer, const Input& input, Options options);
  Stepper(const Layer& layer, const Input& input) : Stepper(layer, input, Options()) {}

  int64_t num_steps() const { return num_steps_; }
  // x and constants of call `index` of one step.
  Input block(int64_t index) const;
  // Another state for the stepper's calls, with the batch of the input of one.
  State make_state(const Input& block) const;
  // Runs the blocks [begin, end) on the stream from its current position. Returns the raw outputs,
  // latency included. Calls `progress` with the number of blocks done.
  Tensor run(int64_t begin, int64_t end, const std::function<void(int64_t)>& progress = nullptr);
  // Runs the blocks [begin, end) in one call of sl_layer_step. Returns its raw output.
  Tensor call(int64_t begin, int64_t end);
  // Runs the blocks [0, end) in one layer-wise call, after which the stream continues. Gives what
  // run(0, end) gives, and also the emits if `emits` is not null.
  Tensor prefill(int64_t end, std::vector<NamedTensor>* emits = nullptr);
  // Runs all blocks and drops the first `output_latency` steps of the output.
  Tensor run_all(const std::function<void(int64_t)>& progress = nullptr);

  State& state() { return *state_; }
  // Heap calls and locks in all calls made so far.
  int64_t allocations() const { return allocations_; }
  // Time spent in calls of sl_layer_step, summed over all runs.
  std::chrono::nanoseconds step_time() const { return step_time_; }
  // Emits of the last run, concatenated over time.
  const std::vector<NamedTensor>& emits() const { return emits_; }

  // These forward to the ABI's real-time calls on states, and count allocations too.
  void reset();
  void prepare();  // not real-time
  std::vector<uint8_t> save();
  void load(const std::vector<uint8_t>& bytes);
  void copy_from(const Stepper& source);
  void reset_item(int64_t item);
  void copy_item(int64_t item, const Stepper& source);  // its item of that number

 private:
  sl_state_options state_options(const Input& block, const std::vector<sl_constant>& views) const;
  State make_state();
  Tensor nothing();
  // The constants for the blocks [begin, end): each streamed one cut to its share.
  Constants constants_of(int64_t begin, int64_t end) const;
  // Counts the allocations in call(), unless it throws: a call that fails may allocate.
  template <typename Call>
  void trapped(Call&& call);

  const Layer& layer_;
  Input input_;
  Options options_;
  std::vector<bool> streamed_;  // for each constant, whether it is cut into blocks along with x
  int64_t block_ = 1;
  int64_t num_steps_ = 0;
  int64_t allocations_ = 0;
  std::chrono::nanoseconds step_time_{0};
  std::vector<NamedTensor> emits_;
  std::vector<uint8_t> memory_;
  std::optional<State> state_;  // declared last, to be freed before its memory
};

// x without its first `steps` steps.
Tensor drop_steps(const Tensor& x, int64_t steps);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_CAPI_TESTING_RUNNER_H_
