#include "layers/attention/self_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace sl {
namespace {

std::vector<StackedDense::Part> all_parts(const AttentionFields& fields) {
  auto parts = fields.projection.queries(fields.heads);
  for (auto& part : fields.projection.keys_and_values(fields.heads)) parts.push_back(part);
  return parts;
}

}  // namespace

SelfAttention::SelfAttention(AttentionFields fields, const Init& init)
    : AttentionLayer(std::move(fields), init),
      dense_(all_parts(fields_), fields_.use_bias, fields_.compute_dtype, init.weights),
      positions_(fields_.position_name, fields_.horizon.block),
      segments_(fields_.segment_ids_name, 1) {}

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

// A stream without an end would need endless memory to see all of the past.
bool SelfAttention::supports_step() const {
  if (sees_all_past() || !supports_finite_step()) return false;
  return std::ranges::all_of(
      networks_, [](const auto& network) { return !network || network->supports_step(); });
}

bool SelfAttention::supports_finite_step() const {
  const int64_t future = fields_.horizon.future;
  if (future < 0 || (fields_.relative_position && future > 0)) return false;
  return std::ranges::all_of(
      networks_, [](const auto& network) { return !network || network->supports_finite_step(); });
}

std::string SelfAttention::step_obstacle() const {
  const int64_t future = fields_.horizon.future;
  if (future < 0) {
    return fmt::format("it sees all of the future: set \"{}\" to 0, or to what it may wait for",
                       fields_.future_field);
  }
  if (!fields_.relative_position || future == 0) return {};
  return fmt::format("with relative positions it cannot wait for the future: set \"{}\" to 0",
                     fields_.future_field);
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

ChannelSpec SelfAttention::do_output_spec(const ChannelSpec& input,
                                          const Constants& constants) const {
  return attended_spec(input, dense_.inputs(), compute_dtype(input.dtype), constants);
}

std::optional<ChannelSpec> SelfAttention::implied_input() const {
  return ChannelSpec{DType::kFloat32, {dense_.inputs()}};
}

void SelfAttention::do_declare(Declaration& declaration, const SequenceSpec& input) const {
  for (size_t i = 0; i < networks_.size(); ++i) declare_network(declaration, i, input);
  if (input.mode == Mode::kStep) {
    if (sees_all_past() && input.max_length == 0) {
      fail(Code::kUnsupported, "it sees all of the past: its steps need a state with a max_length");
    }
    const DType output = compute_dtype(input.channels.dtype);
    declare_rings(declaration, input, output, future_steps() > 0);
    const RingSpec keys = key_ring(output);
    declaration.within("positions", "", [&] { positions_.declare(declaration, input, keys); });
    declaration.within("segments", "", [&] { segments_.declare(declaration, input, keys); });
  }
  if (fields_.float32_scores) return;
  SequenceSpec emit = input;
  emit.channels = {compute_dtype(input.channels.dtype),
                   {fields_.heads.count(), emitted_columns(input)}};
  declaration.emit("probabilities", emit);
}

SelfAttention::Streams SelfAttention::project(Run& run, const Sequence& x, DType compute) const {
  const ops::Heads heads = this->heads(compute), kv_heads = this->kv_heads(compute);
  const int64_t row = heads.row_units(), width = dense_.outputs() / heads.units * row;
  const float* all = dense_.rows(run, x, compute, heads);
  const float* keys = all + heads.count() * row;
  const float* values = fields_.projection.shares_keys_and_values ? keys : keys + heads.kv * row;
  const auto stream = [&](const float* from) {
    return Stream{from, width, x.time * width, x.mask, x.time};
  };
  Streams streams{stream(all), stream(keys), stream(values)};
  const auto pass = [&](size_t index, const Stream& from) {
    return through_network(run, index, from, x, compute, index == 0 ? heads : kv_heads, run.mode());
  };
  streams.queries = pass(0, streams.queries);
  streams.keys = pass(1, streams.keys);
  streams.values = pass(2, streams.values);
  return streams;
}

ops::PairVisibility SelfAttention::pair_visibility(Run& run, const Sequence& y) const {
  const auto& [past, future, block, offset] = fields_.horizon;
  const bool streams = run.mode() == Mode::kStep;
  ops::PairVisibility out;
  const auto rows = [&](const KeyNumbers& numbers) {
    return streams ? numbers.step(run, y, key_ring(y.dtype)) : numbers.layer(run, y);
  };
  const KeyNumbers::Rows positions = rows(positions_), segments = rows(segments_);
  out.positions = positions.values;
  out.segments = segments.values;
  out.pitch = std::max(positions.pitch, segments.pitch);
  out.maximum = past < 0 ? HUGE_VAL : static_cast<double>(past);
  out.minimum = future < 0 ? -HUGE_VAL : -static_cast<double>(future);
  return out;
}

void SelfAttention::attend_to(Run& run, const Stream& queries, ops::AttentionSource source,
                              const Sequence& y) const {
  source.horizon = fields_.horizon;
  const ops::PairVisibility pairs = pair_visibility(run, y);
  if (pairs.positions) source.horizon.past = source.horizon.future = -1;
  if (pairs.positions || pairs.segments) source.pairs = &pairs;
  attend(run, queries, {&source, 1}, y);
}

Sequence SelfAttention::do_layer(Run& run, const Sequence& x) const {
  const ChannelSpec spec = do_output_spec(x.spec(), run.constants());
  const Sequence y = run.output_like(x, spec);
  const auto [queries, keys, values] = project(run, x, spec.dtype);
  const uint8_t* combined = combined_mask(run, keys, values, x);
  const uint8_t* valid = fields_.float32_scores        ? combined
                         : fields_.keys_valid_as_input ? x.mask
                                                       : keys.mask;
  const ops::Heads heads = kv_heads(spec.dtype);
  auto* all = run.scratch<float>(whole_size(x, heads));
  arrange_keys_and_values(run, keys, values, x, spec.dtype, heads, valid,
                          fields_.float32_scores ? combined : values.mask, all,
                          x.time * heads.width());
  round_as_cached(run, all, whole_size(x, heads), spec.dtype);
  ops::AttentionSource source = whole_source(x, heads, all, valid);
  source.probabilities = emit(run, y, layer_columns(x.time));
  attend_to(run, queries, source, y);
  return y;
}

Sequence SelfAttention::do_step(Run& run, const Sequence& x) const {
  const DType compute = compute_dtype(x.dtype);
  const ops::Heads& heads = fields_.heads;
  const Sequence y = run.output({compute, {heads.count(), heads.units}}, x.batch, x.time);
  Streams streams = project(run, x, compute);
  ops::AttentionSource source =
      streamed_source(run, streams.keys, streams.values, x, compute, compute);
  if (future_steps() > 0) streams.queries = delay(run, streams.queries, x, compute);
  set_mask(y, streams.queries);
  source.probabilities = emit(run, y, source.probabilities);
  attend_to(run, streams.queries, source, y);
  return y;
}

}  // namespace sl
