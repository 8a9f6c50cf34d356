// Reads the fields that the configs of attention layers share.
#include <algorithm>

#include "layers/attention/attention_layer.h"

namespace sl {

AttentionFields::AttentionFields(Config& config, bool is_cross)
    : projection(config, is_cross),
      use_bias(config.boolean("use_bias", false)),
      per_dim_scale(config.boolean("per_dim_scale", false)),
      compute_dtype(config.optional_dtype("compute_dtype")),
      param_dtype(config.dtype("param_dtype", DType::kFloat32)),
      float32_logits(config.boolean("experimental_accumulate_logits_in_float32", false)) {
  heads.group = config.integer("num_heads", 1);
  heads.units = config.integer("units_per_head", 1);
  constexpr int64_t kMax = int64_t{1} << 31;
  if (heads.group * heads.units > kMax) {
    config.error("num_heads",
                 fmt::format("expected at most 2^31 units in total, got {} heads of {}",
                             heads.group, heads.units));
  }
  std::swap(heads.kv, heads.group);
  for (size_t i = 0; i < networks.size(); ++i) networks[i] = config.nested(kNetworks[i]);
  for (const char* field : {"attention_logits_soft_cap", "query_scale"}) {
    config.note(field, "number or null", "null");
  }
  config.note("num_kv_heads", "integer or null", "null");
  if (config.raw("attention_logits_soft_cap")) {
    const double cap = config.number("attention_logits_soft_cap");
    if (!(cap >= 0)) config.error("attention_logits_soft_cap", "expected null or at least 0");
    soft_cap = static_cast<float>(cap);
  }
  if (config.raw("query_scale")) query_scale = config.number("query_scale");
  config.ignore({"precision", "per_dim_scale_sharding"});
}

void AttentionFields::read_kv_heads(Config& config) {
  const int64_t kv = config.raw("num_kv_heads") ? config.integer("num_kv_heads", 0) : 0;
  if (kv == 0 || kv == heads.kv) return;
  if (heads.kv % kv != 0) {
    config.error("num_kv_heads", fmt::format("num_heads {} is not divisible by {}", heads.kv, kv));
  }
  if (projection.is_combined()) {
    config.error(
        "num_kv_heads",
        fmt::format("CombinedQueryKeyValueProjection makes the same number of heads for keys "
                    "and queries, {}, got {}: use another input_projection",
                    heads.kv, kv));
  }
  heads.group = heads.kv / kv;
  heads.kv = kv;
}

void AttentionFields::read_horizon(Config& config, const char* past, const char* future,
                                   int64_t minimum) {
  horizon.past = config.integer(past, minimum);
  future_field = future;
  horizon.future = config.integer(future, std::min<int64_t>(minimum, 0), 0);
  const int64_t all = std::max<int64_t>(0, horizon.past) + std::max<int64_t>(0, horizon.future) + 1;
  constexpr int64_t kMax = int64_t{1} << 31;
  if (all * horizon.block > kMax) {
    config.error(
        past, fmt::format("expected a window of at most 2^31 steps, got {}", all * horizon.block));
  }
}

void AttentionFields::read_score_fields(Config& config) {
  per_dim_key_scale = config.boolean("per_dim_key_scale", false);
  zero_fully_masked = config.boolean("zero_fully_masked", false);
  sink_embeddings = config.integer("num_sink_embeddings", 0, 0);
  sink_scalars = config.boolean("use_sink_scalars", false);
  relative_position = read_relative_position(config, heads);
  config.number("attention_probabilities_dropout_rate", 0);
  config.boolean("broadcast_dropout_across_queries", false);
  config.ignore({"sink_embeddings_init", "sink_embeddings_sharding", "sink_scalars_init"});
  if (sink_embeddings > 0 && sink_scalars)
    config.error("use_sink_scalars", "cannot be combined with num_sink_embeddings");
  if (sinks() > 0 && zero_fully_masked)
    config.error("zero_fully_masked", "cannot be combined with sinks");
}

void AttentionFields::read_window_fields(Config& config) {
  read_score_fields(config);
  if (relative_position && !relative_position->needs_fixed_window()) {
    config.error("relative_position_embedding",
                 "a bias on scores is not supported: expected null or "
                 "TransformerXLRelativePositionEmbedding");
  }
  const bool plain = sinks() == 0 && !relative_position;
  if (config.boolean("use_kv_cache_ringbuffer", false) && !plain) {
    config.error("use_kv_cache_ringbuffer",
                 "cannot be combined with sinks or relative_position_embedding");
  }
}

void AttentionFields::read_pair_fields(Config& config) {
  float32_scores = true;
  heads.interleaved = true;
  for (const char* field : {"position_name", "segment_ids_name"}) {
    config.note(field, "string or null", "null");
  }
  if (config.raw("position_name")) position_name = config.string("position_name");
  if (config.raw("segment_ids_name")) segment_ids_name = config.string("segment_ids_name");
  config.ignore({"flash_attention_query_block_size", "flash_attention_key_block_size"});
}

void AttentionFields::check(const Config& config) const {
  if (horizon.block == 1 && horizon.past == 0 && horizon.future == 0)
    config.error("max_past_horizon", "expected past or future steps to be seen: both are 0");
}

}  // namespace sl
