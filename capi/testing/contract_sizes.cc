#include "testing/contract_sizes.h"

#include <algorithm>
#include <utility>

namespace sl::testing {
namespace {

// Calls of more blocks than this run without emits: those of an attention hold steps x keys values
// per batch item.
constexpr int64_t kMostWhole = 7;

Tensor first_item(Tensor x, int64_t batch) {
  if (x.dims.empty() || x.dims[0] != batch || batch == 0) return x;
  x.bytes.resize(x.bytes.size() / static_cast<size_t>(batch));
  x.mask.resize(x.mask.size() / static_cast<size_t>(batch));
  x.dims[0] = 1;
  return x;
}

Input first_item(const Input& input) {
  const int64_t batch = input.x.batch();
  Input out{first_item(input.x, batch), {}};
  for (const NamedTensor& constant : input.constants)
    out.constants.push_back({constant.name, first_item(constant.value, batch)});
  return out;
}

// Runs the whole input from the start of the stream, in calls of `blocks` blocks.
Tensor run_in_calls(Stepper& stepper, const Layer& layer, int64_t blocks) {
  std::vector<Tensor> outputs;
  for (int64_t begin = 0; begin < stepper.num_steps(); begin += blocks)
    outputs.push_back(stepper.call(begin, begin + blocks));
  if (outputs.empty()) return stepper.run(0, 0);
  return drop_steps(concat_time(outputs), layer.output_latency());
}

Comparison check_calls_of(const Case& c, const Tensor& whole, int64_t blocks) {
  const bool all_items = blocks <= kMostWhole;
  Stepper::Options options;
  options.max_steps = blocks;
  options.with_emits = all_items;
  Stepper stepper(*c.layer, all_items ? c.input : first_item(c.input), options);
  const Tensor y = all_items ? whole : first_item(whole, whole.batch());
  Comparison all;
  for (const int64_t size : {blocks, int64_t{1}}) {
    if (size > 1 && !c.test_2x_step) continue;
    const Comparison one = compare_sequences(run_in_calls(stepper, *c.layer, size), y, c.tolerance);
    all.largest = std::max(all.largest, one.largest);
    if (!one.ok()) return {"calls of " + std::to_string(size) + ": " + one.reason, all.largest};
    stepper.reset();
  }
  if (stepper.allocations() == 0) return all;
  return {std::to_string(stepper.allocations()) + " heap calls or locks", all.largest};
}

}  // namespace

Comparison check_call_sizes(const Case& c, const Tensor& y) {
  Comparison all;
  for (const int64_t blocks : c.call_sizes) {
    Comparison one;
    try {
      one = check_calls_of(c, y, blocks);
    } catch (const Error& error) {
      one.reason = error.what();
    }
    all.largest = std::max(all.largest, one.largest);
    if (!one.ok())
      return {"a stream for " + std::to_string(blocks) + " blocks: " + one.reason, all.largest};
  }
  return all;
}

}  // namespace sl::testing
