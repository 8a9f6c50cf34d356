#include "testing/contract_state.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace sl::testing {
namespace {

Comparison check_allocations(const Layer& layer, const Input& input) {
  Stepper stepper(layer, input);
  stepper.run(0, stepper.num_steps());
  stepper.reset();
  stepper.load(stepper.save());
  const int64_t n = stepper.allocations();
  if (n == 0) return {};
  return {std::to_string(n) + " heap calls or locks in " + std::to_string(stepper.num_steps()) +
          " steps, reset, save and load"};
}

Comparison check_reset(const Layer& layer, const Input& input) {
  Stepper stepper(layer, input);
  const Tensor first = stepper.run(0, stepper.num_steps());
  stepper.reset();
  return compare_bits(stepper.run(0, stepper.num_steps()), first);
}

// Saves the state in the middle of the stream, overwrites it, and loads it into the same stream and
// into another one.
Comparison check_save_load(const Layer& layer, const Input& input) {
  Stepper stepper(layer, input);
  const int64_t end = stepper.num_steps(), half = end / 2;
  stepper.run(0, half);
  const std::vector<uint8_t> bytes = stepper.save();
  const Tensor want = stepper.run(half, end);
  stepper.reset();
  stepper.run(0, end);
  stepper.load(bytes);
  if (Comparison same = compare_bits(stepper.run(half, end), want); !same.ok()) return same;
  Stepper other(layer, input);
  other.load(bytes);
  return compare_bits(other.run(half, end), want);
}

// Loading bytes that are not a whole saved state fails and leaves the stream unchanged.
Comparison check_bad_load(const Layer& layer, const Input& input) {
  Stepper stepper(layer, input);
  const int64_t end = stepper.num_steps(), half = end / 2;
  stepper.run(0, half);
  const std::vector<uint8_t> bytes = stepper.save();
  const Tensor want = stepper.run(half, end);
  stepper.load(bytes);
  std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<int64_t>(bytes.size() / 2));
  std::vector<uint8_t> broken = bytes;
  if (!broken.empty()) broken[0] = static_cast<uint8_t>(broken[0] ^ 0xff);
  for (const std::vector<uint8_t>& bad : {cut, broken}) {
    try {
      stepper.state().load(bad);
      return {"an invalid saved state was loaded"};
    } catch (const Error&) {
    }
  }
  return compare_bits(stepper.run(half, end), want);
}

Comparison check_fork(const Layer& layer, const Input& input) {
  Stepper stepper(layer, input);
  const int64_t end = stepper.num_steps(), half = end / 2;
  stepper.run(0, half);
  Stepper fork(layer, input);
  fork.run(0, end);  // leaves values that the fork must overwrite
  const int64_t before = fork.allocations();
  fork.copy_from(stepper);
  if (fork.allocations() != before) return {"sl_state_copy allocates or locks"};
  const Tensor want = stepper.run(half, end);
  return compare_bits(fork.run(half, end), want);
}

// A copy of x whose last item has at `at` its steps from `from` on, and then invalid steps.
Tensor with_last_moved(const Tensor& x, int64_t at, int64_t from) {
  const Tensor last = slice_batch(x, x.batch() - 1, 1);
  const Tensor moved =
      concat_time({slice_time(last, 0, at), slice_time(last, from, from + x.time() - at)});
  return concat_batch({slice_batch(x, 0, x.batch() - 1), moved});
}

// The input with its last item moved, together with the constants that run along with it. Returns
// nothing if a constant has one batch item for all.
std::optional<Input> with_last_moved(const Layer& layer, const Input& input, int64_t at,
                                     int64_t from) {
  Input out{with_last_moved(input.x, at, from), input.constants};
  for (const sl_constant_info& info : layer.constants()) {
    for (NamedTensor& constant : out.constants) {
      Tensor& value = constant.value;
      const bool whole = value.is_array && info.kind != SL_CONSTANT_KIND_ARRAY;
      if (constant.name != info.name || !info.streamed || whole) continue;
      if (value.batch() != input.x.batch() || value.time() % input.x.time() != 0) return {};
      const int64_t rate = value.time() / input.x.time();
      const bool is_array = std::exchange(value.is_array, false);
      if (is_array) value.mask.assign(static_cast<size_t>(value.batch() * value.time()), 1);
      value = with_last_moved(value, at * rate, from * rate);
      value.is_array = is_array;
      if (is_array) value.mask.clear();
    }
  }
  return out;
}

// Runs blocks of an input whose last item is moved. `all` is the output for all blocks of the
// original input: the last item must give its blocks from `last_from` on, all other items those
// from `others_from` on.
Comparison compare_items(Stepper& stepper, int64_t begin, int64_t end, const Tensor& all,
                         int64_t blocks, int64_t others_from, int64_t last_from) {
  const Tensor got = stepper.run(begin, end);
  const int64_t last = all.batch() - 1, per_block = all.time() / stepper.num_steps();
  const auto wanted = [&](int64_t from, int64_t count) {
    return slice_time(all, from * per_block, (from + count) * per_block);
  };
  Comparison others = compare_bits(slice_batch(got, 0, last),
                                   slice_batch(wanted(others_from, end - begin), 0, last));
  if (!others.ok()) return {"other items: " + others.reason};
  return compare_bits(slice_time(slice_batch(got, last, 1), 0, blocks * per_block),
                      slice_batch(wanted(last_from, blocks), last, 1));
}

// Resets one item of a batch, or copies it from another state, while the others continue. Each item
// must give what it gives in a stream where all items step together.
Comparison check_items(const Layer& layer, const Input& input) {
  Stepper whole(layer, input);
  const int64_t end = whole.num_steps(), half = end / 2, last = input.x.batch() - 1;
  const int64_t block = layer.block_size(), at = half * block;
  const int64_t blocks = std::min(end - half, (input.x.time() - at) / block);
  if (last < 1 || half == 0 || blocks < 1) return {};
  const std::optional<Input> restarted = with_last_moved(layer, input, at, 0),
                             continued = with_last_moved(layer, input, 0, at);
  if (!restarted || !continued) return {};
  whole.run(0, half);
  Stepper copied(layer, *continued);
  copied.copy_item(last, whole);
  whole.reset();
  const Tensor all = whole.run(0, end);

  Stepper reset(layer, *restarted);
  reset.run(0, half);
  reset.reset_item(last);
  Comparison same = compare_items(reset, half, end, all, blocks, half, 0);
  if (!same.ok()) return {"an item reset alone: " + same.reason};
  same = compare_items(copied, 0, end - half, all, blocks, 0, half);
  if (!same.ok()) return {"an item copied alone: " + same.reason};
  if (reset.allocations() + copied.allocations() == 0) return {};
  return {"a reset or copied item makes steps allocate or lock"};
}

Comparison check_own_memory(const Layer& layer, const Input& input) {
  Stepper stepper(layer, input);
  Stepper::Options options;
  options.own_memory = true;
  Stepper placed(layer, input, options);
  const Tensor want = stepper.run(0, stepper.num_steps());
  return compare_bits(placed.run(0, placed.num_steps()), want);
}

// sl_state_prepare computes what the first step would compute from constants.
Comparison check_prepare(const Layer& layer, const Input& input) {
  Stepper stepper(layer, input), prepared(layer, input);
  prepared.prepare();
  const Tensor want = stepper.run(0, stepper.num_steps());
  if (Comparison same = compare_bits(prepared.run(0, prepared.num_steps()), want); !same.ok())
    return same;
  if (stepper.num_steps() == 0 || prepared.save() == stepper.save()) return {};
  return {"sl_state_prepare changes the state that steps lead to"};
}

// A stream accepts as many steps as its maximum length, and refuses more without changing.
Comparison check_max_length(const Layer& layer, const Input& input) {
  Stepper::Options options;
  options.ends = true;
  Stepper stepper(layer, input, options);
  const int64_t end = stepper.num_steps();
  if (end == 0) return {};
  stepper.run(0, end);
  const std::vector<uint8_t> before = stepper.save();
  try {
    stepper.run(0, 1);
    return {"a step past max_length is not refused"};
  } catch (const Error& error) {
    if (error.status() != SL_STATUS_LENGTH)
      return {std::string("a step past max_length: ") + error.what()};
  }
  if (stepper.save() != before) return {"a step past max_length changes the state"};
  return {};
}

}  // namespace

const std::vector<StateCheck>& state_checks() {
  static const std::vector<StateCheck> kChecks = {
      {"no allocation in steps", check_allocations},
      {"reset mid-stream", check_reset, true},
      {"save and load mid-stream", check_save_load, true},
      {"broken saves are refused", check_bad_load},
      {"fork mid-stream", check_fork},
      {"items reset and copied alone", check_items, true},
      {"state in caller's memory", check_own_memory},
      {"max_length is the end", check_max_length},
      {"constants prepared before", check_prepare},
  };
  return kChecks;
}

}  // namespace sl::testing
