#include "cli/runner.h"

#include <algorithm>
#include <utility>

#include "cli/trap.h"

namespace sl::cli {
namespace {

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

std::vector<sl_sequence> views_of(const std::vector<NamedTensor>& emits) {
  std::vector<sl_sequence> out;
  for (const NamedTensor& emit : emits) out.push_back(emit.value.view());
  return out;
}

sl_run_options run_options(const std::vector<sl_constant>& constants,
                           std::vector<sl_sequence>& emits) {
  sl_run_options options = SL_RUN_OPTIONS_INIT;
  options.constants = constants.data();
  options.num_constants = static_cast<int64_t>(constants.size());
  options.emits = emits.empty() ? nullptr : emits.data();
  options.num_emits = static_cast<int64_t>(emits.size());
  return options;
}

Tensor make_output(const sl_layer* layer, sl_mode mode, const Tensor& x,
                   const sl_run_options& options) {
  const sl_sequence in = x.view();
  sl_sequence shape = SL_SEQUENCE_INIT;
  check([&](sl_error* e) { return sl_layer_output_shape(layer, mode, &in, &options, &shape, e); });
  return make_like(shape);
}

bool is_streamed(const std::vector<sl_constant_info>& infos, const NamedTensor& constant) {
  for (const sl_constant_info& info : infos) {
    if (constant.name != info.name) continue;
    return info.streamed != 0 && (!constant.value.is_array || info.kind == SL_CONSTANT_KIND_ARRAY);
  }
  return false;
}

}  // namespace

std::vector<sl_constant_info> constant_infos(const sl_layer* layer) {
  std::vector<sl_constant_info> infos;
  for (int64_t i = 0; i < sl_layer_constant_count(layer); ++i) {
    sl_constant_info info = SL_CONSTANT_INFO_INIT;
    check([&](sl_error* e) { return sl_layer_constant(layer, i, &info, e); });
    infos.push_back(info);
  }
  return infos;
}

std::vector<sl_constant> views(const Constants& constants) {
  std::vector<sl_constant> out;
  for (const NamedTensor& constant : constants) {
    out.push_back({constant.name.c_str(), constant.value.view()});
  }
  return out;
}

Tensor apply(const sl_layer* layer, const Input& input, std::vector<NamedTensor>* emits) {
  const std::vector<sl_constant> constants = views(input.constants);
  std::vector<sl_sequence> emit_views;
  if (emits != nullptr) {
    *emits = make_emits(layer, SL_MODE_LAYER, input.x, input.constants);
    emit_views = views_of(*emits);
  }
  const sl_run_options options = run_options(constants, emit_views);
  Tensor y = make_output(layer, SL_MODE_LAYER, input.x, options);
  const sl_sequence in = input.x.view();
  sl_sequence out = y.view();
  check([&](sl_error* e) { return sl_layer_apply(layer, &in, &out, &options, e); });
  return y;
}

sl_sequence output_shape(const sl_layer* layer, const Input& input) {
  const std::vector<sl_constant> constants = views(input.constants);
  std::vector<sl_sequence> none;
  const sl_run_options options = run_options(constants, none);
  const sl_sequence in = input.x.view();
  sl_sequence shape = SL_SEQUENCE_INIT;
  check([&](sl_error* e) {
    return sl_layer_output_shape(layer, SL_MODE_LAYER, &in, &options, &shape, e);
  });
  return shape;
}

sl_channel_spec output_spec(const sl_layer* layer, const Input& input) {
  const std::vector<sl_constant> constants = views(input.constants);
  const sl_channel_spec in = channel_spec(input.x);
  sl_channel_spec out = SL_CHANNEL_SPEC_INIT;
  check([&](sl_error* e) {
    return sl_layer_output_spec(layer, &in, constants.data(),
                                static_cast<int64_t>(constants.size()), &out, e);
  });
  return out;
}

std::vector<NamedTensor> make_emits(const sl_layer* layer, sl_mode mode, const Tensor& x,
                                    const Constants& constants, sl_state* state) {
  const sl_channel_spec in = channel_spec(x);
  const sl_sequence view = x.view();
  const std::vector<sl_constant> constant_views = views(constants);
  std::vector<sl_sequence> none;
  sl_run_options options = run_options(constant_views, none);
  options.state = state;
  const int64_t count = check_count([&](sl_error* e) {
    return sl_layer_emit_count(layer, &in, options.constants, options.num_constants, e);
  });
  std::vector<NamedTensor> emits;
  for (int64_t i = 0; i < count; ++i) {
    char path[1024] = "";
    sl_sequence shape = SL_SEQUENCE_INIT;
    check([&](sl_error* e) {
      return sl_layer_emit_shape(layer, mode, &view, &options, i, path, sizeof(path), &shape, e);
    });
    emits.push_back({path, make_like(shape)});
  }
  return emits;
}

Stepper::Stepper(const sl_layer* layer, const Input& input, Options options)
    : layer_(layer), input_(input), options_(options) {
  const int64_t latency = get(sl_layer_input_latency, layer);
  block_ = get(sl_layer_block_size, layer) * options.blocks_per_step;
  const int64_t time = round_up(input.x.time() + latency, block_);
  num_steps_ = time / block_;
  input_.x = slice_time(input.x, 0, time);
  const auto infos = constant_infos(layer);
  for (const NamedTensor& constant : input.constants)
    streamed_.push_back(is_streamed(infos, constant));
  make_state();
}

void Stepper::make_state() {
  // A streamed constant has the length of the blocks that it comes with.
  const Constants constants = constants_of(0, options_.max_steps);
  const std::vector<sl_constant> constant_views = views(constants);
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.batch = input_.x.batch();
  options.max_steps = options_.max_steps * block_;
  options.input = channel_spec(input_.x);
  options.constants = constant_views.data();
  options.num_constants = static_cast<int64_t>(constant_views.size());
  const bool ends = options_.ends || get(sl_layer_supports_step, layer_) == 0;
  // The maximum length must be positive even if the input is empty.
  if (ends) options.max_length = round_up(std::max(input_.x.time(), block_), options.max_steps);
  if (!options_.own_memory) {
    state_ = make<sl_state>(
        [&](sl_state** out, sl_error* e) { return sl_state_alloc(layer_, &options, out, e); });
    return;
  }
  size_t size = 0, alignment = 1;
  check([&](sl_error* e) { return sl_state_size(layer_, &options, &size, &alignment, e); });
  memory_.resize(size + alignment);
  const auto address = reinterpret_cast<uintptr_t>(memory_.data());
  uint8_t* aligned = memory_.data() + (alignment - address % alignment) % alignment;
  state_ = make<sl_state>([&](sl_state** out, sl_error* e) {
    return sl_state_alloc_in(layer_, &options, aligned, size, out, e);
  });
}

Constants Stepper::constants_of(int64_t begin, int64_t end) const {
  Constants out = input_.constants;
  for (size_t i = 0; i < out.size(); ++i) {
    if (!streamed_[i]) continue;
    Tensor& value = out[i].value;
    value = slice_time(value, begin * block_, end * block_);
    value.is_array = input_.constants[i].value.is_array;
    if (value.is_array) value.mask.clear();
  }
  return out;
}

template <typename Call>
void Stepper::trapped(Call&& call) {
  sl_error error = SL_ERROR_INIT;
  sl_status status;
  {
    AllocationTrap trap;
    status = call(&error);
    allocations_ += trap.count();
  }
  // Only successful calls must not allocate: a failing one may.
  if (status != SL_STATUS_OK) {
    throw Error(status, error.message[0] != '\0' ? error.message : sl_status_name(status));
  }
}

Tensor Stepper::call(int64_t begin, int64_t end) {
  const Tensor x = slice_time(input_.x, begin * block_, end * block_);
  const Constants constants = constants_of(begin, end);
  const std::vector<sl_constant> constant_views = views(constants);
  emits_.clear();
  if (options_.with_emits) emits_ = make_emits(layer_, SL_MODE_STEP, x, constants, state_.get());
  std::vector<sl_sequence> emit_views = views_of(emits_);
  const sl_run_options options = run_options(constant_views, emit_views);
  Tensor y = make_output(layer_, SL_MODE_STEP, x, options);
  const sl_sequence in = x.view();
  sl_sequence out = y.view();
  const auto start = std::chrono::steady_clock::now();
  trapped([&](sl_error* e) { return sl_layer_step(layer_, state_.get(), &in, &out, &options, e); });
  step_time_ += std::chrono::steady_clock::now() - start;
  return y;
}

// The output of a call without steps: an empty tensor of the right shape.
Tensor Stepper::nothing() {
  const Tensor x = slice_time(input_.x, 0, 0);
  const Constants constants = constants_of(0, 0);
  const std::vector<sl_constant> constant_views = views(constants);
  emits_.clear();
  if (options_.with_emits) emits_ = make_emits(layer_, SL_MODE_STEP, x, constants, state_.get());
  std::vector<sl_sequence> none;
  return make_output(layer_, SL_MODE_STEP, x, run_options(constant_views, none));
}

Tensor Stepper::run(int64_t begin, int64_t end, const std::function<void(int64_t)>& progress) {
  if (begin >= end) return nothing();
  std::vector<Tensor> outputs;
  std::vector<std::vector<Tensor>> emitted;
  for (int64_t i = begin; i < end; ++i) {
    outputs.push_back(call(i, i + 1));
    emitted.resize(emits_.size());
    for (size_t k = 0; k < emits_.size(); ++k) emitted[k].push_back(std::move(emits_[k].value));
    if (progress) progress(i - begin + 1);
  }
  for (size_t k = 0; k < emitted.size(); ++k) {
    // Emits without a time axis cannot be concatenated: the last one is kept.
    const bool joins = emitted[k][0].dims.size() > 1;
    emits_[k].value = joins ? concat_time(emitted[k]) : emitted[k].back();
  }
  return concat_time(outputs);
}

Tensor Stepper::prefill(int64_t end, std::vector<NamedTensor>* emits) {
  const Tensor x = slice_time(input_.x, 0, end * block_);
  const Constants constants = constants_of(0, end);
  const std::vector<sl_constant> constant_views = views(constants);
  std::vector<sl_sequence> emit_views;
  if (emits != nullptr) {
    *emits = make_emits(layer_, SL_MODE_LAYER, x, constants, state_.get());
    emit_views = views_of(*emits);
  }
  sl_run_options options = run_options(constant_views, emit_views);
  Tensor y = make_output(layer_, SL_MODE_STEP, x, options);
  options.state = state_.get();
  const sl_sequence in = x.view();
  sl_sequence out = y.view();
  check([&](sl_error* e) { return sl_layer_apply(layer_, &in, &out, &options, e); });
  return y;
}

Tensor Stepper::run_all(const std::function<void(int64_t)>& progress) {
  return drop_steps(run(0, num_steps_, progress), get(sl_layer_output_latency, layer_));
}

void Stepper::reset() {
  trapped([&](sl_error* e) { return sl_state_reset(state_.get(), e); });
}

void Stepper::prepare() {
  const Constants constants = constants_of(0, 1);
  const std::vector<sl_constant> given = views(constants);
  check([&](sl_error* e) {
    return sl_state_prepare(state_.get(), given.data(), static_cast<int64_t>(given.size()), e);
  });
}

std::vector<uint8_t> Stepper::save() {
  std::vector<uint8_t> bytes(sl_state_save_size(state_.get()));
  trapped([&](sl_error* e) { return sl_state_save(state_.get(), bytes.data(), bytes.size(), e); });
  return bytes;
}

void Stepper::load(const std::vector<uint8_t>& bytes) {
  trapped([&](sl_error* e) { return sl_state_load(state_.get(), bytes.data(), bytes.size(), e); });
}

void Stepper::copy_from(const Stepper& source) {
  trapped([&](sl_error* e) { return sl_state_copy(state_.get(), source.state_.get(), e); });
}

void Stepper::reset_item(int64_t item) {
  trapped([&](sl_error* e) { return sl_state_reset_item(state_.get(), item, e); });
}

void Stepper::copy_item(int64_t item, const Stepper& source) {
  trapped([&](sl_error* e) {
    return sl_state_copy_item(state_.get(), item, source.state_.get(), item, e);
  });
}

Tensor drop_steps(const Tensor& x, int64_t steps) {
  return slice_time(x, std::min(steps, x.time()), x.time());
}

}  // namespace sl::cli
