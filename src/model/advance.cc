#include "model/advance.h"

#include <algorithm>

namespace sl {
namespace {

// Maximum size of a block: enough steps that the overhead of a call is small compared with their
// cost, and fewer where frames are large.
constexpr int64_t kMaxSteps = 1024;
constexpr int64_t kMaxBytes = int64_t{1} << 24;

int64_t steps_per_block(const StreamPlan& plan, int64_t batch, int64_t time) {
  const auto frame_bytes = [](const ChannelSpec& spec) {
    return checked_product(spec.shape.size(), static_cast<int64_t>(size_of(spec.dtype)));
  };
  const int64_t bytes = checked_product(
      batch, std::max(frame_bytes(plan.input().channels), frame_bytes(plan.output())));
  const int64_t steps = std::clamp<int64_t>(kMaxBytes / std::max<int64_t>(bytes, 1), 1, kMaxSteps);
  return std::min(time, round_up(steps, plan.block_size()));
}

// The plan of the same stream as `plan`, but with another batch and max_steps.
StreamPlan plan_like(const StreamPlan& plan, int64_t batch, int64_t max_steps,
                     std::span<const View> constants) {
  std::vector<View> specs(constants.begin(), constants.end());
  std::vector<std::string> names;
  for (size_t i = 0; i < specs.size(); ++i) {
    specs[i].dims = plan.constant_dims(i, max_steps, batch);
    names.emplace_back(plan.constant_name(i));
  }
  const SequenceSpec& input = plan.input();
  return StreamPlan(plan.model(), {batch, max_steps, input.channels, specs, names,
                                   /*rehearse=*/false, input.max_length});
}

// Holds the emits of one call and copies them to their position in the emits of the whole sequence.
class EmitParts {
 public:
  EmitParts(const StreamPlan& plan, const StreamPlan& of_steps, std::span<const View> all)
      : plan_(plan), all_(all), parts_(all.size()) {
    for (size_t i = 0; i < all.size(); ++i) {
      const SequenceSpec spec = plan.emit(i, plan.input().time);
      if (all[i].data && spec.channels != of_steps.emit(i, of_steps.input().time).channels) {
        fail(Code::kUnsupported, "emit \"{}\" depends on the steps of a call: only steps give it",
             plan.emits()[i].path);
      }
      Sequence& part = parts_[i];
      part.dtype = spec.channels.dtype;
      part.channels = spec.channels.shape;
      part.batch = spec.batch;
      part.time = spec.time;
      if (!all[i].data) continue;
      const size_t steps = static_cast<size_t>(part.steps());
      memory_.emplace_back(checked_add(align_up(part.bytes()), align_up(steps)),
                           plan.model().allocator());
      part.values = memory_.back().data();
      part.mask = reinterpret_cast<uint8_t*>(part.values + align_up(part.bytes()));
    }
  }

  std::span<Sequence> of_call(int64_t time) {
    for (size_t i = 0; i < parts_.size(); ++i) parts_[i].time = plan_.emit(i, time).time;
    return parts_;
  }
  // Copies the emits of a call that began at step t.
  void put(int64_t t) const {
    for (size_t i = 0; i < parts_.size(); ++i) {
      if (parts_[i].values)
        export_sequence(parts_[i], all_[i].slice(plan_.emit(i, t).time, parts_[i].time));
    }
  }

 private:
  const StreamPlan& plan_;
  std::span<const View> all_;
  std::vector<Sequence> parts_;
  std::vector<Block> memory_;
};

}  // namespace

void advance(Stream& stream, const Slots& slots, const Parallel& parallel, const View& x,
             const View& y, std::span<const View> constants, std::span<const View> emits,
             TokenSource* source) {
  const int64_t time = x.dims[1];
  if (time == 0) return;
  stream.plan().check_room(stream.data(), time, slots);
  const int64_t block = steps_per_block(stream.plan(), slots.count, time);
  const StreamPlan plan = plan_like(stream.plan(), slots.count, block, constants);
  const Model& model = plan.model();
  const Block data(plan.data_bytes(), model.allocator());
  for (int64_t b = 0; b < slots.count; ++b) {
    plan.initialise_item(data.data(), b);
    plan.continue_item(data.data(), b, stream.plan(), stream.data(), slots[b]);
  }

  const Parallel::Active active(parallel);
  KeptMemory::Workspace workspace(model.kept_memory());
  std::vector<View> shares(constants.begin(), constants.end());
  std::vector<Constant> imported(constants.size());
  EmitParts parts(plan, stream.plan(), emits);
  for (int64_t t = 0; t < time; t += block) {
    const int64_t count = std::min(block, time - t);
    for (size_t i = 0; i < shares.size(); ++i) {
      if (!plan.is_streamed(i)) continue;
      const int64_t first = plan.constant_dims(i, t)[1];
      shares[i] = constants[i].slice(first, plan.constant_dims(i, count)[1]);
    }
    const int64_t from = plan.output_time(t);
    plan.step(data.data(), *workspace, parallel, plan.all_slots(), x.slice(t, count),
              y.slice(from, plan.output_time(count)), shares, imported, parts.of_call(count),
              source);
    parts.put(t);
  }
  for (int64_t b = 0; b < slots.count; ++b)
    stream.plan().continue_item(stream.data(), slots[b], plan, data.data(), b);
}

}  // namespace sl
