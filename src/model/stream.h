// Streams: the state of one run step by step, in one contiguous block of memory.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/view.h"
#include "model/model.h"

namespace sl {

struct StreamOptions {
  int64_t batch = 1;
  int64_t max_steps = 0;  // 0: one block
  ChannelSpec input;
  // Specs only.
  std::span<const View> constants;
  std::span<const std::string> constant_names;
  // Whether to find out what workspace steps need.
  bool rehearse = true;
  int64_t max_length = 0;  // the most steps of the stream; 0: it has no end
};

// What a stream needs, found out by declaring and rehearsing.
class StreamPlan {
 public:
  StreamPlan(const Model& model, const StreamOptions& options);

  const Model& model() const { return *model_; }
  const SequenceSpec& input() const { return input_; }
  int64_t block_size() const { return block_size_; }
  const ChannelSpec& output() const { return output_; }
  // Of whole blocks.
  int64_t output_time(int64_t time) const {
    return checked_product(time / block_size_, block_output_);
  }
  const std::vector<StateSpec>& state() const { return specs_; }
  // The tensors in a state's memory.
  StateTensors tensors(const std::byte* data) const {
    return {specs_, offsets_, const_cast<std::byte*>(data)};
  }
  const std::vector<EmitSpec>& emits() const { return emits_; }
  // That of a call of `time` steps.
  SequenceSpec emit(size_t index, int64_t time) const;
  size_t constant_count() const { return constants_.size(); }
  std::string_view constant_name(size_t index) const { return constants_[index].name; }
  // Fails if a step's constant is not of the name and shape that the stream was made for. A
  // streamed one has its share for a call of `time` steps.
  void check_constant(size_t index, std::string_view name, const View& view, int64_t time) const;
  size_t data_bytes() const { return data_bytes_; }
  size_t workspace_bytes(Side side) const { return workspace_bytes_[static_cast<size_t>(side)]; }
  // All of a stream's memory.
  size_t bytes() const { return data_bytes_ + workspace_bytes_[0] + workspace_bytes_[1]; }
  // Of model, options and layout.
  uint64_t fingerprint() const { return fingerprint_; }

  // The start of a stream; of one item of its batch.
  void initialise(std::byte* data) const;
  void initialise_item(std::byte* data, int64_t item) const;
  // Fails if bytes that are to be a state hold an index that no step leaves there.
  void check_data(const std::byte* data) const;
  // Runs what steps can look like on a state and a workspace, which it leaves used; the longest
  // call of valid or invalid steps.
  void rehearse(std::byte* data, Workspace& workspace, bool valid) const;
  // Fails if the stream has had so many steps that `time` more are too many.
  void check_room(const std::byte* data, int64_t time) const;
  // Makes what streams keep of their constants, which are those of a step of one block. Allocates.
  void prepare(std::byte* data, std::span<const View> constants) const;
  // One step on a state, for which there is room. `imported` is room for the constants; without
  // emits none are wanted.
  void step(std::byte* data, Workspace& workspace, const Parallel& parallel, const View& x,
            const View& y, std::span<const View> constants, std::span<Constant> imported,
            std::span<Sequence> emits) const;
  // Makes `data` the state that `source`, of a plan that may differ in max_steps and max_length,
  // has come to. Fails before it writes if the plans differ in more.
  void rebase(std::byte* data, const StreamPlan& source_plan, const std::byte* source) const;
  // The same for one item, which takes the place of another; the batches may differ too.
  void rebase_item(std::byte* data, int64_t item, const StreamPlan& source_plan,
                   const std::byte* source, int64_t source_item) const;

  // Steps that a call of `time` steps gives of a streamed constant, and the whole of any other.
  Shape constant_dims(size_t index, int64_t time) const;
  bool is_streamed(size_t index) const { return constants_[index].streamed; }

 private:
  void declare();
  // Steps that an item of a stream with an end has had, and the maximum of all items.
  int64_t length(const std::byte* data, int64_t item) const;
  int64_t length(const std::byte* data) const;
  // What the layers of a run use.
  void bind(Run& run, std::byte* data, bool checks) const;
  // What decides which way a step takes is as at the start of a stream, but that what is kept of
  // constants can be there.
  void restart(std::byte* data, bool keeps_constants) const;
  // Fails unless items of the source, which has had that many steps, can go on in this plan.
  void check_rebase(const StreamPlan& source, int64_t had) const;
  void copy_item(std::byte* data, int64_t item, const StreamPlan& source_plan,
                 const std::byte* source, int64_t source_item) const;
  // A step of zeros, of the given constants.
  void rehearse_step(std::byte* data, Workspace& workspace, const Parallel& parallel, int64_t time,
                     bool valid, std::span<const View> constants) const;
  // Zeros for a call of `time` steps.
  std::vector<View> zero_constants(int64_t time) const;

  struct PlannedConstant {
    std::string name;
    View view;  // of zeros
    bool streamed = false;
  };

  void plan_constants(const StreamOptions& options);
  // Steps of a streamed constant in a call of `time` steps.
  int64_t share_of(const PlannedConstant& constant, int64_t time) const {
    return checked_product(constant.view.dims[1], time) / input_.time;
  }

  const Model* model_;
  SequenceSpec input_;
  int64_t block_size_ = 1;
  int64_t block_output_ = 1;  // steps that a block of input makes
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

  // Filled before a step: where its emits go (those without values are not wanted), and its
  // constants.
  std::span<Sequence> emits() { return emits_; }
  std::span<View> constants() { return constants_; }
  // Real-time. Shapes were checked against the plan. Fails, before it begins, without room.
  void step(const View& x, const View& y, bool with_emits);
  void reset() { plan_.initialise(data_); }
  void reset_item(int64_t item) { plan_.initialise_item(data_, item); }
  // As the plan does, with the stream's constants.
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
  // Of fixed sizes, so that steps do not allocate.
  std::vector<Sequence> emits_;
  std::vector<View> constants_;
  std::vector<Constant> imported_;
};

}  // namespace sl
