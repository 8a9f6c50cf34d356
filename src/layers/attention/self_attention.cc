#include "layers/attention/self_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "ops/elementwise.h"

namespace sl {
namespace {

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
    networks_[i] = init.builder.build(*config, init.weights, SelfAttentionFields::kNetworks[i]);
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
           name(), SelfAttentionFields::kNetworks[i], to_string(made), to_string(given.shape));
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
         SelfAttentionFields::kNetworks[index], out.time, x.time);
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

const float* SelfAttention::arrange_queries(Run& run, const Stream& queries, const Sequence& y,
                                            const QueryForm& form) const {
  const ops::Heads& heads = fields_.heads;
  const int64_t row = heads.group * heads.width(), size = y.steps() * heads.kv * row;
  auto* out = run.scratch<float>(size);
  const ops::HeadRows rows{heads,
                           queries.values,
                           queries.stride,
                           queries.batch_stride,
                           y.batch,
                           y.time,
                           nullptr,
                           form.scaled ? query_scale_.of(y.dtype) : nullptr,
                           form.offset.empty() ? nullptr : form.offset.data(),
                           y.dtype};
  rows.arrange(run, out, row, y.time * row);
  if (form.dtype) ops::round_to(*form.dtype, out, size);
  return out;
}

ops::Sinks SelfAttention::sinks(Run& run, const Stream& queries, const Sequence& y) const {
  ops::Sinks out;
  out.count = fields_.sinks();
  if (fields_.sink_scalars) {
    out.scores = sink_scores_.data();
  } else if (out.count > 0) {
    out.keys = sink_keys_.data();
    out.values = sink_values_.data();
    out.queries = arrange_queries(run, queries, y, {.scaled = false});
  }
  return out;
}

ops::RelativeBias SelfAttention::relative_bias(Run& run, const Stream& queries,
                                               const Sequence& y) const {
  ops::RelativeBias out;
  out.least = relative_->least;
  out.most = relative_->most;
  out.dtype = relative_->result_dtype.value_or(y.dtype);
  if (relative_->embeddings.empty()) {
    out.table = relative_->table.data();
    out.table_heads = relative_->table_heads;
    return out;
  }
  out.embeddings = relative_->embeddings.data();
  out.queries = arrange_queries(run, queries, y,
                                {.scaled = relative_->takes_scaled_queries,
                                 .offset = relative_->bias_offset,
                                 .dtype = relative_->query_dtype});
  return out;
}

ops::PairVisibility SelfAttention::pair_visibility(Run& run, const Sequence& y) const {
  const auto& [past, future, block, offset] = fields_.horizon;
  const int64_t history = past_steps() + future_steps();
  const bool streams = run.mode() == Mode::kStep;
  ops::PairVisibility out;
  out.positions = streams ? positions_.step(run, y, history) : positions_.layer(run, y);
  out.segments = streams ? segments_.step(run, y, history) : segments_.layer(run, y);
  out.most = past < 0 ? HUGE_VAL : static_cast<double>(past);
  out.least = future < 0 ? -HUGE_VAL : -static_cast<double>(future);
  return out;
}

void SelfAttention::attend(Run& run, const Stream& queries, ops::AttentionSource source,
                           const Sequence& y) const {
  ops::Attention attention;
  attention.heads = fields_.heads;
  attention.soft_cap = fields_.soft_cap;
  attention.product_dtype = fields_.float32_logits ? DType::kFloat32 : y.dtype;
  attention.score_dtype = fields_.float32_scores ? DType::kFloat32 : attention.product_dtype;
  if (!fields_.float32_scores && !fields_.zero_fully_masked)
    attention.nothing_seen = ops::NothingSeen::kMeanOfValues;
  attention.queries =
      arrange_queries(run, queries, y,
                      {.scaled = true,
                       .offset = relative_ ? std::span<const float>(relative_->query_offset)
                                           : std::span<const float>()});

  const ops::Sinks sinks = this->sinks(run, queries, y);
  if (sinks.count > 0) attention.sinks = &sinks;

  source.horizon = fields_.horizon;
  source.horizon.offset = run.mode() == Mode::kStep ? past_steps() : 0;
  const ops::PairVisibility pairs = pair_visibility(run, y);
  if (pairs.positions) source.horizon.past = source.horizon.future = -1;
  if (pairs.positions || pairs.segments) source.pairs = &pairs;
  ops::RelativeBias bias;
  if (relative_) {
    bias = relative_bias(run, queries, y);
    source.bias = &bias;
  }
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
