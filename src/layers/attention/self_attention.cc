#include "layers/attention/self_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "ops/elementwise.h"

namespace sl {
namespace {

constexpr const char* kNetworkNames[] = {"query_network", "key_network", "value_network"};

std::vector<StackedDense::Part> all_parts(const SelfAttentionFields& fields) {
  auto parts = fields.projection.queries(fields.heads);
  for (auto& part : fields.projection.keys_and_values(fields.heads)) parts.push_back(part);
  return parts;
}

HeadScale query_scale(const SelfAttentionFields& fields, const WeightScope& weights) {
  const double otherwise = 1 / std::sqrt(static_cast<double>(fields.heads.units));
  return HeadScale(fields.query_scale.value_or(otherwise),
                   fields.per_dim_scale ? "per_dim_scale" : "", fields.heads.units, weights);
}

ops::Heads of_keys(const ops::Heads& heads) { return {heads.kv, 1, heads.units, false}; }

void combine(const uint8_t* a, const uint8_t* b, int64_t count, uint8_t* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = a[i] & b[i];
}

}  // namespace

SelfAttentionFields::SelfAttentionFields(Config& config)
    : projection(config),
      use_bias(config.boolean("use_bias", false)),
      per_dim_scale(config.boolean("per_dim_scale", false)),
      compute_dtype(config.optional_dtype("compute_dtype")),
      param_dtype(config.dtype("param_dtype", DType::kFloat32)),
      float32_logits(config.boolean("experimental_accumulate_logits_in_float32", false)) {
  heads.group = config.integer("num_heads", 1);
  heads.units = config.integer("units_per_head", 1);
  constexpr int64_t kMost = int64_t{1} << 31;
  if (heads.group * heads.units > kMost) {
    config.error("num_heads", fmt::format("expected at most 2^31 units in all, got {} heads of {}",
                                          heads.group, heads.units));
  }
  std::swap(heads.kv, heads.group);
  for (size_t i = 0; i < networks.size(); ++i) networks[i] = config.nested(kNetworkNames[i]);
  if (config.raw("attention_logits_soft_cap")) {
    const double cap = config.number("attention_logits_soft_cap");
    if (!(cap >= 0)) config.error("attention_logits_soft_cap", "expected null or at least 0");
    soft_cap = static_cast<float>(cap);
  }
  if (config.raw("query_scale")) query_scale = config.number("query_scale");
  config.ignore({"precision", "per_dim_scale_sharding"});
}

void SelfAttentionFields::read_kv_heads(Config& config) {
  const int64_t kv = config.raw("num_kv_heads") ? config.integer("num_kv_heads", 0) : 0;
  if (kv == 0 || kv == heads.kv) return;
  if (heads.kv % kv != 0) {
    config.error("num_kv_heads", fmt::format("num_heads {} is not divisible by {}", heads.kv, kv));
  }
  if (projection.is_combined()) {
    config.error("num_kv_heads",
                 fmt::format("CombinedQueryKeyValueProjection makes as many heads of keys as of "
                             "queries, {}, got {}: use another input_projection",
                             heads.kv, kv));
  }
  heads.group = heads.kv / kv;
  heads.kv = kv;
}

void SelfAttentionFields::read_horizon(Config& config, const char* past, const char* future,
                                       int64_t least) {
  horizon.past = config.integer(past, least);
  horizon.future = config.integer(future, std::min<int64_t>(least, 0), 0);
  const int64_t all = std::max<int64_t>(0, horizon.past) + std::max<int64_t>(0, horizon.future) + 1;
  constexpr int64_t kMost = int64_t{1} << 31;
  if (all * horizon.block > kMost) {
    config.error(past,
                 fmt::format("expected at most 2^31 steps in sight, got {}", all * horizon.block));
  }
}

void SelfAttentionFields::read_score_fields(Config& config) {
  per_dim_key_scale = config.boolean("per_dim_key_scale", false);
  zero_fully_masked = config.boolean("zero_fully_masked", false);
  sink_embeddings = config.integer("num_sink_embeddings", 0, 0);
  sink_scalars = config.boolean("use_sink_scalars", false);
  relative_position = read_relative_position(config, heads);
  config.number("attention_probabilities_dropout_rate", 0);
  config.boolean("broadcast_dropout_across_queries", false);
  config.ignore({"sink_embeddings_init", "sink_embeddings_sharding", "sink_scalars_init"});
  if (sink_embeddings > 0 && sink_scalars)
    config.error("use_sink_scalars", "cannot be together with num_sink_embeddings");
  if (sinks() > 0 && zero_fully_masked)
    config.error("zero_fully_masked", "cannot be together with sinks");
}

void SelfAttentionFields::read_pair_fields(Config& config) {
  float32_scores = true;
  heads.interleaved = true;
  if (config.raw("position_name")) position_name = config.string("position_name");
  if (config.raw("segment_ids_name")) segment_ids_name = config.string("segment_ids_name");
  config.ignore({"flash_attention_query_block_size", "flash_attention_key_block_size"});
}

void SelfAttentionFields::check(const Config& config) const {
  if (horizon.block == 1 && horizon.past == 0 && horizon.future == 0)
    config.error("max_past_horizon", "expected past or future steps to be seen: both are 0");
}

SelfAttention::SelfAttention(SelfAttentionFields fields, const Init& init)
    : fields_(std::move(fields)),
      dense_(all_parts(fields_), fields_.use_bias, fields_.compute_dtype, init.weights),
      query_scale_(query_scale(fields_, init.weights)),
      positions_(fields_.position_name, fields_.horizon.block),
      segments_(fields_.segment_ids_name, 1) {
  const ops::Heads& heads = fields_.heads;
  if (fields_.per_dim_key_scale)
    key_scale_.emplace(1.0, "per_dim_key_scale", heads.units, init.weights);
  if (const int64_t count = fields_.sink_embeddings; count > 0) {
    sink_keys_ =
        by_head(init.weights.floats("sink_key_embeddings", {count, heads.count(), heads.units}),
                count, {heads.count(), 1, heads.units});
    sink_values_ =
        by_head(init.weights.floats("sink_value_embeddings", {count, heads.kv, heads.units}), count,
                of_keys(heads));
  }
  if (fields_.sink_scalars) sink_scores_ = init.weights.floats("sink_scalars", {heads.count()});
  if (fields_.relative_position) {
    relative_ = fields_.relative_position->make(heads, fields_.horizon,
                                                init.weights.child("relative_position_embedding"));
  }
  for (size_t i = 0; i < networks_.size(); ++i) {
    const std::optional<Config>& config = fields_.networks[i];
    if (!config) continue;
    networks_[i] = init.builder.build(*config, init.weights, kNetworkNames[i]);
    const Layer& network = *networks_[i];
    if (network.output_ratio() != Ratio(1) || fields_.horizon.block % network.block_size() != 0) {
      fail(Code::kConfig,
           "{}: expected a layer of output ratio 1 whose block size divides {}, got a ratio of "
           "{}/{} and a block size of {}",
           config->path(), fields_.horizon.block, network.output_ratio().numerator(),
           network.output_ratio().denominator(), network.block_size());
    }
  }
}

std::vector<const Layer*> SelfAttention::children() const {
  std::vector<const Layer*> out;
  for (const auto& network : networks_) {
    if (network) out.push_back(network.get());
  }
  return out;
}

ChannelSpec SelfAttention::child_input(const Layer& child, const ChannelSpec& input,
                                       const Constants&) const {
  const ops::Heads& heads = fields_.heads;
  const int64_t count = &child == networks_[0].get() ? heads.count() : heads.kv;
  return {compute_dtype(input.dtype), {count, heads.units}};
}

std::vector<ConstantSpec> SelfAttention::constants() const {
  std::vector<ConstantSpec> out = positions_.constants();
  for (ConstantSpec& spec : segments_.constants()) out.push_back(std::move(spec));
  return out;
}

bool SelfAttention::supports_step() const {
  const ops::Horizon& horizon = fields_.horizon;
  if (horizon.past < 0 || horizon.future < 0) return false;
  if (fields_.relative_position && horizon.future > 0) return false;
  return std::ranges::all_of(
      networks_, [](const auto& network) { return !network || network->supports_step(); });
}

int64_t SelfAttention::past_steps() const {
  return std::max<int64_t>(0, fields_.horizon.past) * fields_.horizon.block;
}
int64_t SelfAttention::future_steps() const {
  return std::max<int64_t>(0, fields_.horizon.future) * fields_.horizon.block;
}
int64_t SelfAttention::input_latency() const { return future_steps(); }

ReceptiveFields SelfAttention::receptive_field_per_step() const {
  const ops::Horizon& horizon = fields_.horizon;
  ReceptiveFields fields;
  for (int64_t i = 0; i < horizon.block; ++i) {
    fields.push_back(
        StepRange{horizon.past < 0 ? -kInfinite : -past_steps() - i,
                  horizon.future < 0 ? kInfinite : future_steps() + horizon.block - 1 - i});
  }
  return fields;
}

DType SelfAttention::compute_dtype(DType input) const {
  return fields_.compute_dtype.value_or(promote_inexact(input, fields_.param_dtype));
}

ChannelSpec SelfAttention::output_spec(const ChannelSpec& input, const Constants& constants) const {
  const ops::Heads& heads = fields_.heads;
  if (input.shape != Shape{dense_.inputs()}) {
    fail(Code::kShape, "{} \"{}\": expected channels [{}], got {}", type(), name(), dense_.inputs(),
         to_string(input.shape));
  }
  const DType compute = compute_dtype(input.dtype);
  if (!is_float(compute) || input.dtype == DType::kComplex64) {
    fail(Code::kShape, "{} \"{}\": cannot compute on {} in {}", type(), name(),
         name_of(input.dtype), name_of(compute));
  }
  for (size_t i = 0; i < networks_.size(); ++i) {
    if (!networks_[i]) continue;
    const ChannelSpec given = child_input(*networks_[i], input, constants);
    const ChannelSpec made = networks_[i]->output_spec(given, constants);
    if (made.shape != given.shape || !is_float(made.dtype)) {
      fail(Code::kShape, "{} \"{}\": its {} makes {}: expected floats of channels {}", type(),
           name(), kNetworkNames[i], to_string(made), to_string(given.shape));
    }
  }
  return {compute, {heads.count(), heads.units}};
}

std::optional<ChannelSpec> SelfAttention::implied_input() const {
  return ChannelSpec{DType::kFloat32, {dense_.inputs()}};
}

ops::Heads SelfAttention::kv_heads() const { return of_keys(fields_.heads); }

// Two items for each batch item and head: keys, and values.
RingSpec SelfAttention::key_ring() const {
  return {{DType::kFloat32, {fields_.heads.width()}}, past_steps() + future_steps()};
}

// Queries wait until what they see of the future is there.
RingSpec SelfAttention::query_ring() const {
  return {{DType::kFloat32, {fields_.heads.count() * fields_.heads.units}}, future_steps()};
}

void SelfAttention::declare(Declaration& declaration, const SequenceSpec& input) const {
  const ops::Heads& heads = fields_.heads;
  const DType compute = compute_dtype(input.channels.dtype);
  for (const auto& network : networks_) {
    if (!network) continue;
    SequenceSpec spec = input;
    spec.channels = child_input(*network, input.channels, declaration.constants());
    declaration.within(network->name(), "", [&] {
      declaration.without_emits([&] { network->declare(declaration, spec); });
    });
  }
  const bool streams = input.mode == Mode::kStep;
  if (streams) {
    declaration.within("keys_and_values", "", [&] {
      Ring::declare(declaration, key_ring(), input.batch * heads.kv * 2, input.time);
    });
    if (future_steps() > 0) {
      declaration.within("queries", "", [&] {
        Ring::declare(declaration, query_ring(), input.batch, input.time);
      });
    }
    const int64_t history = past_steps() + future_steps();
    declaration.within("positions", "", [&] { positions_.declare(declaration, input, history); });
    declaration.within("segments", "", [&] { segments_.declare(declaration, input, history); });
  }
  if (fields_.float32_scores) return;
  const int64_t seen = past_steps() + future_steps();
  const int64_t window = fields_.window_block > 0 ? fields_.window_block + seen : input.time;
  const int64_t keys = streams ? seen + input.time : window;
  SequenceSpec emit = input;
  emit.channels = {compute, {heads.count(), fields_.sinks() + keys}};
  declaration.emit("probabilities", emit);
}

// Steps of a stream after its network, which takes [heads, units].
SelfAttention::Stream SelfAttention::through_network(Run& run, size_t index, const Stream& stream,
                                                     const ops::Heads& heads, const Sequence& x,
                                                     DType compute) const {
  const Layer& network = *networks_[index];
  const int64_t frame = heads.count() * heads.units;
  const Sequence in =
      run.scratch_sequence({compute, {heads.count(), heads.units}}, x.batch, x.time);
  std::memcpy(in.mask, x.mask, static_cast<size_t>(x.steps()));
  for (int64_t i = 0; i < x.steps(); ++i) {
    ops::convert(stream.values + i * stream.stride, DType::kFloat32,
                 in.values + static_cast<size_t>(i) * in.frame_bytes(), compute, frame);
  }
  const Sequence out = run.without_emits([&] { return call(run, network, in, other(run.side())); });
  if (out.time != x.time) {
    fail(Code::kShape, "{} \"{}\": its {} makes {} steps of {}: expected as many", type(), name(),
         kNetworkNames[index], out.time, x.time);
  }
  return {ops::as_floats(run, out, compute), frame, x.time * frame, out.mask, x.time};
}

SelfAttention::Streams SelfAttention::project(Run& run, const Sequence& x, DType compute) const {
  const ops::Heads& heads = fields_.heads;
  const int64_t width = dense_.outputs();
  const float* all = dense_.apply(run, x, compute);
  const float* keys = all + heads.count() * heads.units;
  const float* values =
      fields_.projection.shares_keys_and_values ? keys : keys + heads.kv * heads.units;
  const auto stream = [&](const float* from) {
    return Stream{from, width, x.time * width, x.mask, x.time};
  };
  Streams streams{stream(all), stream(keys), stream(values)};
  if (networks_[0]) streams.queries = through_network(run, 0, streams.queries, heads, x, compute);
  if (networks_[1]) streams.keys = through_network(run, 1, streams.keys, kv_heads(), x, compute);
  if (networks_[2])
    streams.values = through_network(run, 2, streams.values, kv_heads(), x, compute);
  return streams;
}

const uint8_t* SelfAttention::combined_mask(Run& run, const Streams& streams,
                                            const Sequence& x) const {
  if (streams.keys.mask == streams.values.mask) return streams.keys.mask;
  auto* both = run.scratch<uint8_t>(x.steps());
  combine(streams.keys.mask, streams.values.mask, x.steps(), both);
  return both;
}

// Keys of each batch item and head, `pitch` floats for all steps there may be, and then values.
void SelfAttention::arrange_keys_and_values(Run& run, const Streams& streams, const Sequence& x,
                                            DType compute, const uint8_t* keys_valid,
                                            const uint8_t* values_valid, float* to,
                                            int64_t pitch) const {
  const auto arrange = [&](const Stream& stream, const uint8_t* valid, const float* scale,
                           float* at) {
    const ops::HeadRows rows{kv_heads(), stream.values, stream.stride, stream.batch_stride,
                             x.batch,    x.time,        valid,         scale,
                             nullptr,    compute};
    rows.arrange(run, at, fields_.heads.width(), 2 * pitch);
  };
  arrange(streams.keys, keys_valid, key_scale_ ? key_scale_->of(compute) : nullptr, to);
  arrange(streams.values, values_valid, nullptr, to + pitch);
}

const float* SelfAttention::arrange_queries(Run& run, const Stream& queries, const Sequence& x,
                                            DType compute, bool scaled,
                                            const std::vector<float>& offset, DType rounded) const {
  const ops::Heads& heads = fields_.heads;
  const int64_t row = heads.group * heads.width();
  auto* out = run.scratch<float>(x.steps() * heads.kv * row);
  const ops::HeadRows rows{heads,
                           queries.values,
                           queries.stride,
                           queries.batch_stride,
                           x.batch,
                           x.time,
                           nullptr,
                           scaled ? query_scale_.of(compute) : nullptr,
                           offset.empty() ? nullptr : offset.data(),
                           compute};
  rows.arrange(run, out, row, x.time * row);
  ops::round_to(rounded, out, x.steps() * heads.kv * row);
  return out;
}

void SelfAttention::attend(Run& run, const Stream& queries, ops::AttentionSource source,
                           const Sequence& y) const {
  const DType compute = y.dtype;
  ops::Attention attention;
  attention.heads = fields_.heads;
  attention.soft_cap = fields_.soft_cap;
  attention.product_dtype = fields_.float32_logits ? DType::kFloat32 : compute;
  attention.score_dtype = fields_.float32_scores ? DType::kFloat32 : attention.product_dtype;
  if (!fields_.float32_scores && !fields_.zero_fully_masked)
    attention.nothing_seen = ops::NothingSeen::kMeanOfValues;
  static const std::vector<float> none;
  attention.queries = arrange_queries(run, queries, y, compute, true,
                                      relative_ ? relative_->query_offset : none, compute);

  ops::Sinks sinks;
  sinks.count = fields_.sinks();
  if (sinks.count > 0) {
    attention.sinks = &sinks;
    if (fields_.sink_scalars) {
      sinks.scores = sink_scores_.data();
    } else {
      sinks.keys = sink_keys_.data();
      sinks.values = sink_values_.data();
      sinks.queries = arrange_queries(run, queries, y, compute, false, none, compute);
    }
  }

  ops::RelativeBias bias;
  if (relative_) {
    bias.least = relative_->least;
    bias.most = relative_->most;
    bias.dtype = relative_->result_dtype.value_or(compute);
    if (relative_->embeddings.empty()) {
      bias.table = relative_->table.data();
      bias.table_heads = relative_->table_heads;
    } else {
      bias.embeddings = relative_->embeddings.data();
      bias.queries =
          arrange_queries(run, queries, y, compute, relative_->takes_scaled_queries,
                          relative_->bias_offset, relative_->query_dtype.value_or(compute));
    }
    source.bias = &bias;
  }

  ops::PairVisibility pairs;
  const bool streams = run.mode() == Mode::kStep;
  const int64_t history = past_steps() + future_steps();
  source.horizon = fields_.horizon;
  source.horizon.offset = streams ? past_steps() : 0;
  pairs.positions = streams ? positions_.step(run, y, history) : positions_.layer(run, y);
  pairs.segments = streams ? segments_.step(run, y, history) : segments_.layer(run, y);
  if (pairs.positions) {
    const auto& [past, future, block, offset] = fields_.horizon;
    pairs.most = past < 0 ? HUGE_VAL : static_cast<double>(past);
    pairs.least = future < 0 ? -HUGE_VAL : -static_cast<double>(future);
    source.horizon.past = source.horizon.future = -1;
  }
  if (pairs.positions || pairs.segments) source.pairs = &pairs;

  attention.sources = {&source, 1};
  attention.apply(run, y);
}

Sequence SelfAttention::layer(Run& run, const Sequence& x) const {
  const ChannelSpec spec = output_spec(x.spec(), run.constants());
  const ops::Heads& heads = fields_.heads;
  const Sequence y = run.output_like(x, spec);
  const Streams streams = project(run, x, spec.dtype);

  ops::AttentionSource source;
  const uint8_t* combined = combined_mask(run, streams, x);
  source.valid = fields_.float32_scores        ? combined
                 : fields_.keys_valid_as_input ? x.mask
                                               : streams.keys.mask;
  source.valid_pitch = source.count = x.time;
  source.stride = heads.width();
  const int64_t pitch = x.time * source.stride;
  source.pitch = 2 * pitch;
  auto* kv = run.scratch<float>(x.batch * heads.kv * source.pitch);
  arrange_keys_and_values(run, streams, x, spec.dtype, source.valid,
                          fields_.float32_scores ? combined : streams.values.mask, kv, pitch);
  source.keys = kv;
  source.values = kv + pitch;

  const int64_t block = fields_.window_block;
  source.probabilities = block > 0 ? emit(run, y,
                                          {.columns = past_steps() + block + future_steps(),
                                           .first = -past_steps(),
                                           .block = block})
                                   : emit(run, y, {.columns = x.time});
  attend(run, streams.queries, source, y);
  return y;
}

Sequence SelfAttention::step(Run& run, const Sequence& x) const {
  const DType compute = compute_dtype(x.dtype);
  const ops::Heads& heads = fields_.heads;
  const Sequence y = run.output({compute, {heads.count(), heads.units}}, x.batch, x.time);
  Streams streams = project(run, x, compute);

  const RingSpec spec = key_ring();
  const int64_t count = spec.history + x.time;
  Ring ring(run, spec);
  const int64_t pitch = ring.batch_pitch() * heads.width(), items = x.batch * heads.kv * 2;
  const uint8_t* valid = combined_mask(run, streams, x);
  arrange_keys_and_values(run, streams, x, compute, valid, streams.values.mask,
                          reinterpret_cast<float*>(ring.incoming(0)), pitch);
  for (int64_t i = 0; i < items; ++i) {
    std::memcpy(ring.incoming_mask(i), valid + i / (heads.kv * 2) * x.time,
                static_cast<size_t>(x.time));
  }
  ring.push(items, x.time);

  ops::AttentionSource source;
  source.keys = reinterpret_cast<const float*>(ring.newest(0, count));
  source.values = source.keys + pitch;
  source.stride = heads.width();
  source.pitch = 2 * pitch;
  source.valid = ring.newest_mask(0, count);
  source.valid_pitch = heads.kv * 2 * ring.batch_pitch();
  source.count = count;

  if (future_steps() > 0) streams.queries = delay(run, streams.queries, x);
  for (int64_t b = 0; b < x.batch; ++b) {
    std::memcpy(y.mask_at(b, 0), streams.queries.mask + b * streams.queries.mask_stride,
                static_cast<size_t>(x.time));
  }
  // Of as many keys as the longest step has: in a shorter one the first columns are zeros.
  const int64_t most = ring.batch_pitch() / 2;
  source.probabilities = emit(run, y, {.columns = most, .first = count - most});
  attend(run, streams.queries, source, y);
  return y;
}

// Where probabilities go, if they are wanted: `where`, with its columns those of keys alone.
ops::Probabilities SelfAttention::emit(Run& run, const Sequence& y,
                                       ops::Probabilities where) const {
  if (fields_.float32_scores) return {};
  const Sequence wanted = run.next_emit();
  if (wanted.mask) std::memcpy(wanted.mask, y.mask, static_cast<size_t>(y.steps()));
  where.values = wanted.values;
  where.dtype = y.dtype;
  where.columns += fields_.sinks();
  return where;
}

// The queries of future_steps() before.
SelfAttention::Stream SelfAttention::delay(Run& run, const Stream& queries,
                                           const Sequence& x) const {
  const RingSpec spec = query_ring();
  const int64_t frame = spec.frame.shape[0];
  Ring ring(run, spec);
  for (int64_t b = 0; b < x.batch; ++b) {
    auto* to = reinterpret_cast<float*>(ring.incoming(b));
    for (int64_t t = 0; t < x.time; ++t) {
      std::memcpy(to + t * frame, queries.values + b * queries.batch_stride + t * queries.stride,
                  static_cast<size_t>(frame) * sizeof(float));
    }
    std::memcpy(ring.incoming_mask(b), queries.mask + b * queries.mask_stride,
                static_cast<size_t>(x.time));
  }
  ring.push(x.batch, x.time);
  const int64_t count = spec.history + x.time;
  return {reinterpret_cast<const float*>(ring.newest(0, count)), frame, ring.batch_pitch() * frame,
          ring.newest_mask(0, count), ring.batch_pitch()};
}

}  // namespace sl
