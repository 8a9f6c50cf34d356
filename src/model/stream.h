// Streams: step-wise runs of a model, with all of their memory in one contiguous allocation.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/view.h"
#include "model/model.h"

namespace sl {

struct StreamOptions {
  int64_t batch = 1;
  int64_t max_steps = 0;  // maximum number of steps of one call; 0: one block
  ChannelSpec input;
  // Specs of the constants, without data.
  std::span<const View> constants;
  std::span<const std::string> constant_names;
  // Whether to find out by a rehearsal how much workspace steps need.
  bool rehearse = true;
  int64_t max_length = 0;  // maximum number of steps of the stream; 0: it has no end
};

// The layout of a stream and its memory, found out by declaring and rehearsing. Runs only read it.
class StreamPlan {
 public:
  StreamPlan(const Model& model, const StreamOptions& options);

  const Model& model() const { return *model_; }
  const SequenceSpec& input() const { return input_; }
  int64_t block_size() const { return block_size_; }
  const ChannelSpec& output() const { return output_; }
  // The number of output steps for `time` input steps, which are whole blocks.
  int64_t output_time(int64_t time) const {
    return checked_product(time / block_size_, block_output_);
  }
  const std::vector<StateSpec>& state() const { return specs_; }
  // The tensors in a state's memory.
  StateTensors tensors(const std::byte* data) const {
    return {specs_, offsets_, const_cast<std::byte*>(data)};
  }
  const std::vector<EmitSpec>& emits() const { return emits_; }
  // The spec of an emit for a call of `time` steps.
  SequenceSpec emit(size_t index, int64_t time) const;
  size_t constant_count() const { return constants_.size(); }
  std::string_view constant_name(size_t index) const { return constants_[index].name; }
  // Fails if a constant of a step has another name or shape than the stream was made for. A
  // streamed constant has the steps that belong to a call of `time` steps.
  void check_constant(size_t index, std::string_view name, const View& view, int64_t time) const;
  size_t data_bytes() const { return data_bytes_; }
  size_t workspace_bytes(Side side) const { return workspace_bytes_[static_cast<size_t>(side)]; }
  // The size of a stream's memory: state and workspace.
  size_t bytes() const { return data_bytes_ + workspace_bytes_[0] + workspace_bytes_[1]; }
  // A hash of the model, the options and the layout, which saved states are checked with.
  uint64_t fingerprint() const { return fingerprint_; }
  // The options, a line for each: its name and its value.
  const std::string& options() const { return options_; }
  // Fails with the differences between the options and those of `what`.
  [[noreturn]] void fail_options(std::string_view what, std::string_view others) const;

  // Set the state, or one batch item of it, to the start of a stream.
  void initialise(std::byte* data) const;
  void initialise_item(std::byte* data, int64_t item) const;
  // Fails if the bytes of a saved state contain an index that no step can have left there.
  void check_data(const std::byte* data) const;
  // Runs each kind of step once on a state and a workspace, whose contents it overwrites. The
  // longest call has valid steps if `valid`.
  void rehearse(std::byte* data, Workspace& workspace, bool valid) const;
  // Fails if `time` more steps would exceed max_length.
  void check_room(const std::byte* data, int64_t time) const;
  // Computes what a stream keeps of its constants, which are given as for a step of one block.
  // Allocates.
  void prepare(std::byte* data, std::span<const View> constants) const;
  // Runs one step on a state; check_room was called before. `imported` is scratch for the
  // constants. `emits` is empty if none are wanted.
  void step(std::byte* data, Workspace& workspace, const Parallel& parallel, const View& x,
            const View& y, std::span<const View> constants, std::span<Constant> imported,
            std::span<Sequence> emits) const;
  // Copies the state `source` to `data`. The plans may differ in max_steps and max_length; if they
  // differ in more, it fails before it writes.
  void rebase(std::byte* data, const StreamPlan& source_plan, const std::byte* source) const;
  // Like rebase, but copies one batch item over another. The plans may also differ in batch.
  void rebase_item(std::byte* data, int64_t item, const StreamPlan& source_plan,
                   const std::byte* source, int64_t source_item) const;

  // The shape of a constant in a call of `time` steps: a streamed constant has the steps that
  // belong to the call, any other constant is whole.
  Shape constant_dims(size_t index, int64_t time) const;
  bool is_streamed(size_t index) const { return constants_[index].streamed; }

 private:
  void declare();
  // The number of steps that an item of a stream with an end has had, and the maximum of all items.
  int64_t length(const std::byte* data, int64_t item) const;
  int64_t length(const std::byte* data) const;
  // Gives a run the state tensors and plans for its layers.
  void bind(Run& run, std::byte* data, bool checks) const;
  // Sets all indices to the start of a stream, since they decide which path a step takes. With
  // `keeps_constants`, those of what is kept of constants stay, so that a step takes the later
  // path.
  void restart(std::byte* data, bool keeps_constants) const;
  // Fails unless an item of `source` that has had `had` steps can continue in this plan.
  void check_rebase(const StreamPlan& source, int64_t had, bool any_batch) const;
  // The options, with those of the other plan where the two may differ and yet exchange states.
  std::string options_text(const StreamPlan& like, bool any_batch) const;
  // Whether the constant of that index is one of the other plan too, in a step of one block.
  bool has_constant_of(const StreamPlan& other, size_t index) const;
  void copy_item(std::byte* data, int64_t item, const StreamPlan& source_plan,
                 const std::byte* source, int64_t source_item) const;
  // Runs a step of zeros with the given constants.
  void rehearse_step(std::byte* data, Workspace& workspace, const Parallel& parallel, int64_t time,
                     bool valid, std::span<const View> constants) const;
  // Constants of zeros for a call of `time` steps.
  std::vector<View> zero_constants(int64_t time) const;

  struct PlannedConstant {
    std::string name;
    View view;  // dtype and shape; its data are zeros
    bool streamed = false;
  };

  void plan_constants(const StreamOptions& options);
  // The number of steps of a streamed constant that belong to a call of `time` steps.
  int64_t share_of(const PlannedConstant& constant, int64_t time) const {
    return checked_product(constant.view.dims[1], time) / input_.time;
  }

  const Model* model_;
  SequenceSpec input_;
  int64_t block_size_ = 1;
  int64_t block_output_ = 1;  // number of output steps for a block of input
  ChannelSpec output_;
  std::vector<PlannedConstant> constants_;
  std::vector<std::byte> zeros_;
  std::vector<StateSpec> specs_;
  std::vector<size_t> offsets_;
  std::vector<StepPlan> plans_;
  std::vector<EmitSpec> emits_;
  size_t data_bytes_ = 0;
  size_t workspace_bytes_[2] = {0, 0};
  uint64_t fingerprint_ = 0;
  std::string options_;
};

class Stream {
 public:
  // `memory`: plan.bytes() bytes, aligned to kAlignment.
  Stream(StreamPlan plan, std::byte* memory);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  const StreamPlan& plan() const { return plan_; }
  std::byte* data() { return data_; }
  StateTensor tensor(size_t index) const { return plan_.tensors(data_)[index]; }

  // The caller fills these before a step: the memory for its emits (without values if an emit is
  // not wanted) and its constants.
  std::span<Sequence> emits() { return emits_; }
  std::span<View> constants() { return constants_; }
  // Real-time. The caller has checked shapes against the plan. Fails before it changes anything if
  // the step would exceed max_length.
  // Runs on the calling thread, or as `parallel` says.
  void step(const View& x, const View& y, bool with_emits, const Parallel* parallel = nullptr);
  void reset() { plan_.initialise(data_); }
  void reset_item(int64_t item) { plan_.initialise_item(data_, item); }
  // Computes what the stream keeps of its constants. Allocates.
  void prepare() { plan_.prepare(data_, constants_); }
  void copy_from(const Stream& source);
  void copy_item(int64_t item, const Stream& source, int64_t source_item);
  size_t save_bytes() const;
  void save(std::byte* out) const;
  void load(const std::byte* in, size_t size);

  static constexpr size_t kMaxConstants = 32;

 private:
  StreamPlan plan_;
  std::byte* data_;
  Workspace workspace_;
  // These vectors keep their sizes, so that steps do not allocate.
  std::vector<Sequence> emits_;
  std::vector<View> constants_;
  std::vector<Constant> imported_;
};

}  // namespace sl
