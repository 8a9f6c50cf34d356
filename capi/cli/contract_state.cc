#include "cli/contract_state.h"

namespace sl::cli {
namespace {

Comparison check_allocations(const sl_layer* layer, const Input& input) {
  Stepper stepper(layer, input);
  stepper.run(0, stepper.num_steps());
  stepper.reset();
  stepper.load(stepper.save());
  const int64_t n = stepper.allocations();
  if (n == 0) return {};
  return {std::to_string(n) + " heap calls or locks in " + std::to_string(stepper.num_steps()) +
          " steps, reset, save and load"};
}

Comparison check_reset(const sl_layer* layer, const Input& input) {
  Stepper stepper(layer, input);
  const Tensor first = stepper.run(0, stepper.num_steps());
  stepper.reset();
  return compare_bits(stepper.run(0, stepper.num_steps()), first);
}

// Saves the state in the middle of the stream, overwrites it, and loads it into the same stream and
// into another one.
Comparison check_save_load(const sl_layer* layer, const Input& input) {
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
Comparison check_bad_load(const sl_layer* layer, const Input& input) {
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
    sl_error error = SL_ERROR_INIT;
    if (sl_state_load(stepper.state(), bad.data(), bad.size(), &error) == SL_STATUS_OK) {
      return {"an invalid saved state was loaded"};
    }
  }
  return compare_bits(stepper.run(half, end), want);
}

Comparison check_fork(const sl_layer* layer, const Input& input) {
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

Comparison check_own_memory(const sl_layer* layer, const Input& input) {
  Stepper stepper(layer, input);
  Stepper::Options options;
  options.own_memory = true;
  Stepper placed(layer, input, options);
  const Tensor want = stepper.run(0, stepper.num_steps());
  return compare_bits(placed.run(0, placed.num_steps()), want);
}

// sl_state_prepare computes what the first step would compute from constants.
Comparison check_prepare(const sl_layer* layer, const Input& input) {
  Stepper stepper(layer, input), prepared(layer, input);
  prepared.prepare();
  const Tensor want = stepper.run(0, stepper.num_steps());
  if (Comparison same = compare_bits(prepared.run(0, prepared.num_steps()), want); !same.ok())
    return same;
  if (stepper.num_steps() == 0 || prepared.save() == stepper.save()) return {};
  return {"sl_state_prepare changes the state that steps lead to"};
}

// A stream accepts as many steps as its maximum length, and refuses more without changing.
Comparison check_max_length(const sl_layer* layer, const Input& input) {
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
  static const std::vector<StateCheck> checks = {
      {"no allocation in steps", check_allocations},
      {"reset mid-stream", check_reset, true},
      {"save and load mid-stream", check_save_load, true},
      {"broken saves are refused", check_bad_load},
      {"fork mid-stream", check_fork},
      {"state in caller's memory", check_own_memory},
      {"max_length is the end", check_max_length},
      {"constants prepared before", check_prepare},
  };
  return checks;
}

}  // namespace sl::cli
