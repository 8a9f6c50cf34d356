#include "layers/attention/cross_attention.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "ops/elementwise.h"

namespace sl {
namespace {

// The projections to keys and values: a separate one for each source, or one for all.
std::vector<StackedDense> source_denses(const AttentionFields& fields,
                                        const std::vector<std::string>& sources, bool separate,
                                        const WeightScope& weights) {
  const auto make = [&](const WeightScope& scope) {
    return StackedDense(fields.projection.keys_and_values(fields.heads), fields.use_bias,
                        fields.compute_dtype, scope);
  };
  std::vector<StackedDense> out;
  if (!separate) {
    out.push_back(make(weights));
    return out;
  }
  for (const std::string& source : sources)
    out.push_back(make(weights.child(source + "_projection")));
  return out;
}

}  // namespace

void CrossAttentionFields::read_source(Config& config) {
  sources = {config.string("source_name")};
  if (sources[0].empty()) config.error("source_name", "expected a name");
}

void CrossAttentionFields::read_streamed(Config& config) {
  streamed = true;
  read_source(config);
  horizon.past = config.integer("max_past_horizon", 1);
  horizon.future = config.integer("max_future_horizon", 0, 0);
  constexpr int64_t kMax = int64_t{1} << 30;
  if (horizon.past > kMax || horizon.future > kMax)
    config.error("max_past_horizon", "expected at most 2^30 steps");
  delays_queries = config.boolean("use_query_delay_buffer", true);
  read_window_fields(config);
}

// The base moves the AttentionFields part out of `fields`, which is read from `fields_` from then
// on.
CrossAttention::CrossAttention(CrossAttentionFields fields, const Init& init)
    : AttentionLayer(std::move(static_cast<AttentionFields&>(fields)), init),
      own_{std::move(fields.sources),
           fields.streamed,
           fields.delays_queries,
           fields.recomputes,
           fields_.relative_position || fields.wants_query_positions
               ? std::move(fields.query_positions_name)
               : "",
           std::move(fields.source_positions)},
      query_dense_(fields_.projection.queries(fields_.heads), fields_.use_bias,
                   fields_.compute_dtype, init.weights),
      source_denses_(
          source_denses(fields_, own_.sources, fields.separate_projections, init.weights)) {}

ChannelSpec CrossAttention::child_input(const Layer& child, const ChannelSpec& input,
                                        const Constants& constants) const {
  const ops::Heads& heads = fields_.heads;
  if (&child == networks_[0].get())
    return {compute_dtype(input.dtype), {heads.count(), heads.units}};
  const DType source = constants.get(own_.sources[0]).sequence.dtype;
  return {source_dtype(source, input.dtype), {heads.kv, heads.units}};
}

std::vector<ConstantSpec> CrossAttention::constants() const {
  std::vector<ConstantSpec> out;
  for (size_t i = 0; i < own_.sources.size(); ++i) {
    ConstantSpec spec;
    spec.name = own_.sources[i];
    spec.kind = ConstantSpec::Kind::kSequence;
    spec.streamed = own_.streamed;
    spec.channels = Shape{dense_of(i).inputs()};
    out.push_back(std::move(spec));
  }
  const auto positions = [&](const std::string& name, bool streamed) {
    ConstantSpec spec;
    spec.name = name;
    spec.kind = ConstantSpec::Kind::kSequence;
    spec.streamed = streamed;
    spec.channels = Shape{};
    out.push_back(std::move(spec));
  };
  if (!own_.query_positions_name.empty()) positions(own_.query_positions_name, true);
  for (const std::string& name : own_.source_positions) positions(name, false);
  return out;
}

bool CrossAttention::supports_step() const {
  const auto steps = [](const auto& network) { return !network || network->supports_step(); };
  if (!own_.streamed) return steps(networks_[0]);
  if (fields_.relative_position && fields_.horizon.future > 0) return false;
  return std::ranges::all_of(networks_, steps);
}

std::string CrossAttention::step_obstacle() const {
  if (!own_.streamed || !fields_.relative_position || fields_.horizon.future <= 0) return {};
  return fmt::format("with relative positions it cannot wait for the future: set \"{}\" to 0",
                     fields_.future_field);
}

// As in the reference, the receptive field counts steps of x only, since constants are not the
// input.
ReceptiveFields CrossAttention::receptive_field_per_step() const {
  if (networks_[0]) return networks_[0]->receptive_field_per_step();
  return {StepRange{0, 0}};
}

ChannelSpec CrossAttention::do_output_spec(const ChannelSpec& input,
                                           const Constants& constants) const {
  for (const std::string& source : own_.sources) {
    const DType given = constants.get(source).sequence.dtype;
    if (!is_inexact(compute_dtype(given)))
      fail(Code::kShape, "cannot attend to constant \"{}\" of {}", source, name_of(given));
    const bool drops = source_dtype(given, input.dtype) != compute_dtype(given);
    if (drops && (networks_[1] || networks_[2])) {
      fail(Code::kUnsupported,
           "networks of a complex source \"{}\" need complex x, got {}: put a Cast before it",
           source, name_of(input.dtype));
    }
  }
  return attended_spec(input, query_dense_.inputs(), output_dtype(input.dtype, constants),
                       constants);
}

// A streamed source leaves its imaginary part behind if x is real.
DType CrossAttention::source_dtype(DType source, DType input) const {
  const DType compute = compute_dtype(source);
  const bool drops = own_.streamed && compute == DType::kComplex64;
  return drops ? compute_dtype(input) : compute;
}

DType CrossAttention::output_dtype(DType input, const Constants& constants) const {
  DType out = compute_dtype(input);
  if (own_.streamed) return out;
  for (const std::string& source : own_.sources)
    out = promote(out, compute_dtype(constants.get(source).sequence.dtype));
  return out;
}

std::optional<ChannelSpec> CrossAttention::implied_input() const {
  return ChannelSpec{DType::kFloat32, {query_dense_.inputs()}};
}

void CrossAttention::check_time(const Constant& source, int64_t time) const {
  if (source.sequence.time == time) return;
  fail(Code::kShape, "constant \"{}\" has {} steps: expected {}, as x has", source.name,
       source.sequence.time, time);
}

void CrossAttention::do_declare(Declaration& declaration, const SequenceSpec& input) const {
  const bool steps = input.mode == Mode::kStep;
  const Constant& first = declaration.constants().get(own_.sources[0]);
  const DType output = output_dtype(input.channels.dtype, declaration.constants());
  declare_network(declaration, 0, input);
  if (own_.streamed) {
    if (steps) check_time(first, input.time);
    SequenceSpec source = input;
    source.time = first.sequence.time;
    for (size_t i = 1; i < networks_.size(); ++i) declare_network(declaration, i, source);
    if (steps) declare_rings(declaration, input, output, input_latency() > 0);
  } else if (steps && counts_steps()) {
    declare_positions(declaration, input.batch);
  }
  if (keeps_sources(input.mode))
    declaration.of_constants([&] { declare_kept(declaration, input.batch, output); });
  if (fields_.float32_scores) return;
  SequenceSpec emit = input, keys = input;
  keys.time = first.sequence.time;
  const int64_t columns =
      own_.streamed ? emitted_columns(keys) : fields_.sinks() + first.sequence.time;
  emit.channels = {output, {fields_.heads.count(), columns}};
  declaration.within("", "probabilities_by_source",
                     [&] { declaration.emit(own_.sources[0], emit); });
}

void CrossAttention::declare_kept(Declaration& declaration, int64_t batch, DType output) const {
  const ops::Heads heads = kv_heads(output);
  declaration.index("is_kept", {batch}, 0, 1);
  for (const std::string& name : own_.sources) {
    const Sequence& source = declaration.constants().get(name).sequence;
    declaration.within(name, "", [&] {
      declaration.state(
          "keys_and_values", DType::kFloat32,
          {source.batch, checked_product(2, heads.count()), source.time, heads.width()});
      declaration.state("mask", DType::kBool, {source.batch, source.time});
    });
  }
}

AttentionLayer::Stream CrossAttention::project_queries(Run& run, const Sequence& x,
                                                       DType output) const {
  const DType compute = compute_dtype(x.dtype);
  const ops::Heads heads = this->heads(output);
  const int64_t width = heads.count() * heads.row_units();
  const Stream queries{query_dense_.rows(run, x, compute, heads), width, x.time * width, x.mask,
                       x.time};
  return through_network(run, 0, queries, x, compute, heads, run.mode());
}

CrossAttention::KeysAndValues CrossAttention::project_source(Run& run, size_t index,
                                                             const Sequence& source, DType output,
                                                             Mode mode) const {
  const StackedDense& dense = dense_of(index);
  const DType compute = source_dtype(source.dtype, output);
  const ops::Heads heads = kv_heads(output);
  const int64_t width = dense.outputs() / heads.units * heads.row_units();
  Stream keys{dense.rows(run, source, compute, heads), width, source.time * width, source.mask,
              source.time};
  Stream values = keys;
  if (!fields_.projection.shares_keys_and_values)
    values.values += heads.count() * heads.row_units();
  return {through_network(run, 1, keys, source, compute, heads, mode),
          through_network(run, 2, values, source, compute, heads, mode)};
}

void CrossAttention::arrange_whole(Run& run, size_t index, const Sequence& source, DType output,
                                   float* keys_and_values, uint8_t* valid) const {
  const auto [keys, values] = project_source(run, index, source, output, Mode::kLayer);
  const ops::Heads heads = kv_heads(output);
  const uint8_t* combined = combined_mask(run, keys, values, source);
  const bool one_mask = fields_.float32_scores || fields_.window_block > 0;
  std::memcpy(valid, one_mask ? combined : keys.mask, static_cast<size_t>(source.steps()));
  arrange_keys_and_values(run, keys, values, source, source_dtype(source.dtype, output), heads,
                          valid, fields_.float32_scores ? combined : values.mask, keys_and_values,
                          source.time * heads.width());
  if (own_.streamed) round_as_cached(run, keys_and_values, whole_size(source, heads), output);
}

ops::AttentionSource CrossAttention::whole(Run& run, size_t index, DType output,
                                           const int32_t* is_kept) const {
  const ops::Heads heads = kv_heads(output);
  const Sequence& source = run.constants().get(own_.sources[index]).sequence;
  const bool keeps = keeps_sources(run.mode());
  const Slots slots = keeps ? run.slots() : Slots();
  auto* keys_and_values = keeps ? run.state_of_slots<float>("keys_and_values")
                                : run.scratch<float>(whole_size(source, heads));
  auto* valid = keeps ? run.state_of_slots<uint8_t>("mask") : run.scratch<uint8_t>(source.steps());
  const auto arrange = [&](int64_t first, int64_t count) {
    const Sequence items = source.items(first, count);
    const int64_t item_size = whole_size(source.items(first, 1), heads);
    run.with_scratch([&] {
      arrange_whole(run, index, items, output, keys_and_values + slots[first] * item_size,
                    valid + slots[first] * source.time);
    });
  };
  if (!is_kept) {
    arrange(0, source.batch);
  } else {
    each_range_of_zero(is_kept, slots, source.batch, arrange);
  }
  return whole_source(source, heads, keys_and_values, valid);
}

const int32_t* CrossAttention::query_positions(Run& run, const Sequence& x) const {
  if (own_.query_positions_name.empty()) return nullptr;
  const Constant& constant = run.constants().get(own_.query_positions_name);
  check_time(constant, x.time);
  if (!fields_.relative_position) return nullptr;
  auto* out = run.scratch<int32_t>(x.steps());
  ops::convert(constant.sequence.values, constant.sequence.dtype, reinterpret_cast<std::byte*>(out),
               DType::kInt32, x.steps());
  return out;
}

// Attends to whole sources. `positions`: for each item, where its first step lies among the keys.
void CrossAttention::attend_to_whole(Run& run, const Sequence& x, const Stream& queries,
                                     const StreamPositions& positions, const Sequence& y) const {
  const size_t count = own_.sources.size();
  auto* sources = run.scratch<ops::AttentionSource>(static_cast<int64_t>(count));
  auto* windows = run.scratch<ops::KeyWindow>(static_cast<int64_t>(count), x.batch);
  const bool keeps = keeps_sources(run.mode());
  const auto kept = keeps ? run.state<int32_t>("is_kept") : StateItems<int32_t>();
  int32_t* const is_kept = kept;
  for (size_t i = 0; i < count; ++i) {
    std::construct_at(sources + i, whole(run, i, y.dtype, is_kept));
    sources[i].horizon = fields_.horizon;
    sources[i].windows = windows;
    for (int64_t b = 0; b < x.batch; ++b) {
      *windows++ = {0, sources[i].count, positions.of(b), keeps ? run.slots()[b] - b : 0};
    }
  }
  if (is_kept) std::fill_n(is_kept, x.batch, 1);
  if (!fields_.float32_scores) {
    sources[0].probabilities =
        emit(run, y,
             own_.streamed ? layer_columns(sources[0].count)
                           : ops::Probabilities{.columns = sources[0].count});
  }
  attend(run, queries, {sources, count}, y, query_positions(run, x));
}

Sequence CrossAttention::do_layer(Run& run, const Sequence& x) const {
  const ChannelSpec spec = do_output_spec(x.spec(), run.constants());
  if (own_.streamed && (fields_.window_block > 0 || fields_.relative_position))
    check_time(run.constants().get(own_.sources[0]), x.time);
  const Sequence y = run.output_like(x, spec);
  const Stream queries = project_queries(run, x, spec.dtype);
  if (!own_.streamed) set_mask(y, queries);
  attend_to_whole(run, x, queries, StreamPositions(), y);
  return y;
}

Sequence CrossAttention::do_step(Run& run, const Sequence& x) const {
  const DType output = output_dtype(x.dtype, run.constants());
  const ops::Heads& heads = fields_.heads;
  const Sequence y = run.output({output, {heads.count(), heads.units}}, x.batch, x.time);
  Stream queries = project_queries(run, x, output);
  if (!own_.streamed) {
    const StreamPositions positions =
        counts_steps() ? take_positions(run, x.batch, x.time) : StreamPositions();
    set_mask(y, queries);
    attend_to_whole(run, x, queries, positions, y);
    return y;
  }
  const Sequence& given = run.constants().get(own_.sources[0]).sequence;
  const auto [keys, values] = project_source(run, 0, given, output, Mode::kStep);
  ops::AttentionSource source =
      streamed_source(run, keys, values, given, source_dtype(given.dtype, output), output);
  if (input_latency() > 0) queries = delay(run, queries, x, output);
  set_mask(y, queries);
  source.horizon = fields_.horizon;
  source.probabilities = emit(run, y, source.probabilities);
  attend(run, queries, {&source, 1}, y);
  return y;
}

}  // namespace sl
