// Streams: step-wise runs of a model, with all of their memory in one contiguous allocation.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/token_source.h"
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
  // Only moved, since it has spans of its own vectors.
  StreamPlan(StreamPlan&&) = default;

  const Model& model() const { return *model_; }
  const SequenceSpec& input() const { return input_; }
  int64_t block_size() const { return block_size_; }
  const ChannelSpec& output() const { return output_; }
  // The number of output steps for `time` input steps, which are whole blocks.
  int64_t output_time(int64_t time) const {
    return checked_product(time / block_size_, block_output_);
  }
  const std::vector<StateSpec>& state() const { return layout_.specs; }
  // The tensors in a state's memory.
  StateTensors tensors(const std::byte* data) const { return layout_.tensors(data); }
  const std::vector<EmitSpec>& emits() const { return emits_; }
  // The spec of an emit for a call of `time` steps of `items` batch items.
  SequenceSpec emit(size_t index, int64_t time) const { return emit(index, time, input_.batch); }
  SequenceSpec emit(size_t index, int64_t time, int64_t items) const;
  // All slots of a state, in order.
  Slots all_slots() const { return {nullptr, 0, input_.batch}; }
  size_t constant_count() const { return constants_.size(); }
  std::string_view constant_name(size_t index) const { return constants_[index].name; }
  // Fails if a constant of a step has another name or shape than the stream was made for. A
  // streamed constant has the steps that belong to a call of `time` steps, and any the batch of the
  // `items` that the call steps.
  void check_constant(size_t index, std::string_view name, const View& view, int64_t time,
                      int64_t items) const;
  size_t data_bytes() const { return layout_.bytes; }
  size_t workspace_bytes(Side side) const { return workspace_bytes_[static_cast<size_t>(side)]; }
  // The size of a stream's memory: state and workspace.
  size_t bytes() const { return data_bytes() + workspace_bytes_[0] + workspace_bytes_[1]; }
  // How the bytes of a whole state, or of one item, are laid out. Those of an item are the bytes of
  // a state of batch 1.
  struct Layout {
    std::vector<StateSpec> specs;
    std::vector<size_t> offsets;
    size_t bytes = 0;
    // A hash of the model, the options and the layout, which saved states are checked with.
    uint64_t fingerprint = 0;
    // The options, a line for each: its name and its value.
    std::string options;

    StateTensors tensors(const std::byte* data) const {
      return {specs, offsets, const_cast<std::byte*>(data)};
    }
    // Fails with the differences between the options and those of `what`.
    [[noreturn]] void fail_options(std::string_view what, std::string_view others) const;
  };
  const Layout& layout() const { return layout_; }
  const Layout& item_layout() const { return item_layout_; }

  // Set the state, or one batch item of it, to the start of a stream.
  void initialise(std::byte* data) const;
  void initialise_item(std::byte* data, int64_t item) const;
  // Fails if the bytes of a saved state, or item, contain an index that no step can have left
  // there.
  void check_data(const Layout& layout, const std::byte* data) const;
  // Copies the item of a state to bytes of item_layout(), and back.
  void take_item(const std::byte* data, int64_t item, std::byte* out) const;
  void put_item(std::byte* data, int64_t item, const std::byte* in) const;
  // Runs each kind of step once on a state and a workspace, whose contents it overwrites. The
  // longest call has valid steps if `valid`.
  void rehearse(std::byte* data, Workspace& workspace, bool valid) const;
  // Fails if `time` more steps of the slots would exceed max_length.
  void check_room(const std::byte* data, int64_t time, const Slots& slots) const;
  // Computes what a stream keeps of its constants, which are given as for a step of one block.
  // Allocates.
  void prepare(std::byte* data, std::span<const View> constants) const;
  // Runs one step on the slots of a state; check_room was called before. `imported` is scratch for
  // the constants. `emits` is empty if none are wanted. A `token_source` is for models whose root
  // has TokenParts, and y may then be without data.
  void step(std::byte* data, Workspace& workspace, const Parallel& parallel, const Slots& slots,
            const View& x, const View& y, std::span<const View> constants,
            std::span<Constant> imported, std::span<Sequence> emits,
            TokenSource* token_source = nullptr) const;
  // Copies the state `source` to `data`. The plans may differ in max_steps and max_length; if they
  // differ in more, it fails before it writes.
  void rebase(std::byte* data, const StreamPlan& source_plan, const std::byte* source) const;
  // Like rebase, but copies one batch item over another. The plans may also differ in batch.
  void rebase_item(std::byte* data, int64_t item, const StreamPlan& source_plan,
                   const std::byte* source, int64_t source_item) const;
  // Like rebase_item, for a stream that goes on in `data`, which has been initialised once: copies
  // only what later steps read.
  void continue_item(std::byte* data, int64_t item, const StreamPlan& source_plan,
                     const std::byte* source, int64_t source_item) const;

  // The shape of a constant in a call of `time` steps: a streamed constant has the steps that
  // belong to the call, any other constant is whole.
  Shape constant_dims(size_t index, int64_t time) const {
    return constant_dims(index, time, input_.batch);
  }
  Shape constant_dims(size_t index, int64_t time, int64_t items) const;
  bool is_streamed(size_t index) const { return constants_[index].streamed; }

 private:
  void declare();
  Layout make_layout(std::vector<StateSpec> specs, int64_t batch) const;
  // The element i of a tensor of indices.
  static int64_t index_at(const StateTensor& tensor, int64_t i);
  // The number of steps that an item of a stream with an end has had, and the maximum of the slots.
  int64_t length(const StateTensors& tensors, int64_t item) const;
  int64_t length(const std::byte* data, const Slots& slots) const;
  // Gives a run the state tensors and plans for its layers.
  void bind(Run& run, std::byte* data, bool checks) const;
  // Sets all indices to the start of a stream, since they decide which path a step takes. With
  // `keeps_constants`, those of what is kept of constants stay, so that a step takes the later
  // path.
  void restart(std::byte* data, bool keeps_constants) const;
  // Fails unless an item of `source` that has had `had` steps can continue in this plan.
  void check_rebase(const StreamPlan& source, int64_t had, bool any_batch) const;
  // The options for that batch, with those of the other plan where the two may differ and yet
  // exchange states.
  std::string options_text(const StreamPlan& like, int64_t batch) const;
  // Whether the constant of that index is one of the other plan too, in a step of one block.
  bool has_constant_of(const StreamPlan& other, size_t index) const;
  void copy_item(std::byte* data, int64_t item, const StreamPlan& source_plan,
                 const std::byte* source, int64_t source_item, bool whole_rings) const;
  struct Rehearsal {
    int64_t time;
    bool valid;
    bool whole;  // computes what it makes; otherwise large products leave out most of it
  };
  // Runs a step of zeros with the given constants on slots, which are all in any order.
  void rehearse_step(std::byte* data, Workspace& workspace, const Parallel& parallel,
                     const Slots& slots, const Rehearsal& how,
                     std::span<const View> constants) const;
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
  Layout layout_, item_layout_;
  StateTensors of_layers_;  // the layers' tensors, without memory
  std::vector<StepPlan> plans_;
  std::vector<EmitSpec> emits_;
  size_t workspace_bytes_[2] = {0, 0};
};

// Fails unless all are slots of a batch, for each of which there is a mark, and none is there
// twice. All marks are 0 before and afterwards.
Slots check_slots(std::span<const int64_t> slots, std::span<uint8_t> marks);

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
  // Who chooses tokens within the steps that follow, if the model's root has TokenParts; null: they
  // are in the input.
  void set_token_source(TokenSource* source) { token_source_ = source; }
  // Real-time. The caller has checked shapes against the plan. Fails before it changes anything if
  // the step would exceed max_length.
  // Runs on the model's threads for steps, or as `parallel` says.
  void step(const View& x, const View& y, bool with_emits, const Parallel* parallel = nullptr) {
    step(plan_.all_slots(), x, y, with_emits, parallel);
  }
  // Steps some of the slots, whose number is the batch of x and y.
  void step(const Slots& slots, const View& x, const View& y, bool with_emits,
            const Parallel* parallel = nullptr);
  // Fails unless all are slots of the state, and none is there twice.
  Slots check_slots(std::span<const int64_t> slots) { return sl::check_slots(slots, is_stepped_); }
  void reset() { plan_.initialise(data_); }
  void reset_item(int64_t item) { plan_.initialise_item(data_, item); }
  // Computes what the stream keeps of its constants. Allocates.
  void prepare() { plan_.prepare(data_, constants_); }
  void copy_from(const Stream& source);
  void copy_item(int64_t item, const Stream& source, int64_t source_item);
  size_t save_bytes() const;
  void save(std::byte* out) const;
  void load(const std::byte* in, size_t size);
  size_t save_item_bytes() const;
  void save_item(int64_t item, std::byte* out) const;
  // Fails where load_item would.
  void check_saved_item(const std::byte* in, size_t size) const;
  void load_item(int64_t item, const std::byte* in, size_t size);

  static constexpr size_t kMaxConstants = 32;

 private:
  StreamPlan plan_;
  std::byte* data_;
  Workspace workspace_;
  // These vectors keep their sizes, so that steps do not allocate.
  std::vector<Sequence> emits_;
  std::vector<View> constants_;
  std::vector<Constant> imported_;
  std::vector<uint8_t> is_stepped_;  // for each slot, while slots are checked
  TokenSource* token_source_ = nullptr;
};

}  // namespace sl
