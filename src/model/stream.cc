#include "model/stream.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "core/ring.h"
#include "core/status.h"
#include "model/properties.h"
#include "ops/elementwise.h"
#include "ops/initial_state.h"

namespace sl {
namespace {

constexpr char kMagic[8] = {'S', 'L', 'S', 'T', 'A', 'T', 'E', '\0'};
constexpr uint32_t kSaveVersion = 1;

// The header of a saved state. The data follow it, and then the options as text, which tells how
// they differ from those of the stream that is to load it.
struct SaveHeader {
  char magic[8];
  uint32_t version;
  uint32_t header_bytes;
  uint64_t fingerprint;  // of model, options and layout
  uint64_t model_fingerprint;
  uint64_t data_bytes;
  uint64_t options_bytes;
  uint64_t checksum;  // of data and options
};

const Parallel kOneThread;

int64_t index_at(const StateTensor& tensor, int64_t i) {
  int32_t value = 0;
  std::memcpy(&value, tensor.data + static_cast<size_t>(i) * sizeof(value), sizeof(value));
  return value;
}

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

// The lines of a stream's options by the options' names. Lines of a saved state can hold anything:
// what is no line of options is skipped.
std::map<std::string, std::string> parse_options(std::string_view text) {
  std::map<std::string, std::string> out;
  for (size_t end; (end = text.find('\n')) != std::string_view::npos; text.remove_prefix(end + 1)) {
    const std::string_view line = text.substr(0, end);
    // The name of a constant, which is in quotes, can have spaces.
    const size_t quote = line.rfind('"');
    const size_t space = line.find(' ', quote == std::string_view::npos ? 0 : quote);
    if (space == std::string_view::npos) continue;
    out.emplace(line.substr(0, space), line.substr(space + 1));
  }
  return out;
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
  const Block data(data_bytes_, model.allocator());
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
  specs_ = declaration.states();
  plans_ = declaration.plans();
  emits_ = declaration.emits();
  StateLayout layout = layout_of(specs_);
  offsets_ = std::move(layout.offsets);
  data_bytes_ = layout.bytes;
  if (data_bytes_ > model_->allocator().max_bytes)
    fail_large_state(specs_, data_bytes_, model_->allocator().max_bytes);

  options_ = options_text(*this, /*any_batch=*/false);
  fingerprint_ = hash_bytes(options_.data(), options_.size(), model_->fingerprint());
  for (const StateSpec& spec : specs_) {
    const std::string text = spec.name + to_string(ChannelSpec{spec.dtype, spec.shape});
    fingerprint_ = hash_bytes(text.data(), text.size(), fingerprint_);
  }
}

void StreamPlan::check_constant(size_t index, std::string_view name, const View& view,
                                int64_t time) const {
  const PlannedConstant& spec = constants_[index];
  if (spec.name != name)
    fail(Code::kInvalidArgument, "constant {} is \"{}\": expected \"{}\"", index, name, spec.name);
  const Shape expected = constant_dims(index, time);
  if (view.dtype != spec.view.dtype || view.is_array != spec.view.is_array ||
      view.dims != expected) {
    View fitting = spec.view;
    fitting.dims = expected;
    fail(Code::kShape, "constant \"{}\" is {}: {} {}", name, text_of(view),
         spec.streamed ? fmt::format("a call of {} steps takes", time) : "the stream was made for",
         text_of(fitting));
  }
}

Shape StreamPlan::constant_dims(size_t index, int64_t time) const {
  const PlannedConstant& constant = constants_[index];
  Shape dims = constant.view.dims;
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
    const StateSpec& spec = specs_[i];
    if (!spec.is_index() || (keeps_constants && spec.of_constants)) continue;
    ops::initialise(all[i], 0, input_.batch);
  }
}

void StreamPlan::check_data(const std::byte* data) const {
  const StateTensors all = tensors(data);
  for (size_t i = 0; i < all.size(); ++i) {
    const StateSpec& spec = specs_[i];
    if (!spec.is_index()) continue;
    for (int64_t j = 0; j < spec.shape.size(); ++j) {
      const int64_t value = index_at(all[i], j);
      if (value < spec.minimum || value > spec.maximum) {
        fail(Code::kState, "the saved state is damaged: its \"{}\" is {}: expected {} to {}",
             spec.name, value, spec.minimum, spec.maximum);
      }
      if (!spec.is_position) continue;
      const int64_t moved = (value - spec.minimum) * input_.max_length;
      if (const int64_t steps = length(data, j); moved != steps * (spec.maximum - spec.minimum)) {
        fail(Code::kState, "the saved state is damaged: its \"{}\" is {} after {} steps", spec.name,
             value, steps);
      }
    }
  }
}

void StreamPlan::rehearse(std::byte* data, Workspace& workspace, bool valid) const {
  // Small and large calls may take different paths through a layer, and so may valid and invalid
  // steps, and first and later steps. Allocations grow with the length of the call and do not
  // depend on masks, so one large call, which is slow, is enough.
  const auto run = [&](int64_t time, bool all_valid) {
    restart(data, /*keeps_constants=*/all_valid);
    rehearse_step(data, workspace, kOneThread, time, all_valid, zero_constants(time));
  };
  if (input_.time > block_size_) run(input_.time, valid);
  run(block_size_, false);
  run(block_size_, true);
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
  if (std::ranges::none_of(specs_, &StateSpec::of_constants)) return;
  const Block copy(data_bytes_, model_->allocator());
  std::copy_n(data, data_bytes_, copy.data());
  const StateTensors made = tensors(copy.data()), all = tensors(data);
  for (size_t i = 0; i < all.size(); ++i) {
    if (specs_[i].of_constants) ops::initialise(made[i], 0, input_.batch);
  }
  Workspace workspace(model_->allocator());
  rehearse_step(copy.data(), workspace, model_->parallel(), block_size_, /*valid=*/false,
                constants);
  for (size_t i = 0; i < all.size(); ++i) {
    if (specs_[i].of_constants) std::copy_n(made[i].data, specs_[i].bytes(), all[i].data);
  }
}

void StreamPlan::rehearse_step(std::byte* data, Workspace& workspace, const Parallel& parallel,
                               int64_t time, bool valid, std::span<const View> views) const {
  Stack& stack = workspace.on(Side::kB);
  const Stack::Mark mark = stack.mark();
  View view;
  view.dtype = input_.channels.dtype;
  view.dims = {input_.batch, time};
  for (int64_t dim : input_.channels.shape) view.dims.push_back(dim);
  view.strides.fill(0);  // all elements are the same zero
  std::array<std::byte, sizeof(complex64)> zero{};
  uint8_t mask = valid ? 1 : 0;
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
  bind(run, data, /*checks=*/true);
  run.allow_allocation();
  const Stack::Mark output = workspace.on(Side::kA).mark();
  call(run, model_->root(), x, Side::kA);
  run.check_all_used();
  workspace.on(Side::kA).release(output);
  stack.release(mark);
}

SequenceSpec StreamPlan::emit(size_t index, int64_t time) const {
  SequenceSpec spec = emits_[index].sequence;
  // The emit was declared for the maximum number of steps of a call; scale it to this call.
  spec.time = checked_product(spec.time, time) / input_.time;
  return spec;
}

int64_t StreamPlan::length(const std::byte* data, int64_t item) const {
  return input_.max_length > 0 ? index_at(tensors(data)[specs_.size() - 1], item) : 0;
}

int64_t StreamPlan::length(const std::byte* data) const {
  int64_t maximum = 0;
  for (int64_t b = 0; b < input_.batch; ++b) maximum = std::max(maximum, length(data, b));
  return maximum;
}

void StreamPlan::bind(Run& run, std::byte* data, bool checks) const {
  // The last tensor of a stream with an end is its length, which no layer takes.
  const size_t count = specs_.size() - (input_.max_length > 0 ? 1 : 0);
  run.bind_state(tensors(data).slice(0, count), plans_, checks);
}

void StreamPlan::check_room(const std::byte* data, int64_t time) const {
  if (input_.max_length == 0 || time <= input_.max_length - length(data)) return;
  fail(Code::kLength, "the stream has had {} steps: {} more are too many for its max_length of {}",
       length(data), time, input_.max_length);
}

void StreamPlan::step(std::byte* data, Workspace& workspace, const Parallel& parallel,
                      const View& x, const View& y, std::span<const View> constants,
                      std::span<Constant> imported, std::span<Sequence> emits) const {
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
  bind(run, data, /*checks=*/false);
  run.bind_emits(emits);
  // Count the steps before the layers run. If a custom layer fails, the layers before it have
  // already taken the steps.
  if (input_.max_length > 0) {
    auto* lengths = reinterpret_cast<int32_t*>(data + offsets_.back());
    for (int64_t b = 0; b < input_.batch; ++b) lengths[b] += static_cast<int32_t>(x.dims[1]);
  }
  export_sequence(call(run, model_->root(), input, Side::kA), y);
}

std::string StreamPlan::options_text(const StreamPlan& like, bool any_batch) const {
  const bool both_end = input_.max_length > 0 && like.input_.max_length > 0;
  std::string text = fmt::format(
      "batch {}\nmax_steps {}\nmax_length {}\ninput {}\n", (any_batch ? like : *this).input_.batch,
      like.input_.time, (both_end ? like : *this).input_.max_length, to_string(input_.channels));
  for (size_t i = 0; i < constants_.size(); ++i) {
    const PlannedConstant& constant = (like.has_constant_of(*this, i) ? like : *this).constants_[i];
    text += fmt::format("constant \"{}\" {}\n", constant.name, text_of(constant.view));
  }
  return text;
}

void StreamPlan::fail_options(std::string_view what, std::string_view others) const {
  std::map<std::string, std::string> own = parse_options(options_), other = parse_options(others);
  std::string text;
  for (const auto& [name, value] : own) other.emplace(name, "none");
  for (const auto& [name, value] : other) {
    const auto it = own.find(name);
    const std::string expected = it == own.end() ? "none" : it->second;
    if (value == expected) continue;
    text += fmt::format("{}{} is {}, not {}", text.empty() ? "" : ", ", name, value, expected);
  }
  if (text.empty()) fail(Code::kState, "{} has another layout, as of another version", what);
  fail(Code::kState, "{} is of a stream of other options: {}", what, text);
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
  if (!same) fail_options("the source", source.options_text(*this, any_batch));
  if (had > input_.max_length) {
    fail(Code::kLength, "the stream has had {} steps: too many for a max_length of {}", had,
         input_.max_length);
  }
  for (size_t i = 0; i < specs_.size();) {
    const bool is_ring = specs_[i].ring_parts > 0;
    if (!is_ring && specs_[i].item_bytes() != source.specs_[i].item_bytes()) {
      fail(Code::kInternal, "state tensor \"{}\" depends on max_steps and is no ring",
           specs_[i].name);
    }
    i += is_ring ? Ring::kTensors : 1;
  }
}

void StreamPlan::rebase(std::byte* data, const StreamPlan& source_plan,
                        const std::byte* source) const {
  if (source_plan.fingerprint_ == fingerprint_) {
    // copy_n, because both pointers may be null if the model has no state.
    std::copy_n(source, data_bytes_, data);
    return;
  }
  check_rebase(source_plan, source_plan.length(source), /*any_batch=*/false);
  for (int64_t b = 0; b < input_.batch; ++b) copy_item(data, b, source_plan, source, b);
}

void StreamPlan::rebase_item(std::byte* data, int64_t item, const StreamPlan& source_plan,
                             const std::byte* source, int64_t source_item) const {
  if (data == source && item == source_item) return;
  check_rebase(source_plan, source_plan.length(source, source_item), /*any_batch=*/true);
  copy_item(data, item, source_plan, source, source_item);
}

void StreamPlan::copy_item(std::byte* data, int64_t item, const StreamPlan& source_plan,
                           const std::byte* source, int64_t source_item) const {
  // A ring of larger capacity keeps its initial values where the source has no frames.
  if (source_plan.fingerprint_ != fingerprint_) initialise_item(data, item);
  const StateTensors to = tensors(data), from = source_plan.tensors(source);
  for (size_t i = 0; i < to.size();) {
    if (specs_[i].ring_parts > 0) {
      Ring::copy_item(to.slice(i, Ring::kTensors), item, from.slice(i, Ring::kTensors),
                      source_item);
      i += Ring::kTensors;
      continue;
    }
    std::memmove(to[i].item(item), from[i].item(source_item), specs_[i].item_bytes());
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
      imported_(plan_.constant_count()) {
  // Touch every page now, so that no step has a page fault.
  std::memset(memory, 0, plan_.bytes());
  reset();
  plan_.rehearse(data_, workspace_, /*valid=*/true);
  reset();
}

void Stream::step(const View& x, const View& y, bool with_emits, const Parallel* parallel) {
  plan_.check_room(data_, x.dims[1]);
  plan_.step(data_, workspace_, parallel ? *parallel : kOneThread, x, y, constants_, imported_,
             with_emits ? std::span<Sequence>(emits_) : std::span<Sequence>());
}

void Stream::copy_from(const Stream& source) { plan_.rebase(data_, source.plan_, source.data_); }

void Stream::copy_item(int64_t item, const Stream& source, int64_t source_item) {
  plan_.rebase_item(data_, item, source.plan_, source.data_, source_item);
}

size_t Stream::save_bytes() const {
  return sizeof(SaveHeader) + plan_.data_bytes() + plan_.options().size();
}

void Stream::save(std::byte* out) const {
  SaveHeader header{};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kSaveVersion;
  header.header_bytes = sizeof(SaveHeader);
  header.fingerprint = plan_.fingerprint();
  header.model_fingerprint = plan_.model().fingerprint();
  header.data_bytes = plan_.data_bytes();
  header.options_bytes = plan_.options().size();
  std::byte* const data = out + sizeof(header);
  std::memcpy(data, data_, header.data_bytes);
  std::memcpy(data + header.data_bytes, plan_.options().data(), header.options_bytes);
  header.checksum = hash_bytes(data, header.data_bytes + header.options_bytes);
  std::memcpy(out, &header, sizeof(header));
}

void Stream::load(const std::byte* in, size_t size) {
  SaveHeader header{};
  if (size < sizeof(header)) fail(Code::kState, "not a saved state: {} bytes", size);
  std::memcpy(&header, in, sizeof(header));
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0)
    fail(Code::kState, "not a saved state");
  if (header.version != kSaveVersion) {
    fail(Code::kState, "a saved state of version {}: expected version {}", header.version,
         kSaveVersion);
  }
  if (header.header_bytes != sizeof(header)) fail(Code::kState, "not a saved state");
  if (header.model_fingerprint != plan_.model().fingerprint())
    fail(Code::kState, "the saved state is of another model");
  const std::byte* const data = in + sizeof(header);
  size -= sizeof(header);
  if (header.data_bytes > size || header.options_bytes != size - header.data_bytes) {
    fail(Code::kState,
         "the saved state has {} bytes: expected {} of data and {} of options behind "
         "its first {}",
         size + sizeof(header), header.data_bytes, header.options_bytes, sizeof(header));
  }
  if (hash_bytes(data, size) != header.checksum)
    fail(Code::kState, "the saved state is damaged: its checksum differs");
  if (header.fingerprint != plan_.fingerprint()) {
    plan_.fail_options("the saved state", {reinterpret_cast<const char*>(data) + header.data_bytes,
                                           header.options_bytes});
  }
  if (header.data_bytes != plan_.data_bytes())
    fail(Code::kState, "the saved state is damaged: it has {} bytes of data", header.data_bytes);
  plan_.check_data(data);
  std::memcpy(data_, data, plan_.data_bytes());
}

}  // namespace sl
