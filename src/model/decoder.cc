#include "model/decoder.h"

#include <algorithm>

#include "core/philox.h"
#include "core/status.h"
#include "layers/token_table.h"
#include "model/advance.h"

namespace sl {
namespace {

void check_time(const Layer& root) {
  if (root.block_size() == 1 && root.output_ratio() == Ratio(1) && root.input_latency() == 0 &&
      root.output_latency() == 0)
    return;
  fail(Code::kUnsupported,
       "a decoder needs a model of block size 1, output ratio 1 and no latency: this one has block "
       "size {}, input latency {} and output latency {}",
       root.block_size(), root.input_latency(), root.output_latency());
}

int64_t vocabulary_of(const ChannelSpec& output) {
  if (output.dtype != DType::kFloat32 || output.shape.rank() != 1 || output.shape[0] < 1 ||
      output.shape[0] > INT32_MAX) {
    fail(Code::kShape, "a decoder needs logits float32[vocabulary]: the model's output is {}",
         to_string(output));
  }
  return output.shape[0];
}

StreamPlan make_plan(const Model& model, int64_t batch, int64_t max_length,
                     std::span<const View> constants, std::span<const std::string> names) {
  check_time(model.root());
  StreamPlan plan(model,
                  {batch, 1, {DType::kInt32, {}}, constants, names, /*rehearse=*/true, max_length});
  vocabulary_of(plan.output());
  return plan;
}

// The size of the input vocabulary, if the first layer that computes something is a token table.
std::optional<int64_t> tokens_into(const Layer& layer) {
  if (const auto* table = dynamic_cast<const TokenTable*>(&layer)) return table->token_count();
  for (const Layer* child : layer.children()) {
    const auto known = tokens_into(*child);
    if (known || !child->returns_view()) return known;
  }
  return std::nullopt;
}

// A view of contiguous values [batch, time] or [batch, time, channels].
View packed(DType dtype, const Shape& dims, void* data, uint8_t* mask) {
  View view;
  view.dtype = dtype;
  view.dims = dims;
  view.strides = contiguous_strides(dims, dtype);
  view.data = static_cast<std::byte*>(data);
  view.mask = mask;
  view.mask_strides[0] = dims[1];
  view.mask_strides[1] = 1;
  return view;
}

// Makes the model's inputs whose outputs predict `tokens`: the input of a step is the valid token
// before it. `last` holds the token before the first step of each item, and on return the last
// valid token.
void shift(const Sequence& tokens, std::span<int32_t> last, int32_t* out) {
  for (int64_t i = 0; i < tokens.steps(); ++i) {
    int32_t& before = last[static_cast<size_t>(i / tokens.time)];
    out[i] = before;
    if (tokens.mask[i] != 0) before = tokens.as<int32_t>()[i];
  }
}

// Makes all steps after the first stop token invalid.
void end_at(const Sequence& tokens, int32_t stop) {
  for (int64_t b = 0; b < tokens.batch; ++b) {
    bool stopped = false;
    for (int64_t t = 0; t < tokens.time; ++t) {
      uint8_t& valid = *tokens.mask_at(b, t);
      if (stopped) valid = 0;
      stopped = stopped || (valid != 0 && tokens.as<int32_t>()[b * tokens.time + t] == stop);
    }
  }
}

// Fails if no token can be drawn from the logits. `where` formats their item and time.
void check_row(std::span<const float> logits, fmt::format_string<int64_t&, int64_t&> where,
               int64_t item, int64_t time) {
  const Logits verdict = check_logits(logits);
  if (verdict == Logits::kGood) return;
  fail(Code::kUnsupported, "the model's logits {} are {}", fmt::format(where, item, time),
       verdict == Logits::kNaN ? "NaN" : "all minus infinity: no token is possible");
}

void check_tokens(const Sequence& tokens, int64_t vocabulary, std::string_view has = "has") {
  for (int64_t i = 0; i < tokens.steps(); ++i) {
    const int32_t token = tokens.as<int32_t>()[i];
    if (tokens.mask[i] == 0 || (token >= 0 && token < vocabulary)) continue;
    fail(Code::kInvalidArgument, "tokens[{}, {}] is {}: the model {} {} tokens", i / tokens.time,
         i % tokens.time, token, has, vocabulary);
  }
}

size_t logits_size(int64_t batch, int64_t vocabulary, const Allocator& allocator) {
  const int64_t size = checked_product(batch, vocabulary);
  require_memory(checked_bytes(size, sizeof(float)), allocator.max_bytes);
  return static_cast<size_t>(size);
}

}  // namespace

Decoder::Decoder(const Model& model, const DecoderOptions& options, int64_t batch,
                 std::span<const View> constants, std::span<const std::string> constant_names,
                 const Allocator& allocator)
    : Decoder(make_plan(model, batch, options.max_length, constants, constant_names), options,
              allocator) {}

Decoder::Decoder(StreamPlan plan, const DecoderOptions& options, const Allocator& allocator)
    : options_(options),
      memory_(std::max(plan.bytes(), kAlignment), allocator),
      stream_(std::move(plan), memory_.data()),
      vocabulary_(stream_.plan().output().shape[0]),
      logits_(logits_size(batch(), vocabulary_, allocator)),
      candidates_(static_cast<size_t>(vocabulary_)),
      last_(static_cast<size_t>(batch())),
      live_(static_cast<size_t>(batch())) {
  const auto known = tokens_into(stream_.plan().model().root());
  input_vocabulary_ = known.value_or(vocabulary_);
  if (known && options.start_token >= *known) {
    fail(Code::kInvalidArgument, "options.start_token is {}: the model takes {} tokens",
         options.start_token, *known);
  }
  if (options.stop_token >= vocabulary_) {
    fail(Code::kInvalidArgument, "options.stop_token is {}: the model has {} tokens",
         options.stop_token, vocabulary_);
  }
  reset();
}

void Decoder::reset() {
  stream_.reset();
  std::ranges::fill(last_, options_.start_token);
  std::ranges::fill(live_, uint8_t{1});
  failed_ = false;
  step_ = 0;
}

void Decoder::copy_from(const Decoder& source) {
  stream_.copy_from(source.stream_);
  std::ranges::copy(source.last_, last_.begin());
  std::ranges::copy(source.live_, live_.begin());
  if (source.failed_) std::ranges::copy(source.logits_, logits_.begin());
  failed_ = source.failed_;
  step_ = source.step_;
}

void Decoder::log_prob(Workspace& workspace, const View& view, const Constants& constants,
                       const View& out, const Parallel* parallel) const {
  const Model& model = stream_.plan().model();
  Stack& stack = workspace.on(Side::kB);
  const Sequence tokens = import_sequence(stack, view, /*copy=*/true);
  check_tokens(tokens, vocabulary_);
  if (options_.stop_token >= 0) end_at(tokens, options_.stop_token);
  const auto steps = static_cast<size_t>(tokens.steps());
  Sequence x = tokens, y = tokens;
  x.values = stack.allocate(steps * sizeof(int32_t));
  y.dtype = DType::kFloat32;
  y.values = stack.allocate(steps * sizeof(float));
  std::vector<int32_t> last(static_cast<size_t>(tokens.batch), options_.start_token);
  shift(tokens, last, x.as<int32_t>());

  vocabulary_of(model.output({x.spec(), x.batch, x.time, Mode::kLayer}, constants).channels);
  const Sequence logits =
      model.apply(workspace, parallel ? *parallel : model.parallel(), x, {}, constants);
  for (int64_t i = 0; i < tokens.steps(); ++i) {
    const std::span<const float> row(logits.floats() + i * vocabulary_,
                                     static_cast<size_t>(vocabulary_));
    y.floats()[i] = 0;
    if (y.mask[i] == 0) continue;
    check_row(row, "for tokens[{}, {}]", i / tokens.time, i % tokens.time);
    y.floats()[i] = sl::log_prob(row, tokens.as<int32_t>()[i]);
  }
  export_sequence(y, out);
}

void Decoder::prefill(const View& view, const Parallel* parallel) {
  const Model& model = stream_.plan().model();
  Workspace workspace(model.allocator());
  Stack& stack = workspace.on(Side::kB);
  const Sequence tokens = import_sequence(stack, view);
  check_tokens(tokens, input_vocabulary_, "takes");
  if (failed_) check_step();
  auto* inputs = reinterpret_cast<int32_t*>(
      stack.allocate(static_cast<size_t>(tokens.steps()) * sizeof(int32_t)));
  std::vector<int32_t> last = last_;
  shift(tokens, last, inputs);
  const View x = packed(DType::kInt32, {tokens.batch, tokens.time}, inputs, tokens.mask);
  // The logits of a prompt are not wanted: with a time stride of 0 all steps write to the same row.
  View y = packed(DType::kFloat32, {tokens.batch, 1, vocabulary_}, logits_.data(), nullptr);
  y.dims[1] = tokens.time;
  y.strides[1] = 0;
  advance(stream_, parallel ? *parallel : model.parallel(), x, y, stream_.constants());

  last_ = std::move(last);
  for (int64_t i = 0; i < tokens.steps(); ++i) {
    if (tokens.mask[i] != 0) live_[static_cast<size_t>(i / tokens.time)] = 1;
  }
  step_ += static_cast<uint64_t>(tokens.time);
}

std::span<const float> Decoder::logits_of(int64_t item) const {
  return std::span(logits_).subspan(static_cast<size_t>(item * vocabulary_),
                                    static_cast<size_t>(vocabulary_));
}

int32_t Decoder::choose(int64_t item) {
  const double random = uniform(options_.seed, static_cast<uint64_t>(item), step_);
  return draw(logits_of(item), options_.sampling, random, candidates_);
}

void Decoder::check_step() const {
  for (int64_t b = 0; b < batch(); ++b) {
    if (live_[static_cast<size_t>(b)] == 0) continue;
    check_row(logits_of(b), "of stream {} at step {}", b, static_cast<int64_t>(step_));
  }
}

void Decoder::sample(int32_t* tokens, float* log_probs, uint8_t* mask, const Parallel* parallel) {
  const View x = packed(DType::kInt32, {batch(), 1}, last_.data(), live_.data());
  const View y = packed(DType::kFloat32, {batch(), 1, vocabulary_}, logits_.data(), nullptr);
  if (!failed_) stream_.step(x, y, /*with_emits=*/false, parallel);
  failed_ = true;
  check_step();
  failed_ = false;
  for (int64_t b = 0; b < batch(); ++b) {
    const auto i = static_cast<size_t>(b);
    const bool live = live_[i] != 0;
    if (live) last_[i] = choose(b);
    tokens[b] = live ? last_[i] : options_.pad_token;
    if (log_probs) log_probs[b] = live ? sl::log_prob(logits_of(b), last_[i]) : 0;
    if (mask) mask[b] = live ? 1 : 0;
    if (last_[i] == options_.stop_token) live_[i] = 0;
  }
  ++step_;
}

}  // namespace sl
