#include "model/advance.h"

#include <algorithm>

namespace sl {
namespace {

// Enough that the cost of a call is small in that of its steps; fewer where steps are large.
constexpr int64_t kMostSteps = 1024;
constexpr int64_t kMostBytes = int64_t{1} << 24;

int64_t steps_per_block(const StreamPlan& plan, int64_t time) {
  const auto frame_bytes = [](const ChannelSpec& spec) {
    return spec.shape.size() * static_cast<int64_t>(size_of(spec.dtype));
  };
  const int64_t bytes =
      plan.input().batch * std::max(frame_bytes(plan.input().channels), frame_bytes(plan.output()));
  const int64_t steps =
      std::clamp<int64_t>(kMostBytes / std::max<int64_t>(bytes, 1), 1, kMostSteps);
  return std::min(time, round_up(steps, plan.block_size()));
}

// The plan of a stream like that of `plan`, of other max_steps.
StreamPlan plan_like(const StreamPlan& plan, int64_t max_steps, std::span<const View> constants) {
  std::vector<View> specs(constants.begin(), constants.end());
  std::vector<std::string> names;
  for (size_t i = 0; i < specs.size(); ++i) {
    specs[i].dims = plan.constant_dims(i, max_steps);
    names.emplace_back(plan.constant_name(i));
  }
  const SequenceSpec& input = plan.input();
  return StreamPlan(plan.model(), {input.batch, max_steps, input.channels, specs, names,
                                   /*rehearse=*/false, input.max_length});
}

}  // namespace

void advance(Stream& stream, const View& x, const View& y, std::span<const View> constants) {
  const int64_t time = x.dims[1];
  if (time == 0) return;
  stream.plan().check_room(stream.data(), time);
  const int64_t block = steps_per_block(stream.plan(), time);
  const StreamPlan plan = plan_like(stream.plan(), block, constants);
  const Model& model = plan.model();
  const Block data(plan.data_bytes(), model.allocator());
  plan.rebase(data.data(), stream.plan(), stream.data());

  Workspace workspace(model.allocator());
  std::vector<View> shares(constants.begin(), constants.end());
  std::vector<Constant> imported(constants.size());
  for (int64_t t = 0; t < time; t += block) {
    const int64_t count = std::min(block, time - t);
    for (size_t i = 0; i < shares.size(); ++i) {
      if (!plan.is_streamed(i)) continue;
      const int64_t first = plan.constant_dims(i, t)[1];
      shares[i] = constants[i].slice(first, plan.constant_dims(i, count)[1]);
    }
    const int64_t from = plan.output_time(t);
    plan.step(data.data(), workspace, model.parallel(), x.slice(t, count),
              y.slice(from, plan.output_time(count)), shares, imported, {});
  }
  stream.plan().rebase(stream.data(), plan, data.data());
}

}  // namespace sl
