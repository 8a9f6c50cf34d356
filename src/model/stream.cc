#include "model/stream.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <utility>

#include "core/ring.h"
#include "core/status.h"
#include "layers/token_parts.h"
#include "model/properties.h"
#include "ops/elementwise.h"
#include "ops/initial_state.h"

namespace sl {
namespace {

// Reports that the state exceeds max_bytes, and names its largest tensor, which shows the layer
// that needs most of it.
[[noreturn]] void fail_large_state(std::span<const StateSpec> specs, size_t bytes, size_t maximum) {
  const auto largest = std::ranges::max_element(specs, {}, &StateSpec::bytes);
  fail(
      Code::kOutOfMemory,
      "a state of {} bytes: at most {} are allowed (max_bytes); its largest tensor is \"{}\" {} of "
      "{} bytes",
      bytes, maximum, largest->name, to_string(ChannelSpec{largest->dtype, largest->shape}),
      largest->bytes());
}

std::string text_of(const View& constant) {
  return fmt::format("{}{} {}", name_of(constant.dtype), constant.is_array ? " array" : "",
                     to_string(constant.dims));
}

}  // namespace

StreamPlan::StreamPlan(const Model& model, const StreamOptions& options) : model_(&model) {
  const Layer& root = model.root();
  check_steppable(root, options.max_length);
  block_size_ = root.block_size();
  block_output_ = root.output_ratio().floor_times(block_size_);
  const int64_t max_steps = round_up(std::max(options.max_steps, block_size_), block_size_);
  const int64_t max_length = round_up(options.max_length, block_size_);
  if (max_length > 0 && max_length < max_steps) {
    fail(Code::kInvalidArgument, "options.max_length is {}: expected at least the {} of max_steps",
         options.max_length, max_steps);
  }
  input_ = {options.input, options.batch, max_steps, Mode::kStep, max_length};

  plan_constants(options);
  declare();

  if (!options.rehearse) return;
  const Block data(data_bytes(), model.allocator());
  Allocator rest = model.allocator();
  rest.max_bytes -= data.size();
  Workspace workspace(rest);
  initialise(data.data());
  rehearse(data.data(), workspace, /*valid=*/false);
  for (size_t i = 0; i < 2; ++i) workspace_bytes_[i] = workspace.on(static_cast<Side>(i)).peak();
  if (bytes() > model.allocator().max_bytes) fail_too_large(bytes(), model.allocator().max_bytes);
}

void StreamPlan::plan_constants(const StreamOptions& options) {
  model_->constants().check_streaming();
  size_t maximum = 0;
  for (const View& view : options.constants)
    maximum = std::max(maximum, checked_bytes(view.dims.size(), size_of(view.dtype)));
  require_memory(maximum, model_->allocator().max_bytes);
  zeros_.resize(maximum);
  for (size_t i = 0; i < options.constants.size(); ++i) {
    PlannedConstant constant{options.constant_names[i], options.constants[i]};
    View& view = constant.view;
    view.strides = contiguous_strides(view.dims, view.dtype);
    view.data = zeros_.data();
    view.mask = nullptr;
    const ConstantSpec* spec = model_->constants().find(constant.name);
    constant.streamed = spec && view.dims.rank() > 1 && spec->is_streamed(view.is_array);
    if (constant.streamed && checked_product(view.dims[1], block_size_) % input_.time != 0) {
      fail(Code::kShape,
           "constant \"{}\" has {} steps for {} of x: each block of {} needs the same number",
           constant.name, view.dims[1], input_.time, block_size_);
    }
    constants_.push_back(std::move(constant));
  }
}

void StreamPlan::declare() {
  Stack stack(model_->allocator());
  std::vector<Constant> constants;
  for (const PlannedConstant& c : constants_)
    constants.push_back(import_constant(stack, c.name, c.view));
  const Constants all(constants);
  output_ = model_->output_spec(input_.channels, all);
  Declaration declaration = model_->declare(input_, all);
  // The length is the last tensor, so that the layers find theirs in the order of declaration.
  if (input_.max_length > 0) declaration.position("length", input_.batch, 0, input_.max_length);
  plans_ = declaration.plans();
  emits_ = declaration.emits();
  layout_ = make_layout(declaration.states(), input_.batch);
  // The last tensor of a stream with an end is its length, which no layer takes.
  of_layers_ = tensors(nullptr).slice(0, state().size() - (input_.max_length > 0 ? 1 : 0));
  if (data_bytes() > model_->allocator().max_bytes)
    fail_large_state(state(), data_bytes(), model_->allocator().max_bytes);
  std::vector<StateSpec> one = state();
  for (StateSpec& spec : one) spec.shape[0] = 1;
  item_layout_ = make_layout(std::move(one), 1);
}

StreamPlan::Layout StreamPlan::make_layout(std::vector<StateSpec> specs, int64_t batch) const {
  Layout out;
  out.specs = std::move(specs);
  StateLayout layout = layout_of(out.specs);
  out.offsets = std::move(layout.offsets);
  out.bytes = layout.bytes;
  out.options = options_text(*this, batch);
  out.fingerprint = hash_bytes(out.options.data(), out.options.size(), model_->fingerprint());
  for (const StateSpec& spec : out.specs) {
    const std::string text = spec.name + to_string(ChannelSpec{spec.dtype, spec.shape});
    out.fingerprint = hash_bytes(text.data(), text.size(), out.fingerprint);
  }
  return out;
}

void StreamPlan::check_constant(size_t index, std::string_view name, const View& view, int64_t time,
                                int64_t items) const {
  const PlannedConstant& spec = constants_[index];
  if (spec.name != name)
    fail(Code::kInvalidArgument, "constant {} is \"{}\": expected \"{}\"", index, name, spec.name);
  const Shape expected = constant_dims(index, time, items);
  if (view.dtype != spec.view.dtype || view.is_array != spec.view.is_array ||
      view.dims != expected) {
    View fitting = spec.view;
    fitting.dims = expected;
    fail(Code::kShape, "constant \"{}\" is {}: {} {}", name, text_of(view),
         spec.streamed ? fmt::format("a call of {} steps takes", time) : "the stream was made for",
         text_of(fitting));
  }
}

Shape StreamPlan::constant_dims(size_t index, int64_t time, int64_t items) const {
  const PlannedConstant& constant = constants_[index];
  Shape dims = constant.view.dims;
  // A constant with a batch of 1 serves any number of items.
  if (!dims.empty() && dims[0] == input_.batch) dims[0] = items;
  if (constant.streamed) dims[1] = share_of(constant, time);
  return dims;
}

void StreamPlan::initialise(std::byte* data) const {
  const StateTensors all = tensors(data);
  for (size_t i = 0; i < all.size(); ++i) ops::initialise(all[i], 0, input_.batch);
}

void StreamPlan::initialise_item(std::byte* data, int64_t item) const {
  const StateTensors all = tensors(data);
  for (size_t i = 0; i < all.size(); ++i) ops::initialise(all[i], item, 1);
}

void StreamPlan::restart(std::byte* data, bool keeps_constants) const {
  const StateTensors all = tensors(data);
  for (size_t i = 0; i < all.size(); ++i) {
    const StateSpec& spec = state()[i];
    if (!spec.is_index() || (keeps_constants && spec.of_constants)) continue;
    ops::initialise(all[i], 0, input_.batch);
  }
}

void StreamPlan::rehearse(std::byte* data, Workspace& workspace, bool valid) const {
  // Small and large calls may take different paths through a layer, and so may valid and invalid
  // steps, and first and later steps. Allocations grow with the length of the call and do not
  // depend on masks, so one large call, which is slow, is enough. A team shares only whole
  // products.
  const bool has_team = model_->step_parallel().team() != nullptr;
  const auto run = [&](const Slots& slots, int64_t time, bool all_valid) {
    restart(data, /*keeps_constants=*/all_valid);
    rehearse_step(data, workspace, model_->step_parallel(), slots,
                  {time, all_valid, /*whole=*/has_team && valid && all_valid},
                  zero_constants(time));
  };
  const auto run_all = [&](const Slots& slots) {
    if (input_.time > block_size_) run(slots, input_.time, valid);
    run(slots, block_size_, false);
    run(slots, block_size_, true);
  };
  run_all(all_slots());
  if (input_.batch == 1) return;
  // Slots that are no neighbours are computed one by one in some layers, and gathered in others.
  std::vector<int64_t> order(static_cast<size_t>(input_.batch));
  std::iota(order.rbegin(), order.rend(), int64_t{0});
  run_all(slots_of(order));
}

std::vector<View> StreamPlan::zero_constants(int64_t time) const {
  std::vector<View> views;
  for (size_t i = 0; i < constants_.size(); ++i) {
    views.push_back(constants_[i].view);
    views.back().dims = constant_dims(i, time);
  }
  return views;
}

// A step on a copy of the state, with invalid input, makes what the stream keeps of its constants;
// only that is copied back.
void StreamPlan::prepare(std::byte* data, std::span<const View> constants) const {
  if (std::ranges::none_of(state(), &StateSpec::of_constants)) return;
  const Block copy(data_bytes(), model_->allocator());
  std::copy_n(data, data_bytes(), copy.data());
  const StateTensors made = tensors(copy.data()), all = tensors(data);
  for (size_t i = 0; i < all.size(); ++i) {
    if (state()[i].of_constants) ops::initialise(made[i], 0, input_.batch);
  }
  Workspace workspace(model_->allocator());
  rehearse_step(copy.data(), workspace, model_->parallel(), all_slots(),
                {block_size_, /*valid=*/false, /*whole=*/true}, constants);
  for (size_t i = 0; i < all.size(); ++i) {
    if (state()[i].of_constants) std::copy_n(made[i].data, state()[i].bytes(), all[i].data);
  }
}

void StreamPlan::rehearse_step(std::byte* data, Workspace& workspace, const Parallel& parallel,
                               const Slots& slots, const Rehearsal& how,
                               std::span<const View> views) const {
  Stack& stack = workspace.on(Side::kB);
  const Stack::Mark mark = stack.mark();
  View view;
  view.dtype = input_.channels.dtype;
  view.dims = {input_.batch, how.time};
  for (int64_t dim : input_.channels.shape) view.dims.push_back(dim);
  view.strides.fill(0);  // all elements are the same zero
  std::array<std::byte, sizeof(complex64)> zero{};
  uint8_t mask = how.valid ? 1 : 0;
  view.data = zero.data();
  view.mask = &mask;
  const Sequence x = import_sequence(stack, view, /*copy=*/true);
  std::vector<Constant> constants;
  for (size_t i = 0; i < constants_.size(); ++i) {
    constants.push_back(import_constant(stack, constants_[i].name, views[i], /*copy=*/true));
    if (model_->masks_input() && !constants.back().is_array)
      ops::zero_invalid(constants.back().sequence);
  }
  Run run(Mode::kStep, workspace, parallel, Constants(constants));
  run.compute_invalid_steps(model_->masks_input());
  bind(run, data, /*checks=*/true);
  run.bind_slots(slots);
  if (!how.whole) run.allow_allocation();
  const Stack::Mark output = workspace.on(Side::kA).mark();
  call(run, model_->root(), x, Side::kA);
  run.check_all_used();
  workspace.on(Side::kA).release(output);
  stack.release(mark);
}

SequenceSpec StreamPlan::emit(size_t index, int64_t time, int64_t items) const {
  SequenceSpec spec = emits_[index].sequence;
  if (spec.batch == input_.batch) spec.batch = items;
  // The emit was declared for the maximum number of steps of a call; scale it to this call.
  spec.time = checked_product(spec.time, time) / input_.time;
  return spec;
}

int64_t StreamPlan::index_at(const StateTensor& tensor, int64_t i) {
  int32_t value = 0;
  std::memcpy(&value, tensor.data + static_cast<size_t>(i) * sizeof(value), sizeof(value));
  return value;
}

int64_t StreamPlan::length(const StateTensors& tensors, int64_t item) const {
  return input_.max_length > 0 ? index_at(tensors[tensors.size() - 1], item) : 0;
}

int64_t StreamPlan::length(const std::byte* data, const Slots& slots) const {
  const StateTensors all = tensors(data);
  int64_t maximum = 0;
  for (int64_t b = 0; b < slots.count; ++b) maximum = std::max(maximum, length(all, slots[b]));
  return maximum;
}

void StreamPlan::bind(Run& run, std::byte* data, bool checks) const {
  // A copy of old spans: to read new ones, the call would wait for the stores that make them.
  StateTensors state = of_layers_;
  state.data = data;
  run.bind_state(state, plans_, checks);
}

void StreamPlan::check_room(const std::byte* data, int64_t time, const Slots& slots) const {
  if (input_.max_length == 0 || time <= input_.max_length - length(data, slots)) return;
  fail(Code::kLength, "the stream has had {} steps: {} more are too many for its max_length of {}",
       length(data, slots), time, input_.max_length);
}

void StreamPlan::step(std::byte* data, Workspace& workspace, const Parallel& parallel,
                      const Slots& slots, const View& x, const View& y,
                      std::span<const View> constants, std::span<Constant> imported,
                      std::span<Sequence> emits, TokenSource* token_source) const {
  // Release the whole workspace, since a failed step may have left something there.
  workspace.on(Side::kA).release({});
  workspace.on(Side::kB).release({});
  Stack& stack = workspace.on(Side::kB);
  const bool masks = model_->masks_input();
  const Sequence input = import_sequence(stack, x, /*copy=*/masks);
  if (masks) ops::zero_invalid(input);
  for (size_t i = 0; i < constants.size(); ++i) {
    imported[i] = import_constant(stack, constants_[i].name, constants[i], /*copy=*/masks);
    if (masks && !imported[i].is_array) ops::zero_invalid(imported[i].sequence);
  }
  Run run(Mode::kStep, workspace, parallel, Constants(imported));
  run.compute_invalid_steps(masks);
  bind(run, data, /*checks=*/false);
  run.bind_slots(slots);
  run.bind_emits(emits);
  // Count the steps before the layers run. If a custom layer fails, the layers before it have
  // already taken the steps.
  if (input_.max_length > 0) {
    auto* lengths = reinterpret_cast<int32_t*>(data + layout_.offsets.back());
    for (int64_t b = 0; b < slots.count; ++b) lengths[slots[b]] += static_cast<int32_t>(x.dims[1]);
  }
  const auto step_root = [&] {
    if (!token_source) return model_->root().step(run, input);
    return dynamic_cast<const TokenParts&>(model_->root()).step_with(run, input, *token_source);
  };
  const Sequence output = run.on_side(Side::kA, step_root);
  if (y.data) export_sequence(output, y);
}

std::string StreamPlan::options_text(const StreamPlan& like, int64_t batch) const {
  const bool both_end = input_.max_length > 0 && like.input_.max_length > 0;
  std::string text =
      fmt::format("batch {}\nmax_steps {}\nmax_length {}\ninput {}\n", batch, like.input_.time,
                  (both_end ? like : *this).input_.max_length, to_string(input_.channels));
  for (size_t i = 0; i < constants_.size(); ++i) {
    const StreamPlan& plan = like.has_constant_of(*this, i) ? like : *this;
    View view = plan.constants_[i].view;
    if (!view.dims.empty() && view.dims[0] == plan.input_.batch) view.dims[0] = batch;
    text += fmt::format("constant \"{}\" {}\n", constants_[i].name, text_of(view));
  }
  return text;
}

bool StreamPlan::has_constant_of(const StreamPlan& other, size_t index) const {
  if (index >= constants_.size() || index >= other.constants_.size()) return false;
  const PlannedConstant& a = constants_[index];
  const PlannedConstant& b = other.constants_[index];
  Shape dims = constant_dims(index, block_size_), others = other.constant_dims(index, block_size_);
  if (dims.rank() != others.rank()) return false;
  // Batches may differ, since states are copied item by item.
  if (!dims.empty() && dims[0] == input_.batch && others[0] == other.input_.batch)
    others[0] = dims[0];
  return a.name == b.name && a.view.dtype == b.view.dtype && a.view.is_array == b.view.is_array &&
         dims == others;
}

void StreamPlan::check_rebase(const StreamPlan& source, int64_t had, bool any_batch) const {
  if (source.model_->fingerprint() != model_->fingerprint())
    fail(Code::kState, "the states are of different models");
  bool same = (any_batch || source.input_.batch == input_.batch) &&
              source.input_.channels == input_.channels &&
              (source.input_.max_length > 0) == (input_.max_length > 0) &&
              source.constants_.size() == constants_.size();
  for (size_t i = 0; same && i < constants_.size(); ++i) same = has_constant_of(source, i);
  if (!same) {
    const int64_t batch = (any_batch ? *this : source).input_.batch;
    layout_.fail_options("the source", source.options_text(*this, batch));
  }
  if (had > input_.max_length) {
    fail(Code::kLength, "the stream has had {} steps: too many for a max_length of {}", had,
         input_.max_length);
  }
  for (size_t i = 0; i < state().size();) {
    const bool is_ring = state()[i].ring_parts > 0;
    if (!is_ring && state()[i].item_bytes() != source.state()[i].item_bytes()) {
      fail(Code::kInternal, "state tensor \"{}\" depends on max_steps and is no ring",
           state()[i].name);
    }
    i += is_ring ? Ring::kTensors : 1;
  }
}

void StreamPlan::rebase(std::byte* data, const StreamPlan& source_plan,
                        const std::byte* source) const {
  if (source_plan.layout_.fingerprint == layout_.fingerprint) {
    // copy_n, because both pointers may be null if the model has no state.
    std::copy_n(source, data_bytes(), data);
    return;
  }
  check_rebase(source_plan, source_plan.length(source, source_plan.all_slots()),
               /*any_batch=*/false);
  for (int64_t b = 0; b < input_.batch; ++b)
    copy_item(data, b, source_plan, source, b, /*whole_rings=*/true);
}

void StreamPlan::rebase_item(std::byte* data, int64_t item, const StreamPlan& source_plan,
                             const std::byte* source, int64_t source_item) const {
  if (data == source && item == source_item) return;
  check_rebase(source_plan, source_plan.length(source_plan.tensors(source), source_item),
               /*any_batch=*/true);
  copy_item(data, item, source_plan, source, source_item, /*whole_rings=*/true);
}

void StreamPlan::continue_item(std::byte* data, int64_t item, const StreamPlan& source_plan,
                               const std::byte* source, int64_t source_item) const {
  check_rebase(source_plan, source_plan.length(source_plan.tensors(source), source_item),
               /*any_batch=*/true);
  copy_item(data, item, source_plan, source, source_item, /*whole_rings=*/false);
}

void StreamPlan::copy_item(std::byte* data, int64_t item, const StreamPlan& source_plan,
                           const std::byte* source, int64_t source_item, bool whole_rings) const {
  // A ring of larger capacity keeps its initial values where the source has no frames.
  if (whole_rings && source_plan.item_layout_.fingerprint != item_layout_.fingerprint)
    initialise_item(data, item);
  const auto copy_ring = whole_rings ? Ring::copy_item : Ring::copy_history;
  const StateTensors to = tensors(data), from = source_plan.tensors(source);
  for (size_t i = 0; i < to.size();) {
    if (state()[i].ring_parts > 0) {
      copy_ring(to.slice(i, Ring::kTensors), item, from.slice(i, Ring::kTensors), source_item);
      i += Ring::kTensors;
      continue;
    }
    std::memmove(to[i].item(item), from[i].item(source_item), state()[i].item_bytes());
    ++i;
  }
}

Stream::Stream(StreamPlan plan, std::byte* memory)
    : plan_(std::move(plan)),
      data_(memory),
      workspace_(memory + plan_.data_bytes(), plan_.workspace_bytes(Side::kA),
                 memory + plan_.data_bytes() + plan_.workspace_bytes(Side::kA),
                 plan_.workspace_bytes(Side::kB)),
      emits_(plan_.emits().size()),
      constants_(plan_.constant_count()),
      imported_(plan_.constant_count()),
      is_stepped_(static_cast<size_t>(plan_.input().batch)) {
  // Touch every page now, so that no step has a page fault.
  std::memset(memory, 0, plan_.bytes());
  plan_.model().touch_weights();
  plan_.model().start_step_threads();
  reset();
  plan_.rehearse(data_, workspace_, /*valid=*/true);
  reset();
}

void Stream::step(const Slots& slots, const View& x, const View& y, bool with_emits,
                  const Parallel* parallel) {
  plan_.check_room(data_, x.dims[1], slots);
  plan_.step(data_, workspace_, parallel ? *parallel : plan_.model().step_parallel(), slots, x, y,
             constants_, imported_,
             with_emits ? std::span<Sequence>(emits_) : std::span<Sequence>(), token_source_);
}

Slots check_slots(std::span<const int64_t> slots, std::span<uint8_t> marks) {
  const auto batch = std::ssize(marks);
  const auto is_slot = [&](int64_t slot) { return slot >= 0 && slot < batch; };
  const auto wrong = std::ranges::find_if(slots, [&](int64_t slot) {
    if (!is_slot(slot)) return true;
    return std::exchange(marks[static_cast<size_t>(slot)], uint8_t{1}) != 0;
  });
  for (auto it = slots.begin(); it != wrong; ++it) marks[static_cast<size_t>(*it)] = 0;
  if (wrong == slots.end()) return slots_of(slots);
  const auto index = wrong - slots.begin();
  if (is_slot(*wrong)) fail(Code::kInvalidArgument, "slots[{}] is {} again", index, *wrong);
  fail(Code::kInvalidArgument, "slots[{}] is {}: expected 0 to {}, as the batch is {}", index,
       *wrong, batch - 1, batch);
}

void Stream::copy_from(const Stream& source) { plan_.rebase(data_, source.plan_, source.data_); }

void Stream::copy_item(int64_t item, const Stream& source, int64_t source_item) {
  plan_.rebase_item(data_, item, source.plan_, source.data_, source_item);
}

}  // namespace sl
