#include "model/decoder.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>

#include "core/philox.h"
#include "core/status.h"
#include "layers/token_table.h"
#include "model/advance.h"
#include "model/properties.h"
#include "model/token_views.h"

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

const TokenParts* parts_of(const Model& model) {
  return dynamic_cast<const TokenParts*>(&model.root());
}

StreamPlan make_plan(const Model& model, int64_t batch, const DecoderOptions& options,
                     std::span<const View> constants, std::span<const std::string> names) {
  check_time(model.root());
  const TokenParts* const parts = parts_of(model);
  if (options.num_negatives > 0 && !parts) {
    fail(Code::kUnsupported,
         "negatives guide only models of several tokens a step, such as a "
         "MultivariateDecoder");
  }
  const Shape channels = parts ? Shape{parts->part_count()} : Shape{};
  StreamPlan plan(model, {checked_product(batch, 1 + options.num_negatives),
                          1,
                          {DType::kInt32, channels},
                          constants,
                          names,
                          /*rehearse=*/true,
                          options.max_length});
  if (!parts) vocabulary_of(plan.output());
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

// Makes the model's inputs whose outputs predict the tokens of an item: the input of a step is the
// valid token before it, or `last` before the first one. Returns the last valid token.
int32_t shift(const Sequence& tokens, int64_t item, int32_t last, int32_t* out) {
  for (int64_t t = 0; t < tokens.time; ++t) {
    out[item * tokens.time + t] = last;
    if (*tokens.mask_at(item, t) != 0) last = tokens.as<int32_t>()[item * tokens.time + t];
  }
  return last;
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

void check_tokens(const Sequence& tokens, int64_t vocabulary, std::string_view has = "has") {
  for (int64_t i = 0; i < tokens.steps(); ++i) {
    const int32_t token = tokens.as<int32_t>()[i];
    if (tokens.mask[i] == 0 || (token >= 0 && token < vocabulary)) continue;
    fail(Code::kInvalidArgument, "tokens[{}, {}] is {}: the model {} {} tokens", i / tokens.time,
         i % tokens.time, token, has, vocabulary);
  }
}

constexpr char kSlotMagic[8] = {'S', 'L', 'T', 'O', 'K', 'E', 'N', 'S'};
constexpr uint32_t kSlotVersion = 1;

// A saved slot. The saved item of the stream follows it.
struct SlotHeader {
  char magic[8];
  uint32_t version;
  uint32_t header_bytes;
  int32_t start_token;
  int32_t stop_token;
  int32_t pad_token;
  float temperature;
  float top_p;
  int32_t last;
  int64_t top_k;
  uint64_t seed;
  uint64_t index;
  uint64_t step;
  uint32_t live;
  uint32_t verdict;
  uint64_t checksum;  // of the header before it
};
uint64_t checksum_of(const SlotHeader& header) {
  return hash_bytes(&header, offsetof(SlotHeader, checksum));
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
    : Decoder(make_plan(model, batch, options, constants, constant_names), options, allocator) {}

Decoder::Decoder(StreamPlan plan, const DecoderOptions& options, const Allocator& allocator)
    : choices_(options.choices),
      memory_(std::max(plan.bytes(), kAlignment), allocator),
      stream_(std::move(plan), memory_.data()),
      vocabulary_(stream_.plan().output().shape.back()),
      parts_(parts_of(stream_.plan().model())),
      num_negatives_(options.num_negatives),
      choose_(options.choose),
      choose_data_(options.choose_data) {
  const int64_t items = stream_.plan().input().batch, batch = items / items_per_slot();
  logits_.resize(logits_size(parts_ ? 1 : batch, vocabulary_, allocator));
  candidates_.resize(static_cast<size_t>(vocabulary_));
  streams_.resize(static_cast<size_t>(batch));
  inputs_.resize(static_cast<size_t>(checked_product(items, part_count())));
  live_.resize(static_cast<size_t>(items));
  items_.resize(static_cast<size_t>(items));
  const auto known =
      parts_ ? std::optional(parts_->token_count()) : tokens_into(stream_.plan().model().root());
  input_vocabulary_ = known.value_or(vocabulary_);
  knows_inputs_ = known.has_value();
  check(choices_);
  reset();
}

void Decoder::check(const Choices& choices, Code code, std::string_view where) const {
  if (parts_) {
    if (choices.start_token != 0 || choices.stop_token >= 0) {
      fail(
          code,
          "{}start_token and stop_token: a model of several tokens a step has its own start token, "
          "and no stop token",
          where);
    }
    return;
  }
  if (knows_inputs_ && choices.start_token >= input_vocabulary_) {
    fail(code, "{}start_token is {}: the model takes {} tokens", where, choices.start_token,
         input_vocabulary_);
  }
  if (choices.stop_token >= vocabulary_) {
    fail(code, "{}stop_token is {}: the model has {} tokens", where, choices.stop_token,
         vocabulary_);
  }
}

Decoder::TokenStream Decoder::started(const Choices& choices, uint64_t index) {
  TokenStream out;
  out.choices = choices;
  out.index = index;
  out.last = choices.start_token;
  return out;
}

void Decoder::reset() {
  stream_.reset();
  for (size_t i = 0; i < streams_.size(); ++i) streams_[i] = started(choices_, i);
}

Slots Decoder::items_of(const Slots& slots) {
  const int64_t per_slot = items_per_slot();
  if (per_slot == 1) return slots;
  if (!slots.map) return {nullptr, slots.first * per_slot, slots.count * per_slot};
  for (int64_t i = 0; i < slots.count * per_slot; ++i)
    items_[static_cast<size_t>(i)] = slots[i / per_slot] * per_slot + i % per_slot;
  return {items_.data(), 0, slots.count * per_slot};
}

Slots Decoder::check_slots(std::span<const int64_t> slots) {
  const auto marks = std::span(live_).first(static_cast<size_t>(batch()));
  std::ranges::fill(marks, uint8_t{0});
  return sl::check_slots(slots, marks);
}

void Decoder::reset_items(int64_t slot) {
  for (int64_t i = 0; i < items_per_slot(); ++i) stream_.reset_item(slot * items_per_slot() + i);
}

void Decoder::start_slot(int64_t slot, const Choices& choices) {
  reset_items(slot);
  stream_of(slot) = started(choices, 0);
}

void Decoder::reset_slot(int64_t slot) {
  reset_items(slot);
  stream_of(slot) = started(choices_, static_cast<uint64_t>(slot));
}

void Decoder::copy_from(const Decoder& source) {
  stream_.copy_from(source.stream_);
  for (size_t i = 0; i < streams_.size(); ++i) {
    TokenStream made = source.streams_[i];
    made.choices = streams_[i].choices;
    made.index = streams_[i].index;
    streams_[i] = made;
  }
}

void Decoder::copy_slot(int64_t slot, const Decoder& source, int64_t source_slot) {
  const int64_t count = items_per_slot();
  if (source.items_per_slot() != count) {
    fail(Code::kState, "the slots have {} negatives, those of the source {}", num_negatives_,
         source.num_negatives_);
  }
  for (int64_t i = 0; i < count; ++i)
    stream_.copy_item(slot * count + i, source.stream_, source_slot * count + i);
  stream_of(slot) = source.stream_of(source_slot);
}

size_t Decoder::save_slot_bytes() const {
  return sizeof(SlotHeader) + guidance_bytes() +
         static_cast<size_t>(items_per_slot()) * stream_.save_item_bytes();
}

void Decoder::save_slot(int64_t slot, std::byte* out) const {
  const TokenStream& stream = stream_of(slot);
  const Choices& choices = stream.choices;
  SlotHeader header{};
  std::memcpy(header.magic, kSlotMagic, sizeof(kSlotMagic));
  header.version = kSlotVersion;
  header.header_bytes = sizeof(header);
  header.start_token = choices.start_token;
  header.stop_token = choices.stop_token;
  header.pad_token = choices.pad_token;
  header.temperature = choices.sampling.temperature;
  header.top_p = choices.sampling.top_p;
  header.last = stream.last;
  header.top_k = choices.sampling.top_k;
  header.seed = choices.seed;
  header.index = stream.index;
  header.step = stream.step;
  header.live = stream.live;
  header.verdict = static_cast<uint32_t>(stream.verdict);
  header.checksum = checksum_of(header);
  std::memcpy(out, &header, sizeof(header));
  out += sizeof(header);
  std::memcpy(out, choices.guidance.data(), guidance_bytes());
  out += guidance_bytes();
  for (int64_t i = 0; i < items_per_slot(); ++i, out += stream_.save_item_bytes())
    stream_.save_item(slot * items_per_slot() + i, out);
}

void Decoder::load_slot(int64_t slot, const std::byte* in, size_t size) {
  SlotHeader header{};
  if (size < sizeof(header)) fail(Code::kState, "not a saved slot of a decoder: {} bytes", size);
  std::memcpy(&header, in, sizeof(header));
  if (std::memcmp(header.magic, kSlotMagic, sizeof(kSlotMagic)) != 0)
    fail(Code::kState, "not a saved slot of a decoder");
  if (header.version != kSlotVersion) {
    fail(Code::kState, "a saved slot of version {}: expected version {}", header.version,
         kSlotVersion);
  }
  if (header.header_bytes != sizeof(header) || header.checksum != checksum_of(header) ||
      header.verdict > static_cast<uint32_t>(Logits::kNoneLikely)) {
    fail(Code::kState, "the saved slot is damaged: its checksum differs");
  }
  TokenStream stream;
  stream.choices = {header.start_token,
                    header.stop_token,
                    header.pad_token,
                    header.seed,
                    {header.temperature, header.top_p, header.top_k},
                    {}};
  stream.index = header.index;
  stream.step = header.step;
  stream.last = header.last;
  stream.live = header.live != 0 ? 1 : 0;
  stream.verdict = static_cast<Logits>(header.verdict);
  const bool possible = stream.last >= 0 && std::isfinite(header.temperature) &&
                        header.temperature >= 0 && header.top_p > 0 && header.top_p <= 1 &&
                        header.top_k >= 0 && header.start_token >= 0;
  if (!possible || (knows_inputs_ && stream.last >= input_vocabulary_))
    fail(Code::kState, "the saved slot is damaged: it holds impossible choices");
  check(stream.choices, Code::kState, "the saved slot's ");
  load_items(slot, in + sizeof(header), size - sizeof(header), stream.choices);
  stream_of(slot) = stream;
}

void Decoder::log_prob(Workspace& workspace, const View& view, const Constants& constants,
                       const View& out, const Parallel* parallel) const {
  const Model& model = stream_.plan().model();
  Stack& stack = workspace.on(Side::kB);
  const Sequence tokens = import_sequence(stack, view, /*copy=*/true);
  const Parallel& threads = parallel ? *parallel : model.parallel();
  if (parts_) return log_prob_parts(workspace, tokens, constants, out, threads);
  check_tokens(tokens, vocabulary_);
  if (choices_.stop_token >= 0) end_at(tokens, choices_.stop_token);
  const auto steps = static_cast<size_t>(tokens.steps());
  Sequence x = tokens, y = tokens;
  x.values = stack.allocate(steps * sizeof(int32_t));
  y.dtype = DType::kFloat32;
  y.values = stack.allocate(steps * sizeof(float));
  for (int64_t b = 0; b < tokens.batch; ++b)
    shift(tokens, b, choices_.start_token, x.as<int32_t>());

  vocabulary_of(model.output({x.spec(), x.batch, x.time, Mode::kLayer}, constants).channels);
  const Sequence logits = model.apply(workspace, threads, x, {}, constants);
  for (int64_t i = 0; i < tokens.steps(); ++i) {
    const std::span<const float> row(logits.floats() + i * vocabulary_,
                                     static_cast<size_t>(vocabulary_));
    y.floats()[i] = 0;
    if (y.mask[i] == 0) continue;
    check_verdict(check_logits(row), "for tokens[{}, {}]", i / tokens.time, i % tokens.time);
    y.floats()[i] = sl::log_prob(row, tokens.as<int32_t>()[i]);
  }
  export_sequence(y, out);
}

void Decoder::prefill(const Slots& slots, const View& view, const Parallel* parallel) {
  const Model& model = stream_.plan().model();
  KeptMemory::Workspace workspace(model.kept_memory());
  Stack& stack = workspace->on(Side::kB);
  const Sequence tokens = import_sequence(stack, view);
  const Parallel& threads = parallel ? *parallel : model.parallel();
  if (parts_) return prefill_parts(slots, tokens, threads);
  check_tokens(tokens, input_vocabulary_, "takes");
  check_verdicts(slots);
  const auto count = static_cast<size_t>(tokens.steps());
  auto* inputs = reinterpret_cast<int32_t*>(stack.allocate(count * sizeof(int32_t)));
  std::vector<int32_t> last(static_cast<size_t>(slots.count));
  for (int64_t b = 0; b < slots.count; ++b)
    last[static_cast<size_t>(b)] = shift(tokens, b, stream_of(slots[b]).last, inputs);
  const View x = packed(DType::kInt32, {tokens.batch, tokens.time}, inputs, tokens.mask);
  // The logits of a prompt are not wanted: with a time stride of 0 all steps write to the same row.
  View y = packed(DType::kFloat32, {tokens.batch, 1, vocabulary_}, logits_.data(), nullptr);
  y.dims[1] = tokens.time;
  y.strides[1] = 0;
  advance(stream_, slots, threads, x, y, stream_.constants());

  for (int64_t b = 0; b < slots.count; ++b) {
    TokenStream& stream = stream_of(slots[b]);
    stream.last = last[static_cast<size_t>(b)];
    const auto* mask = tokens.mask_at(b, 0);
    if (std::any_of(mask, mask + tokens.time, [](uint8_t valid) { return valid != 0; }))
      stream.live = 1;
    stream.step += static_cast<uint64_t>(tokens.time);
  }
}

std::span<const float> Decoder::logits_of(int64_t item) const {
  return std::span(logits_).subspan(static_cast<size_t>(item * vocabulary_),
                                    static_cast<size_t>(vocabulary_));
}

void Decoder::check_verdicts(const Slots& slots) const {
  for (int64_t b = 0; b < slots.count; ++b) {
    const TokenStream& stream = stream_of(slots[b]);
    check_verdict(stream.verdict, "of stream {} at step {}", slots[b],
                  static_cast<int64_t>(stream.step));
  }
}

void Decoder::take(int64_t b, TokenStream& stream, int32_t* token, float* log_prob, uint8_t* mask) {
  const Choices& choices = stream.choices;
  *token = choices.pad_token;
  *log_prob = 0;
  *mask = 0;
  if (stream.live != 0) {
    const std::span<const float> logits = logits_of(b);
    stream.verdict = check_logits(logits);
    if (stream.verdict != Logits::kGood) {
      *log_prob = std::numeric_limits<float>::quiet_NaN();
      return;
    }
    const double random = uniform(choices.seed, stream.index, stream.step);
    *token = stream.last = draw(logits, choices.sampling, random, candidates_);
    *log_prob = sl::log_prob(logits, stream.last);
    *mask = 1;
    if (stream.last == choices.stop_token) stream.live = 0;
  }
  ++stream.step;
}

void Decoder::sample(const Slots& slots, int32_t* tokens, float* log_probs, uint8_t* mask,
                     const Parallel* parallel) {
  if (parts_) return sample_parts(slots, tokens, log_probs, mask, parallel);
  check_verdicts(slots);
  const int64_t count = slots.count;
  for (int64_t b = 0; b < count; ++b) {
    const TokenStream& stream = stream_of(slots[b]);
    inputs_[static_cast<size_t>(b)] = stream.last;
    live_[static_cast<size_t>(b)] = stream.live;
  }
  const View x = packed(DType::kInt32, {count, 1}, inputs_.data(), live_.data());
  const View y = packed(DType::kFloat32, {count, 1, vocabulary_}, logits_.data(), nullptr);
  stream_.step(slots, x, y, /*with_emits=*/false, parallel);
  for (int64_t b = 0; b < count; ++b) {
    float log_prob = 0;
    uint8_t valid = 0;
    take(b, stream_of(slots[b]), tokens + b, log_probs ? log_probs + b : &log_prob,
         mask ? mask + b : &valid);
  }
  check_verdicts(slots);
}

}  // namespace sl
