#include <cmath>

#include "convert.h"
#include "handles.h"

namespace {

using sl::Code;
using sl::capi::guard;
using sl::capi::not_null;
using sl::capi::recording;

constexpr sl::DType kToken = sl::DType::kInt32;

sl_decoder_options read_decoder_options(const sl_decoder_options* options) {
  auto out = sl::capi::read_struct(not_null(options, "options"), "options");
  out.batch = sl::capi::or_default<int64_t>(out.batch, 1);
  out.top_p = sl::capi::or_default(out.top_p, 1.0f);
  return out;
}

// -1 for none.
int32_t stop_token_of(const sl_decoder_options& given) {
  if (given.stop_token < -1) {
    sl::fail(Code::kInvalidArgument,
             "options.stop_token is {}: expected a token, or 0 or -1 for none", given.stop_token);
  }
  if (given.stop_at_zero == 0) return given.stop_token == 0 ? -1 : given.stop_token;
  if (given.stop_token > 0) {
    sl::fail(Code::kInvalidArgument, "options.stop_token is {}: expected 0 with stop_at_zero",
             given.stop_token);
  }
  return 0;
}

sl::Choices to_choices(const sl_decoder_options& given) {
  if (given.start_token < 0) {
    sl::fail(Code::kInvalidArgument, "options.start_token is {}: expected 0 or more",
             given.start_token);
  }
  if (!std::isfinite(given.temperature) || given.temperature < 0) {
    sl::fail(Code::kInvalidArgument, "options.temperature is {}: expected 0 or more",
             given.temperature);
  }
  if (!(given.top_p > 0 && given.top_p <= 1)) {
    sl::fail(Code::kInvalidArgument, "options.top_p is {}: expected 0 to 1, 0 for all tokens",
             given.top_p);
  }
  if (given.top_k < 0)
    sl::fail(Code::kInvalidArgument, "options.top_k is {}: expected 0 or more", given.top_k);
  sl::Choices choices{given.start_token,
                      stop_token_of(given),
                      given.pad_token,
                      given.seed,
                      {given.temperature, given.top_p, given.top_k},
                      {}};
  if (given.num_negatives < 0 || given.num_negatives > sl::kMaxNegatives) {
    sl::fail(Code::kInvalidArgument, "options.num_negatives is {}: expected 0 to {}",
             given.num_negatives, sl::kMaxNegatives);
  }
  for (int64_t i = 0; i < given.num_negatives; ++i) {
    const float scale = not_null(given.guidance, "options.guidance")[i];
    if (!std::isfinite(scale))
      sl::fail(Code::kInvalidArgument, "options.guidance[{}] is {}", i, scale);
    choices.guidance[static_cast<size_t>(i)] = scale;
  }
  return choices;
}

sl::DecoderOptions to_options(const sl_decoder_options& given) {
  sl::capi::check_batch(given.batch);
  sl::capi::check_max_length(given.max_length);
  return {to_choices(given), given.max_length, given.num_negatives, given.choose,
          given.choose_data};
}

sl::Decoder& decoder_of(sl_decoder* decoder) { return not_null(decoder, "decoder")->decoder; }

sl::Slots all_slots(const sl::Decoder& decoder) { return {nullptr, 0, decoder.batch()}; }

void check_slot(const sl::Decoder& decoder, int64_t slot, const char* name) {
  sl::capi::check_item(decoder.batch(), slot, name);
}

sl_run_options read_decoder_options(const sl_run_options* options) {
  const auto run = sl::capi::read_struct(options, "options");
  if (run.num_emits != 0 || run.state) {
    sl::fail(Code::kUnsupported, "options: a decoder takes constants, but no emits and no state");
  }
  return run;
}

// A view [batch, time] of that dtype, or [batch, time, tokens of a step].
sl::View to_steps(const sl::Decoder& decoder, const sl_sequence* given, sl::DType dtype,
                  const char* name) {
  sl::View view = sl::capi::to_sequence_view(given, name, /*needs_data=*/true);
  const bool has_parts = decoder.has_parts();
  if (view.dtype != dtype || view.dims.rank() != (has_parts ? 3 : 2) ||
      (has_parts && view.dims[2] != decoder.part_count())) {
    sl::fail(Code::kShape, "{} is {} {}: expected {} [batch, time{}]", name,
             sl::name_of(view.dtype), sl::to_string(view.dims), sl::name_of(dtype),
             has_parts ? fmt::format(", {}", decoder.part_count()) : "");
  }
  return view;
}

// Gives the decoder the constants of a call of `time` steps of so many slots.
void set_constants(sl::Decoder& decoder, const sl_run_options& run, int64_t time, int64_t slots) {
  sl::capi::set_constants(decoder.stream(), run, time, slots * decoder.items_per_slot());
}

void prefill(sl::Decoder& decoder, const sl::Slots& slots, const sl_sequence* tokens,
             const sl_run_options* options) {
  const sl::View in = to_steps(decoder, tokens, kToken, "tokens");
  if (in.dims[0] != slots.count) {
    sl::fail(Code::kShape, "tokens is of batch {}: {} {}", in.dims[0],
             slots.count == decoder.batch() ? "the decoder was made for" : "the call is for",
             slots.count);
  }
  const sl_run_options run = read_decoder_options(options);
  set_constants(decoder, run, in.dims[1], slots.count);
  decoder.prefill(slots, in, recording(run));
}

// Where a sample goes; log probabilities and mask may be null.
struct Sampled {
  int32_t* tokens;
  float* log_probs;
  uint8_t* mask;
};

void sample(sl::Decoder& decoder, const sl::Slots& slots, const Sampled& out,
            const sl_run_options* options) {
  not_null(out.tokens, "tokens");
  const sl_run_options run = read_decoder_options(options);
  set_constants(decoder, run, 1, slots.count);
  decoder.sample(slots, out.tokens, out.log_probs, out.mask, recording(run));
}

}  // namespace

sl_status sl_decoder_create(const sl_layer* layer, const sl_decoder_options* options,
                            sl_decoder** out, sl_error* error) {
  return guard(error, [&] {
    not_null(out, "out");
    const sl::Model& model = *not_null(layer, "layer")->model;
    const sl_decoder_options given = read_decoder_options(options);
    const auto constants =
        sl::capi::to_constants(given.constants, given.num_constants, /*needs_data=*/false);
    const sl::Allocator allocator = sl::capi::to_allocator(given.allocator, model.allocator());
    *out = new sl_decoder{
        layer,
        {model, to_options(given), given.batch, constants.views, constants.names, allocator}};
  });
}

sl_status sl_decoder_log_prob(const sl_decoder* decoder, const sl_sequence* tokens,
                              sl_sequence* log_probs, const sl_run_options* options,
                              sl_error* error) {
  return guard(error, [&] {
    not_null(decoder, "decoder");
    const sl::View in = to_steps(decoder->decoder, tokens, kToken, "tokens");
    const sl::View out = to_steps(decoder->decoder, log_probs, sl::DType::kFloat32, "log_probs");
    if (in.dims != out.dims) {
      sl::fail(Code::kShape, "log_probs is {}: expected {}", sl::to_string(out.dims),
               sl::to_string(in.dims));
    }
    const sl_run_options run = read_decoder_options(options);
    const auto given =
        sl::capi::to_constants(run.constants, run.num_constants, /*needs_data=*/true);
    sl::KeptMemory::Workspace workspace(decoder->layer->model->kept_memory());
    const std::vector<sl::Constant> constants =
        sl::capi::import_constants(workspace->on(sl::Side::kB), given);
    decoder->decoder.log_prob(*workspace, in, sl::Constants(constants), out, recording(run));
  });
}

sl_status sl_decoder_prefill(sl_decoder* decoder, const sl_sequence* tokens,
                             const sl_run_options* options, sl_error* error) {
  return guard(error, [&] {
    sl::Decoder& all = decoder_of(decoder);
    prefill(all, all_slots(all), tokens, options);
  });
}

sl_status sl_decoder_prefill_slot(sl_decoder* decoder, int64_t slot, const sl_sequence* tokens,
                                  const sl_run_options* options, sl_error* error) {
  return guard(error, [&] {
    check_slot(decoder_of(decoder), slot, "slot");
    prefill(decoder->decoder, {nullptr, slot, 1}, tokens, options);
  });
}

sl_status sl_decoder_sample(sl_decoder* decoder, int32_t* tokens, float* log_probs, uint8_t* mask,
                            const sl_run_options* options, sl_error* error) {
  return guard(error, [&] {
    sl::Decoder& all = decoder_of(decoder);
    sample(all, all_slots(all), {tokens, log_probs, mask}, options);
  });
}

sl_status sl_decoder_sample_slots(sl_decoder* decoder, const int64_t* slots, int64_t count,
                                  int32_t* tokens, float* log_probs, uint8_t* mask,
                                  const sl_run_options* options, sl_error* error) {
  return guard(error, [&] {
    sl::Decoder& all = decoder_of(decoder);
    const auto given = sl::capi::to_slots(slots, count, all.batch());
    sample(all, all.check_slots(given), {tokens, log_probs, mask}, options);
  });
}

sl_status sl_decoder_start_slot(sl_decoder* decoder, int64_t slot,
                                const sl_decoder_options* options, sl_error* error) {
  return guard(error, [&] {
    check_slot(decoder_of(decoder), slot, "slot");
    if (!options) return decoder->decoder.reset_slot(slot);
    const sl_decoder_options given = read_decoder_options(options);
    if (given.num_negatives != decoder->decoder.items_per_slot() - 1) {
      sl::fail(Code::kInvalidArgument, "options.num_negatives is {}: the decoder has {}",
               given.num_negatives, decoder->decoder.items_per_slot() - 1);
    }
    const sl::Choices choices = to_choices(given);
    decoder->decoder.check(choices);
    decoder->decoder.start_slot(slot, choices);
  });
}

sl_status sl_decoder_copy_slot(sl_decoder* target, int64_t target_slot, const sl_decoder* source,
                               int64_t source_slot, sl_error* error) {
  return guard(error, [&] {
    check_slot(not_null(target, "target")->decoder, target_slot, "target_slot");
    check_slot(not_null(source, "source")->decoder, source_slot, "source_slot");
    target->decoder.copy_slot(target_slot, source->decoder, source_slot);
  });
}

int64_t sl_decoder_step_tokens(const sl_decoder* decoder) {
  return decoder ? decoder->decoder.part_count() : 0;
}

size_t sl_decoder_save_slot_size(const sl_decoder* decoder) {
  return decoder ? decoder->decoder.save_slot_bytes() : 0;
}

sl_status sl_decoder_save_slot(const sl_decoder* decoder, int64_t slot, void* buffer, size_t size,
                               sl_error* error) {
  return guard(error, [&] {
    check_slot(not_null(decoder, "decoder")->decoder, slot, "slot");
    sl::capi::check_buffer(size, decoder->decoder.save_slot_bytes());
    decoder->decoder.save_slot(slot, static_cast<std::byte*>(not_null(buffer, "buffer")));
  });
}

sl_status sl_decoder_load_slot(sl_decoder* decoder, int64_t slot, const void* buffer, size_t size,
                               sl_error* error) {
  return guard(error, [&] {
    check_slot(decoder_of(decoder), slot, "slot");
    decoder->decoder.load_slot(slot, static_cast<const std::byte*>(not_null(buffer, "buffer")),
                               size);
  });
}

sl_status sl_decoder_copy(sl_decoder* target, const sl_decoder* source, sl_error* error) {
  return guard(error, [&] {
    not_null(target, "target")->decoder.copy_from(not_null(source, "source")->decoder);
  });
}

sl_status sl_decoder_reset(sl_decoder* decoder, sl_error* error) {
  return guard(error, [&] { not_null(decoder, "decoder")->decoder.reset(); });
}

void sl_decoder_free(sl_decoder* decoder) { delete decoder; }
