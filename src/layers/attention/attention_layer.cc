#include "layers/attention/attention_layer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "kernels/kv_rows.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

HeadScale query_scale(const AttentionFields& fields, const WeightScope& weights) {
  const double fallback = 1 / std::sqrt(static_cast<double>(fields.heads.units));
  return HeadScale(fields.query_scale.value_or(fallback),
                   fields.per_dim_scale ? "per_dim_scale" : "", fields.heads.units, weights);
}

ops::Heads of_keys(const ops::Heads& heads) {
  return {heads.kv, 1, heads.units, false, heads.is_complex};
}

// Converts a step of rows of heads to values [heads, units] of a dtype, and back.
void from_rows(const float* rows, const ops::Heads& heads, DType dtype, std::byte* values) {
  const int64_t units = heads.units, stride = heads.row_units();
  for (int64_t n = 0; n < heads.count(); ++n, rows += stride) {
    std::byte* to = values + static_cast<size_t>(n * units) * size_of(dtype);
    if (dtype != DType::kComplex64) {
      ops::convert(rows, DType::kFloat32, to, dtype, units);
      continue;
    }
    auto* out = reinterpret_cast<complex64*>(to);
    for (int64_t i = 0; i < units; ++i) out[i] = {rows[i], rows[units + i]};
  }
}

void to_rows(const complex64* values, const ops::Heads& heads, float* rows) {
  const int64_t units = heads.units;
  for (int64_t n = 0; n < heads.count(); ++n, values += units, rows += heads.row_units()) {
    for (int64_t i = 0; i < units; ++i) {
      rows[i] = values[i].real();
      rows[units + i] = values[i].imag();
    }
  }
}

void combine(const uint8_t* a, const uint8_t* b, int64_t count, uint8_t* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = a[i] & b[i];
}

}  // namespace

AttentionLayer::AttentionLayer(AttentionFields fields, const Init& init)
    : fields_(std::move(fields)),
      kv_format_(init.builder.kv_format()),
      query_scale_(query_scale(fields_, init.weights)) {
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
    networks_[i] = init.builder.build(*config, init.weights, AttentionFields::kNetworks[i]);
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

std::vector<const Layer*> AttentionLayer::children() const {
  std::vector<const Layer*> out;
  for (const auto& network : networks_) {
    if (network) out.push_back(network.get());
  }
  return out;
}

EarlySteps AttentionLayer::follow(const EarlySteps& before, StepDifferences& differences) const {
  differences.add(step_difference(before), type());
  std::array<size_t, kNetworks + 1> ends{differences.size()};
  for (size_t i = 0; i < kNetworks; ++i) {
    if (const auto given = network_input(i, before); networks_[i] && given)
      follow_network(*networks_[i], *given, differences);
    ends[i + 1] = differences.size();
  }
  const std::span all(differences.all());
  const auto of_network = [&](size_t i) { return all.subspan(ends[i], ends[i + 1] - ends[i]); };
  if (of_network(2).empty() && sees_only_distances(of_network(0), of_network(1)))
    differences.shrink(ends[0]);
  EarlySteps after = before;
  if (before.kind == EarlySteps::Kind::kLatency)
    after.count = accumulated_output_latency(before.count);
  return after;
}

void AttentionLayer::follow_network(const Layer& network, const EarlySteps& given,
                                    StepDifferences& differences) {
  differences.within(network.name(), [&] {
    const int64_t late = network.follow(given, differences).count - given.count;
    if (late == 0) return;
    StepDifference difference;
    difference.reason =
        fmt::format("it is late by {} steps, for which attention does not wait", late);
    difference.cure = "make it causal";
    differences.add(difference, network.type());
  });
}

// True if queries and keys are both turned by their positions with the same maximum wavelength, and
// scores are plain products of the two, scaled by a number: a shift of positions changes no score.
bool AttentionLayer::sees_only_distances(std::span<const StepDifference> queries,
                                         std::span<const StepDifference> keys) const {
  if (queries.size() != 1 || keys.size() != 1) return false;
  if (fields_.sink_embeddings > 0 || fields_.relative_position || fields_.per_dim_scale ||
      fields_.per_dim_key_scale) {
    return false;
  }
  return queries[0].turns > 0 && queries[0].turns == keys[0].turns;
}

int64_t AttentionLayer::past_steps() const {
  return checked_product(std::max<int64_t>(0, fields_.horizon.past), fields_.horizon.block);
}

int64_t AttentionLayer::future_steps() const {
  return checked_product(std::max<int64_t>(0, fields_.horizon.future), fields_.horizon.block);
}

DType AttentionLayer::compute_dtype(DType input) const {
  return fields_.compute_dtype.value_or(promote_inexact(input, fields_.param_dtype));
}

ChannelSpec AttentionLayer::attended_spec(const ChannelSpec& input, int64_t channels, DType output,
                                          const Constants& constants) const {
  const ops::Heads& heads = fields_.heads;
  if (input.shape != Shape{channels}) {
    fail(Code::kShape, "expected channels [{}], got {}", channels, to_string(input.shape));
  }
  const DType compute = compute_dtype(input.dtype);
  if (!is_inexact(compute) || fields_.param_dtype == DType::kComplex64) {
    fail(Code::kShape, "cannot compute on {} in {}", name_of(input.dtype), name_of(compute));
  }
  for (size_t i = 0; i < networks_.size(); ++i) {
    if (!networks_[i]) continue;
    const ChannelSpec given = child_input(*networks_[i], input, constants);
    const ChannelSpec made = networks_[i]->output_spec(given, constants);
    const bool takes = is_float(made.dtype) || given.dtype == made.dtype;
    if (made.shape != given.shape || !takes) {
      fail(Code::kShape, "its {} makes {}: expected floats of channels {}",
           AttentionFields::kNetworks[i], to_string(made), to_string(given.shape));
    }
  }
  return {output, {heads.count(), heads.units}};
}

ops::Heads AttentionLayer::heads(DType output) const {
  ops::Heads out = fields_.heads;
  out.is_complex = output == DType::kComplex64;
  return out;
}

ops::Heads AttentionLayer::kv_heads(DType output) const { return of_keys(heads(output)); }

// The ring of keys and values, which has two parts for each head of a batch item. If all keys are
// kept, its history is only future_steps(), by which queries are delayed.
RingSpec AttentionLayer::key_ring(DType output) const {
  const WeightFormat format = kv_format(output);
  const int64_t width = heads(output).width();
  RingSpec ring{{DType::kFloat32, {width}}, checked_sum(past_steps(), future_steps())};
  if (format == WeightFormat::kBFloat16) ring.frame.dtype = DType::kBFloat16;
  if (format == WeightFormat::kInt8)
    ring.frame = {DType::kInt8, {kernels::kv_row_bytes(format, width)}};
  ring.keeps_all = sees_all_past();
  ring.parts = 2 * fields_.heads.kv;  // keys and values of each head
  return ring;
}

// The ring that delays queries until the future steps that they see have come.
RingSpec AttentionLayer::query_ring(DType output) const {
  const ops::Heads heads = this->heads(output);
  return {{DType::kFloat32, {checked_product(heads.count(), heads.row_units())}}, future_steps()};
}

void AttentionLayer::declare_network(Declaration& declaration, size_t index,
                                     const SequenceSpec& input) const {
  if (!networks_[index]) return;
  const Layer& network = *networks_[index];
  SequenceSpec spec = input;
  spec.channels = child_input(network, input.channels, declaration.constants());
  declaration.within(network.name(), "", [&] {
    declaration.without_emits([&] { network.declare(declaration, spec); });
  });
}

void AttentionLayer::declare_rings(Declaration& declaration, const SequenceSpec& input,
                                   DType output, bool delays) const {
  declaration.within("keys_and_values", "", [&] {
    Ring::declare(declaration, key_ring(output), input.batch, input.time, input.max_length);
  });
  if (!delays) return;
  declaration.within("queries", "", [&] {
    Ring::declare(declaration, query_ring(output), input.batch, input.time);
  });
}

int64_t AttentionLayer::emitted_columns(const SequenceSpec& input) const {
  const int64_t seen = checked_sum(past_steps(), future_steps());
  const int64_t window =
      fields_.window_block > 0 ? checked_sum(fields_.window_block, seen) : input.time;
  const int64_t kept = checked_sum(seen, sees_all_past() ? input.max_length : input.time);
  return checked_sum(fields_.sinks(), input.mode == Mode::kStep ? kept : window);
}

AttentionLayer::Stream AttentionLayer::through_network(Run& run, size_t index, const Stream& stream,
                                                       const Sequence& x, DType compute,
                                                       const ops::Heads& heads, Mode mode) const {
  if (!networks_[index]) return stream;
  const Layer& network = *networks_[index];
  const Sequence in =
      run.scratch_sequence({compute, {heads.count(), heads.units}}, x.batch, x.time);
  std::memcpy(in.mask, x.mask, static_cast<size_t>(x.steps()));
  for (int64_t i = 0; i < x.steps(); ++i) {
    from_rows(stream.values + i * stream.stride, heads, compute, in.frame(0, i));
  }
  Run whole(Mode::kLayer, run.workspace(), run.parallel(), run.constants());
  Run& own = mode == run.mode() ? run : whole;
  const Sequence out = own.without_emits([&] { return call(own, network, in, other(run.side())); });
  if (out.time != x.time) {
    fail(Code::kShape, "its {} makes {} steps from {}: expected the same number",
         AttentionFields::kNetworks[index], out.time, x.time);
  }
  const int64_t frame = heads.count() * heads.row_units();
  const auto stream_of = [&](const float* rows) {
    return Stream{rows, frame, x.time * frame, out.mask, x.time};
  };
  if (!heads.is_complex) return stream_of(ops::as_floats(run, out, compute));
  auto* rows = run.scratch<float>(x.steps(), frame);
  auto* values = run.scratch<complex64>(out.frame_size());
  for (int64_t i = 0; i < x.steps(); ++i) {
    ops::convert(out.frame(0, i), out.dtype, values, DType::kComplex64, out.frame_size());
    to_rows(values, heads, rows + i * frame);
  }
  return stream_of(rows);
}

const uint8_t* AttentionLayer::combined_mask(Run& run, const Stream& keys, const Stream& values,
                                             const Sequence& x) const {
  if (keys.mask == values.mask) return keys.mask;
  auto* both = run.scratch<uint8_t>(x.steps());
  combine(keys.mask, values.mask, x.steps(), both);
  return both;
}

// Writes keys and values to `to`. Each batch item and head has `pitch` floats of keys, then as much
// of values.
void AttentionLayer::arrange_keys_and_values(Run& run, const Stream& keys, const Stream& values,
                                             const Sequence& x, DType compute,
                                             const ops::Heads& kv_heads, const uint8_t* keys_valid,
                                             const uint8_t* values_valid, float* to,
                                             int64_t pitch) const {
  const auto arrange = [&](const Stream& stream, const uint8_t* valid, const float* scale,
                           float* at) {
    const ops::HeadRows rows{kv_heads, stream.values, stream.stride, stream.batch_stride,
                             x.batch,  x.time,        valid,         scale,
                             nullptr,  compute};
    rows.arrange(run, at, kv_heads.width(), 2 * pitch);
  };
  arrange(keys, keys_valid, key_scale_ ? key_scale_->of(compute) : nullptr, to);
  arrange(values, values_valid, nullptr, to + pitch);
}

int64_t AttentionLayer::whole_size(const Sequence& x, const ops::Heads& kv_heads) {
  return checked_product(2, x.steps(), kv_heads.count(), kv_heads.width());
}

ops::AttentionSource AttentionLayer::whole_source(const Sequence& x, const ops::Heads& kv_heads,
                                                  const float* keys_and_values,
                                                  const uint8_t* valid) {
  ops::AttentionSource source;
  source.valid = valid;
  source.valid_pitch = source.count = x.time;
  source.stride = kernels::kv_row_bytes(source.format, kv_heads.width());
  const int64_t pitch = x.time * source.stride;
  source.pitch = 2 * pitch;
  source.item_pitch = kv_heads.count() * source.pitch;
  source.keys = reinterpret_cast<const std::byte*>(keys_and_values);
  source.values = source.keys + pitch;
  return source;
}

void AttentionLayer::round_as_cached(Run& run, float* keys_and_values, int64_t size,
                                     DType output) const {
  const WeightFormat format = kv_format(output);
  if (format == WeightFormat::kFloat32) return;
  const int64_t width = heads(output).width(), bytes = kernels::kv_row_bytes(format, width);
  const int64_t floats = ceil_div(bytes, static_cast<int64_t>(sizeof(float)));
  run.with_scratch([&] {
    ops::for_ranges_with_scratch(run, size / width, ops::steps_of_work(width), floats,
                                 [&](int64_t begin, int64_t end, float* scratch) {
                                   auto* const row = reinterpret_cast<std::byte*>(scratch);
                                   for (float* at = keys_and_values + begin * width;
                                        at < keys_and_values + end * width; at += width) {
                                     kernels::store_kv_rows(format, at, 1, width, row);
                                     kernels::restore_kv_rows(format, row, 1, width, at);
                                   }
                                 });
  });
}

// Writes the steps of x to the ring's incoming rows of the items from `item` on, which stand at one
// row.
void AttentionLayer::cache(Run& run, const Stream& keys, const Stream& values, const Sequence& x,
                           DType compute, DType output, const uint8_t* valid, const Ring& ring,
                           int64_t item) const {
  const ops::Heads heads = kv_heads(output);
  const WeightFormat format = kv_format(output);
  if (format == WeightFormat::kFloat32) {
    arrange_keys_and_values(run, keys, values, x, compute, heads, valid, values.mask,
                            reinterpret_cast<float*>(ring.incoming(item)),
                            ring.rows() * heads.width());
    return;
  }
  run.with_scratch([&] {
    const int64_t part = x.time * heads.width(), parts = 2 * heads.count();
    auto* floats = run.scratch<float>(x.batch, parts, part);
    arrange_keys_and_values(run, keys, values, x, compute, heads, valid, values.mask, floats, part);
    for (int64_t b = 0; b < x.batch; ++b) {
      for (int64_t i = 0; i < parts; ++i, floats += part)
        kernels::store_kv_rows(format, floats, x.time, heads.width(), ring.incoming(item + b, i));
    }
  });
}

ops::AttentionSource AttentionLayer::streamed_source(Run& run, const Stream& keys,
                                                     const Stream& values, const Sequence& x,
                                                     DType compute, DType output) const {
  const ops::Heads heads = kv_heads(output);
  Ring ring(run, key_ring(output));
  const uint8_t* valid = combined_mask(run, keys, values, x);
  auto* windows = run.scratch<ops::KeyWindow>(x.batch);
  ring.each_range(x.batch, [&](int64_t first, int64_t count) {
    cache(run, keys.items(first), values.items(first), x.items(first, count), compute, output,
          valid + first * x.time, ring, first);
  });
  ops::AttentionSource source;
  for (int64_t b = 0; b < x.batch; ++b) {
    std::memcpy(ring.incoming_mask(b), valid + b * x.time, static_cast<size_t>(x.time));
    const int64_t count = ring.count(b, x.time);
    windows[b] = {0, count, count - x.time - future_steps(), run.slots()[b] - b};
    source.count = std::max(source.count, count);
  }
  ring.push(x.batch, x.time);
  for (int64_t b = 0; b < x.batch; ++b) windows[b].start = ring.start_of(b, windows[b].count);

  source.format = kv_format(output);
  source.stride = kernels::kv_row_bytes(source.format, heads.width());
  const int64_t pitch = ring.rows() * source.stride;
  source.keys = ring.values();
  source.values = source.keys + pitch;
  source.pitch = 2 * pitch;
  source.item_pitch = heads.count() * source.pitch;
  source.valid = ring.mask();
  source.valid_pitch = ring.rows();
  source.windows = windows;
  // There are as many columns as a step can have keys. With fewer keys the first columns are zeros,
  // or the last ones if all keys are kept, where each key has its own column.
  const int64_t columns = ring.capacity();
  source.probabilities = {.columns = columns,
                          .first = sees_all_past() ? 0 : source.count - columns};
  return source;
}

const float* AttentionLayer::arrange_queries(Run& run, const Stream& queries, const Sequence& y,
                                             const QueryForm& form) const {
  const ops::Heads heads = this->heads(y.dtype);
  const int64_t row = checked_product(heads.group, heads.width());
  const int64_t size = checked_product(y.steps(), heads.kv, row);
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

ops::Sinks AttentionLayer::sinks(Run& run, const Stream& queries, const Sequence& y) const {
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

ops::RelativeBias AttentionLayer::relative_bias(Run& run, const Stream& queries,
                                                const Sequence& y) const {
  ops::RelativeBias out;
  out.minimum = relative_->minimum;
  out.maximum = relative_->maximum;
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

void AttentionLayer::attend(Run& run, const Stream& queries,
                            std::span<ops::AttentionSource> sources, const Sequence& y,
                            const int32_t* positions) const {
  ops::Attention attention;
  attention.heads = heads(y.dtype);
  attention.soft_cap = fields_.soft_cap;
  attention.product_dtype = fields_.float32_logits ? DType::kFloat32 : y.dtype;
  attention.score_dtype = fields_.float32_scores ? DType::kFloat32 : attention.product_dtype;
  if (!fields_.float32_scores && !fields_.zero_fully_masked)
    attention.nothing_seen = ops::NothingSeen::kMeanOfValues;
  attention.computes_invalid = run.computes_invalid_steps();
  attention.queries =
      arrange_queries(run, queries, y,
                      {.scaled = true,
                       .offset = relative_ ? std::span<const float>(relative_->query_offset)
                                           : std::span<const float>()});

  const ops::Sinks sinks = this->sinks(run, queries, y);
  if (sinks.count > 0) attention.sinks = &sinks;

  ops::RelativeBias bias;
  if (relative_) {
    bias = relative_bias(run, queries, y);
    bias.query_positions = positions;
    for (ops::AttentionSource& source : sources) source.bias = &bias;
  }
  attention.sources = sources;
  attention.apply(run, y);
}

void AttentionLayer::set_mask(const Sequence& y, const Stream& queries) {
  for (int64_t b = 0; b < y.batch; ++b) {
    std::memcpy(y.mask_at(b, 0), queries.mask + b * queries.mask_stride,
                static_cast<size_t>(y.time));
  }
}

ops::Probabilities AttentionLayer::layer_columns(int64_t time) const {
  const int64_t block = fields_.window_block;
  if (block == 0) return {.columns = time};
  return {.columns = checked_sum(past_steps(), block, future_steps()),
          .first = -past_steps(),
          .block = block};
}

// Adds the memory of the emit, if it is wanted, and the columns of sinks to `where`, which has the
// columns of keys.
ops::Probabilities AttentionLayer::emit(Run& run, const Sequence& y,
                                        ops::Probabilities where) const {
  if (fields_.float32_scores) return {};
  const Sequence wanted = run.next_emit();
  if (wanted.mask) std::memcpy(wanted.mask, y.mask, static_cast<size_t>(y.steps()));
  where.values = wanted.values;
  where.dtype = y.dtype;
  where.columns += fields_.sinks();
  return where;
}

AttentionLayer::Stream AttentionLayer::delay(Run& run, const Stream& queries, const Sequence& x,
                                             DType output) const {
  const RingSpec spec = query_ring(output);
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
  auto* values = run.scratch<float>(x.steps(), frame);
  auto* mask = run.scratch<uint8_t>(x.steps());
  for (int64_t b = 0; b < x.batch; ++b) {
    const auto* oldest = reinterpret_cast<const float*>(ring.newest(b, spec.history + x.time));
    std::copy_n(oldest, x.time * frame, values + b * x.time * frame);
    std::copy_n(ring.newest_mask(b, spec.history + x.time), x.time, mask + b * x.time);
  }
  return {values, frame, x.time * frame, mask, x.time};
}

}  // namespace sl
