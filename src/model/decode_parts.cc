// Decoding with models whose step is a frame of several tokens, each chosen by the logits that
// follow from the ones before it. Negatives of a slot run beside it as items of the same stream:
// they get the slot's tokens, other constants, and push its logits away from theirs.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/philox.h"
#include "core/status.h"
#include "model/advance.h"
#include "model/decoder.h"
#include "model/token_views.h"

namespace sl {
namespace {

// Takes all tokens from the input.
class GivenTokens final : public TokenSource {
 public:
  bool reads_logits() const override { return false; }
  void choose(int64_t, const Sequence&, int32_t*) override {}
};

void check_frames(const Sequence& tokens, int64_t parts, int64_t count) {
  if (tokens.channels != Shape{parts}) {
    fail(Code::kShape, "tokens are of {} a step: the model has {}", to_string(tokens.channels),
         parts);
  }
  for (int64_t i = 0; i < tokens.size(); ++i) {
    const int64_t step = i / parts;
    const int32_t token = tokens.as<int32_t>()[i];
    if (tokens.mask[step] == 0 || (token >= 0 && token < count)) continue;
    fail(Code::kInvalidArgument, "tokens[{}, {}, {}] is {}: the model has {} tokens",
         step / tokens.time, step % tokens.time, i % parts, token, count);
  }
}

}  // namespace

// Chooses the tokens of one step of some slots.
class Decoder::PartChooser final : public TokenSource {
 public:
  PartChooser(Decoder& decoder, const Slots& slots, int32_t* tokens, float* log_probs)
      : decoder_(decoder), slots_(slots), tokens_(tokens), log_probs_(log_probs) {
    decoder_.stream_.set_token_source(this);
  }
  PartChooser(const PartChooser&) = delete;
  PartChooser& operator=(const PartChooser&) = delete;
  ~PartChooser() { decoder_.stream_.set_token_source(nullptr); }

  bool reads_logits() const override { return true; }
  void choose(int64_t part, const Sequence& logits, int32_t* tokens) override {
    const int64_t parts = decoder_.part_count(), per_slot = decoder_.items_per_slot();
    for (int64_t b = 0; b < slots_.count; ++b) {
      const int32_t token = choose_for(b, part, logits);
      tokens_[b * parts + part] = token;
      std::fill_n(tokens + b * per_slot, per_slot, token);
    }
  }

 private:
  int32_t choose_for(int64_t b, int64_t part, const Sequence& logits) {
    TokenStream& stream = decoder_.stream_of(slots_[b]);
    const TokenParts& parts = *decoder_.parts_;
    const std::span<const float> possible = decoder_.guided(
        stream.choices, part, logits, b * decoder_.items_per_slot(), decoder_.logits_);
    const int32_t first = parts.first_token(part) + static_cast<int32_t>(parts.first_logit(part));
    float* const log_prob = log_probs_ ? log_probs_ + b * decoder_.part_count() + part : nullptr;
    if (stream.verdict == Logits::kGood) stream.verdict = check_logits(possible);
    if (stream.verdict != Logits::kGood) return first;
    const int32_t index = index_of(stream, slots_[b], part, possible);
    if (log_prob) *log_prob = sl::log_prob(possible, index);
    return first + index;
  }

  int32_t index_of(const TokenStream& stream, int64_t slot, int64_t part,
                   std::span<const float> logits) {
    if (decoder_.choose_) {
      const int64_t chosen =
          decoder_.choose_(decoder_.choose_data_, slot, part, logits.data(), std::ssize(logits));
      if (chosen >= 0 && chosen < std::ssize(logits)) return static_cast<int32_t>(chosen);
    }
    const auto number = stream.step * static_cast<uint64_t>(decoder_.part_count());
    const double random =
        uniform(stream.choices.seed, stream.index, number + static_cast<uint64_t>(part));
    Sampling sampling = stream.choices.sampling;
    sampling.temperature_last = decoder_.parts_->temperature_last();
    return draw(logits, sampling, random, decoder_.candidates_);
  }

  Decoder& decoder_;
  const Slots& slots_;
  int32_t* tokens_;
  float* log_probs_;
};

std::span<const float> Decoder::guided(const Choices& choices, int64_t part, const Sequence& logits,
                                       int64_t item, std::span<float> out) const {
  const auto count = static_cast<size_t>(parts_->logit_count());
  const auto row = [&](int64_t i) {
    return reinterpret_cast<const float*>(logits.frame(i, 0)) + parts_->first_logit(part);
  };
  const float* own = row(item);
  if (num_negatives_ == 0) return {own, count};
  std::copy_n(own, count, out.data());
  for (int64_t n = 0; n < num_negatives_; ++n) {
    const float scale = choices.guidance[static_cast<size_t>(n)];
    const float* negative = row(item + 1 + n);
    for (size_t i = 0; i < count; ++i) out[i] += scale * (own[i] - negative[i]);
  }
  return out.first(count);
}

void Decoder::sample_parts(const Slots& slots, int32_t* tokens, float* log_probs, uint8_t* mask,
                           const Parallel* parallel) {
  check_verdicts(slots);
  const Slots items = items_of(slots);
  const int64_t parts = part_count();
  std::fill_n(inputs_.data(), items.count * parts, 0);
  std::fill_n(live_.data(), items.count, uint8_t{1});
  const View x = packed(DType::kInt32, {items.count, 1, parts}, inputs_.data(), live_.data());
  const View none = packed(DType::kFloat32, {items.count, 1, parts, vocabulary_}, nullptr, nullptr);
  {
    PartChooser chooser(*this, slots, tokens, log_probs);
    stream_.step(items, x, none, /*with_emits=*/false, parallel);
  }
  for (int64_t b = 0; b < slots.count; ++b) {
    TokenStream& stream = stream_of(slots[b]);
    const bool good = stream.verdict == Logits::kGood;
    if (mask) mask[b] = good ? 1 : 0;
    if (good) {
      ++stream.step;
      continue;
    }
    std::fill_n(tokens + b * parts, parts, stream.choices.pad_token);
    if (log_probs)
      std::fill_n(log_probs + b * parts, parts, std::numeric_limits<float>::quiet_NaN());
  }
  check_verdicts(slots);
}

void Decoder::prefill_parts(const Slots& slots, const Sequence& tokens, const Parallel& parallel) {
  check_frames(tokens, part_count(), input_vocabulary_);
  check_verdicts(slots);
  const int64_t per_slot = items_per_slot(), steps = tokens.time, parts = part_count();
  KeptMemory::Workspace workspace(stream_.plan().model().kept_memory());
  Stack& stack = workspace->on(Side::kA);
  Sequence all = tokens;
  all.batch = checked_product(tokens.batch, per_slot);
  all.values = stack.allocate(all.bytes());
  all.mask = reinterpret_cast<uint8_t*>(stack.allocate(static_cast<size_t>(all.steps())));
  for (int64_t i = 0; i < all.batch; ++i) {
    std::memcpy(all.frame(i, 0), tokens.frame(i / per_slot, 0),
                static_cast<size_t>(steps) * tokens.frame_bytes());
    std::copy_n(tokens.mask_at(i / per_slot, 0), steps, all.mask_at(i, 0));
  }
  GivenTokens given;
  const View x = packed(DType::kInt32, {all.batch, steps, parts}, all.values, all.mask);
  View none = packed(DType::kFloat32, {all.batch, steps, parts, vocabulary_}, nullptr, nullptr);
  none.strides.fill(0);
  advance(stream_, items_of(slots), parallel, x, none, stream_.constants(), {}, &given);
  for (int64_t b = 0; b < slots.count; ++b)
    stream_of(slots[b]).step += static_cast<uint64_t>(steps);
}

void Decoder::log_prob_parts(Workspace& workspace, const Sequence& tokens,
                             const Constants& constants, const View& out,
                             const Parallel& parallel) const {
  check_frames(tokens, part_count(), input_vocabulary_);
  const int64_t parts = part_count();
  Sequence y = tokens;
  y.dtype = DType::kFloat32;
  y.values = workspace.on(Side::kB).allocate(tokens.bytes());
  const Sequence logits = stream_.plan().model().apply(workspace, parallel, tokens, {}, constants);
  for (int64_t i = 0; i < tokens.size(); ++i) {
    const int64_t step = i / parts, part = i % parts;
    y.floats()[i] = 0;
    if (y.mask[step] == 0) continue;
    const std::span<const float> row(logits.floats() + i * vocabulary_ + parts_->first_logit(part),
                                     static_cast<size_t>(parts_->logit_count()));
    check_verdict(check_logits(row), "for tokens[{}, {}]", step / tokens.time, step % tokens.time);
    const int64_t index =
        tokens.as<int32_t>()[i] - parts_->first_token(part) - parts_->first_logit(part);
    y.floats()[i] = index >= 0 && index < std::ssize(row)
                        ? sl::log_prob(row, static_cast<int32_t>(index))
                        : -std::numeric_limits<float>::infinity();
  }
  export_sequence(y, out);
}

void Decoder::load_items(int64_t slot, const std::byte* in, size_t size, Choices& choices) {
  const size_t count = static_cast<size_t>(items_per_slot());
  if (size < guidance_bytes() || (size - guidance_bytes()) % count != 0)
    fail(Code::kState, "a saved slot of another number of negatives than {}", num_negatives_);
  std::memcpy(choices.guidance.data(), in, guidance_bytes());
  for (int64_t n = 0; n < num_negatives_; ++n) {
    if (!std::isfinite(choices.guidance[static_cast<size_t>(n)]))
      fail(Code::kState, "the saved slot is damaged: it holds impossible choices");
  }
  in += guidance_bytes();
  const size_t bytes = (size - guidance_bytes()) / count;
  for (size_t i = 0; i < count; ++i) stream_.check_saved_item(in + i * bytes, bytes);
  for (size_t i = 0; i < count; ++i)
    stream_.load_item(slot * items_per_slot() + static_cast<int64_t>(i), in + i * bytes, bytes);
}

}  // namespace sl
