#include "testing/runner.h"

#include <algorithm>
#include <utility>

#include "testing/trap.h"

namespace sl::testing {
namespace {

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

std::vector<sl_sequence> views_of(const std::vector<NamedTensor>& emits) {
  std::vector<sl_sequence> out;
  for (const NamedTensor& emit : emits) out.push_back(emit.value.view());
  return out;
}

using sequence_layers::run_options;

Tensor make_output(const Layer& layer, sl_mode mode, const Tensor& x,
                   const sl_run_options& options) {
  return make_like(layer.output_shape(x.view(), mode, &options));
}

bool is_streamed(const std::vector<sl_constant_info>& infos, const NamedTensor& constant) {
  for (const sl_constant_info& info : infos) {
    if (constant.name != info.name) continue;
    return info.streamed != 0 && (!constant.value.is_array || info.kind == SL_CONSTANT_KIND_ARRAY);
  }
  return false;
}

}  // namespace

std::vector<bool> streamed_constants(const Layer& layer, const Constants& constants) {
  const auto infos = layer.constants();
  std::vector<bool> out;
  for (const NamedTensor& constant : constants) out.push_back(is_streamed(infos, constant));
  return out;
}

std::vector<sl_constant> views(const Constants& constants) {
  std::vector<sl_constant> out;
  for (const NamedTensor& constant : constants) {
    out.push_back({constant.name.c_str(), constant.value.view()});
  }
  return out;
}

Tensor apply(const Layer& layer, const Input& input, std::vector<NamedTensor>* emits,
             sl_profile* profile) {
  const std::vector<sl_constant> constants = views(input.constants);
  std::vector<sl_sequence> emit_views;
  if (emits != nullptr) {
    *emits = make_emits(layer, SL_MODE_LAYER, input.x, input.constants);
    emit_views = views_of(*emits);
  }
  sl_run_options options = run_options(constants, &emit_views);
  options.profile = profile;
  Tensor y = make_output(layer, SL_MODE_LAYER, input.x, options);
  sl_sequence out = y.view();
  layer.apply(input.x.view(), &out, &options);
  return y;
}

sl_sequence output_shape(const Layer& layer, const Input& input) {
  const std::vector<sl_constant> constants = views(input.constants);
  const sl_run_options options = run_options(constants);
  return layer.output_shape(input.x.view(), SL_MODE_LAYER, &options);
}

sl_channel_spec output_spec(const Layer& layer, const Input& input) {
  return layer.output_spec(channel_spec(input.x), views(input.constants));
}

std::vector<NamedTensor> make_emits(const Layer& layer, sl_mode mode, const Tensor& x,
                                    const Constants& constants, const State* state) {
  const std::vector<sl_constant> constant_views = views(constants);
  sl_run_options options = run_options(constant_views);
  if (state != nullptr) options.state = state->get();
  const int64_t count = layer.emit_count(channel_spec(x), constant_views);
  std::vector<NamedTensor> emits;
  for (int64_t i = 0; i < count; ++i) {
    const auto [path, shape] = layer.emit_shape(x.view(), i, mode, &options);
    emits.push_back({path, make_like(shape)});
  }
  return emits;
}

Stepper::Stepper(const Layer& layer, const Input& input, Options options)
    : layer_(layer), input_(input), options_(options) {
  block_ = layer.block_size() * options.blocks_per_step;
  const int64_t time = round_up(input.x.time() + layer.input_latency(), block_);
  num_steps_ = time / block_;
  input_.x = slice_time(input.x, 0, time);
  streamed_ = streamed_constants(layer, input.constants);
  state_ = make_state();
}

Input Stepper::block(int64_t index) const {
  return {slice_time(input_.x, index * block_, (index + 1) * block_),
          constants_of(index, index + 1)};
}

sl_state_options Stepper::state_options(const Input& block,
                                        const std::vector<sl_constant>& views) const {
  sl_state_options options = sequence_layers::state_options(channel_spec(block.x), block.x.batch(),
                                                            options_.max_steps * block_, views);
  const bool ends = options_.ends || !layer_.supports_step();
  // The maximum length must be positive even if the input is empty.
  if (ends) options.max_length = round_up(std::max(input_.x.time(), block_), options.max_steps);
  return options;
}

State Stepper::make_state(const Input& block) const {
  const std::vector<sl_constant> constant_views = views(block.constants);
  return State(layer_, state_options(block, constant_views));
}

State Stepper::make_state() {
  // A streamed constant has the length of the blocks that it comes with.
  const Input block{input_.x, constants_of(0, options_.max_steps)};
  const std::vector<sl_constant> constant_views = views(block.constants);
  const sl_state_options options = state_options(block, constant_views);
  if (!options_.own_memory) return State(layer_, options);
  const auto [size, alignment] = layer_.state_size(options);
  memory_.resize(size + alignment);
  const auto address = reinterpret_cast<uintptr_t>(memory_.data());
  uint8_t* aligned = memory_.data() + (alignment - address % alignment) % alignment;
  return State(layer_, options, aligned, size);
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
  const AllocationTrap trap;
  call();
  allocations_ += trap.count();
}

Tensor Stepper::call(int64_t begin, int64_t end) {
  const Tensor x = slice_time(input_.x, begin * block_, end * block_);
  const Constants constants = constants_of(begin, end);
  const std::vector<sl_constant> constant_views = views(constants);
  emits_.clear();
  if (options_.with_emits) emits_ = make_emits(layer_, SL_MODE_STEP, x, constants, &*state_);
  std::vector<sl_sequence> emit_views = views_of(emits_);
  const sl_run_options options = run_options(constant_views, &emit_views);
  Tensor y = make_output(layer_, SL_MODE_STEP, x, options);
  const sl_sequence in = x.view();
  sl_sequence out = y.view();
  const auto start = std::chrono::steady_clock::now();
  trapped([&] { check([&](sl_error* e) { return state_->step(in, &out, &options, e); }); });
  step_time_ += std::chrono::steady_clock::now() - start;
  return y;
}

// The output of a call without steps: an empty tensor of the right shape.
Tensor Stepper::nothing() {
  const Tensor x = slice_time(input_.x, 0, 0);
  const Constants constants = constants_of(0, 0);
  const std::vector<sl_constant> constant_views = views(constants);
  emits_.clear();
  if (options_.with_emits) emits_ = make_emits(layer_, SL_MODE_STEP, x, constants, &*state_);
  return make_output(layer_, SL_MODE_STEP, x, run_options(constant_views));
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
    *emits = make_emits(layer_, SL_MODE_LAYER, x, constants, &*state_);
    emit_views = views_of(*emits);
  }
  const sl_run_options options = run_options(constant_views, &emit_views);
  Tensor y = make_output(layer_, SL_MODE_STEP, x, options);
  sl_sequence out = y.view();
  state_->apply(x.view(), &out, &options);
  return y;
}

Tensor Stepper::run_all(const std::function<void(int64_t)>& progress) {
  return drop_steps(run(0, num_steps_, progress), layer_.output_latency());
}

void Stepper::reset() {
  trapped([&] { state_->reset(); });
}

void Stepper::prepare() {
  const Constants constants = constants_of(0, 1);
  const std::vector<sl_constant> given = views(constants);
  state_->prepare(given.data(), static_cast<int64_t>(given.size()));
}

std::vector<uint8_t> Stepper::save() {
  std::vector<uint8_t> bytes(state_->save_size());
  trapped([&] { state_->save(bytes.data(), bytes.size()); });
  return bytes;
}

void Stepper::load(const std::vector<uint8_t>& bytes) {
  trapped([&] { state_->load(bytes); });
}

void Stepper::copy_from(const Stepper& source) {
  trapped([&] { state_->copy_from(*source.state_); });
}

void Stepper::reset_item(int64_t item) {
  trapped([&] { state_->reset_item(item); });
}

void Stepper::copy_item(int64_t item, const Stepper& source) {
  trapped([&] { state_->copy_item_from(item, *source.state_, item); });
}

Tensor drop_steps(const Tensor& x, int64_t steps) {
  return slice_time(x, std::min(steps, x.time()), x.time());
}

}  // namespace sl::testing
