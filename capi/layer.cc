#include "convert.h"
#include "handles.h"
#include "model/advance.h"
#include "model/properties.h"

namespace {

using sl::Code;
using sl::Constants;
using sl::Mode;
using sl::capi::check_output;
using sl::capi::ConstantSpecs;
using sl::capi::emit_count;
using sl::capi::guard;
using sl::capi::guard_count;
using sl::capi::not_null;
using sl::capi::read_struct;
using sl::capi::to_mode;
using sl::capi::to_model_options;
using sl::capi::wanted_emit;

const sl::Model& model_of(const sl_layer* layer) { return *not_null(layer, "layer")->model; }
const sl::Layer& root(const sl_layer* layer) { return model_of(layer).root(); }

sl::SequenceSpec to_sequence_spec(const sl::View& view, Mode mode) {
  return {view.channels(), view.dims[0], view.dims[1], mode};
}

void set_range(const sl::ReceptiveField& field, int32_t* exists, int64_t* start, int64_t* end) {
  *not_null(exists, "exists") = field ? 1 : 0;
  *not_null(start, "start") = field ? field->start : 0;
  *not_null(end, "end") = field ? field->end : 0;
}

ConstantSpecs constants_of(const sl_run_options* options) {
  const sl_run_options given = read_struct(options, "options");
  return {given.constants, given.num_constants};
}

sl_constant_info to_info(const sl::ConstantUse& use) {
  sl_constant_info info = SL_CONSTANT_INFO_INIT;
  info.name = use.spec.name.c_str();
  info.layer = use.path.c_str();
  info.dtype = info.rank = -1;
  info.kind = static_cast<int32_t>(use.spec.kind);
  info.required = use.spec.required ? 1 : 0;
  info.streamed = use.spec.streamed ? 1 : 0;
  if (use.spec.dtype) info.dtype = static_cast<sl_dtype>(*use.spec.dtype);
  if (!use.spec.channels) return info;
  info.rank = use.spec.channels->rank();
  std::ranges::copy(*use.spec.channels, info.dims);
  return info;
}

sl::Stream& stream_of(sl_state& state, const sl_layer* layer) {
  if (state.layer != layer) {
    sl::fail(Code::kInvalidArgument, "options.state is of another layer");
  }
  return *state.stream;
}

// Emits of a stream's step over x, or of a layer-wise run that continues the stream.
std::vector<sl::EmitSpec> emits_of(sl_state& state, const sl_layer* layer, const sl::View& x,
                                   Mode mode) {
  const sl::StreamPlan& plan = stream_of(state, layer).plan();
  if (mode == Mode::kStep) {
    sl::capi::check_step_input(plan, x, plan.input().batch);
  } else {
    sl::capi::check_stream_input(plan, x);
  }
  std::vector<sl::EmitSpec> emits = plan.emits();
  for (size_t i = 0; i < emits.size(); ++i) emits[i].sequence = plan.emit(i, x.dims[1]);
  return emits;
}

// Where a layer-wise run takes place: on one thread, if it is recorded.
const sl::Parallel& parallel_of(const sl_run_options& options, const sl::Model& model) {
  const sl::Parallel* const recorded = sl::capi::recording(options);
  return recorded ? *recorded : model.parallel();
}

// The emits that the model declares for an input. The batch is 0, since constants may be of any.
std::vector<sl::EmitSpec> emits_for(const sl::Model& model, const sl_channel_spec* input,
                                    const sl_constant* constants, int64_t num_constants) {
  const ConstantSpecs specs(constants, num_constants);
  const sl::SequenceSpec spec{sl::capi::to_spec(input, "input"), 0, model.root().block_size(),
                              Mode::kLayer};
  return model.declare(spec, specs.all()).emits();
}

const sl::EmitSpec& emit_at(const std::vector<sl::EmitSpec>& emits, int64_t index) {
  const auto count = static_cast<int64_t>(emits.size());
  if (index < 0 || index >= count) sl::fail(Code::kInvalidArgument, "emit {} of {}", index, count);
  return emits[static_cast<size_t>(index)];
}

// A run that goes on in a stream.
void apply_to_state(const sl_layer* layer, const sl::View& x, const sl::View& y,
                    const sl_run_options& options) {
  sl::Stream& stream = stream_of(*options.state, layer);
  const sl::StreamPlan& plan = stream.plan();
  sl::capi::check_stream_input(plan, x);
  const int64_t block = plan.block_size();
  if (x.dims[1] % block != 0) {
    sl::fail(Code::kShape, "x has {} steps: expected a multiple of the block size {}", x.dims[1],
             block);
  }
  sl::capi::set_constants(stream, options, x.dims[1]);
  check_output(y, {plan.output(), x.dims[0], plan.output_time(x.dims[1]), Mode::kStep}, "y");
  std::vector<sl::View> emits;
  for (int64_t i = 0; i < emit_count(options, plan.emits().size()); ++i) {
    const auto at = static_cast<size_t>(i);
    emits.push_back(wanted_emit(options.emits[i], plan.emits()[at], plan.emit(at, x.dims[1])));
  }
  sl::advance(stream, plan.all_slots(), parallel_of(options, plan.model()), x, y,
              stream.constants(), emits);
}

}  // namespace

sl::ModelOptions sl::capi::to_model_options(const sl_layer_options* given) {
  sl_layer_options options = read_struct(given, "options");
  options.num_threads = or_default(options.num_threads, 1);
  if (options.num_threads < 1 || options.num_threads > 256) {
    sl::fail(Code::kInvalidArgument, "options.num_threads is {}: expected 1 to 256",
             options.num_threads);
  }
  options.num_step_threads = or_default(options.num_step_threads, 1);
  if (options.num_step_threads < 1 || options.num_step_threads > 64) {
    sl::fail(Code::kInvalidArgument, "options.num_step_threads is {}: expected 1 to 64",
             options.num_step_threads);
  }
  const int32_t max_lent_threads = 64 - options.num_step_threads;
  if (options.max_lent_threads < 0 || options.max_lent_threads > max_lent_threads) {
    sl::fail(Code::kInvalidArgument,
             "options.max_lent_threads is {}: expected 0 to {}, 64 less num_step_threads",
             options.max_lent_threads, max_lent_threads);
  }
  if (options.matmul_backend < SL_MATMUL_BACKEND_DEFAULT ||
      options.matmul_backend > SL_MATMUL_BACKEND_OPENBLAS) {
    sl::fail(Code::kInvalidArgument, "options.matmul_backend is {}: expected 0 to {}",
             options.matmul_backend, SL_MATMUL_BACKEND_OPENBLAS);
  }
  sl::ModelOptions out;
  out.registry = options.registry ? &options.registry->registry : nullptr;
  if (options.max_bytes < 0) {
    sl::fail(Code::kInvalidArgument, "options.max_bytes is {}: expected 0 or more",
             options.max_bytes);
  }
  sl::Allocator standard;
  if (options.max_bytes > 0) standard.max_bytes = static_cast<size_t>(options.max_bytes);
  out.allocator = sl::capi::to_allocator(options.allocator, standard);
  out.num_threads = options.num_threads;
  if (options.weight_format) out.weight_format = options.weight_format;
  out.num_step_threads = options.num_step_threads;
  out.max_lent_threads = options.max_lent_threads;
  out.matmul_backend = static_cast<sl::MatmulBackend>(options.matmul_backend);
  if (options.kv_format) out.kv_format = sl::parse_kv_format(options.kv_format);
  out.parallel_for = options.parallel_for;
  out.parallel_for_user_data = options.parallel_for_user_data;
  return out;
}

sl_status sl_layer_create(const char* config, size_t config_size, const sl_weights* weights,
                          const sl_layer_options* options, sl_layer** out, sl_error* error) {
  return guard(error, [&] {
    not_null(out, "out");
    const std::string_view text(not_null(config, "config"), config_size);
    auto layer = std::make_unique<sl_layer>();
    layer->model = std::make_unique<sl::Model>(text, weights ? weights->store : nullptr,
                                               to_model_options(options));
    *out = layer.release();
  });
}

sl_status sl_layer_save_weights(const sl_layer* layer, const char* path, sl_error* error) {
  return guard(error, [&] { model_of(layer).save_packed(not_null(path, "path")); });
}

sl_status sl_layer_open(const char* directory, const sl_layer_options* options, sl_layer** out,
                        sl_error* error) {
  return guard(error, [&] {
    not_null(out, "out");
    auto layer = std::make_unique<sl_layer>();
    layer->model = sl::Model::open(not_null(directory, "directory"), to_model_options(options));
    *out = layer.release();
  });
}

void sl_layer_free(sl_layer* layer) { delete layer; }

sl_status sl_layer_lend_thread(const sl_layer* layer, sl_keep_going keep_going, void* user_data,
                               sl_error* error) {
  return guard(error,
               [&] { model_of(layer).lend_thread(not_null(keep_going, "keep_going"), user_data); });
}

sl_status sl_layer_block_size(const sl_layer* layer, int64_t* block_size, sl_error* error) {
  return guard(error, [&] { *not_null(block_size, "block_size") = root(layer).block_size(); });
}

sl_status sl_layer_output_ratio(const sl_layer* layer, int64_t* numerator, int64_t* denominator,
                                sl_error* error) {
  return guard(error, [&] {
    const sl::Ratio ratio = root(layer).output_ratio();
    *not_null(numerator, "numerator") = ratio.numerator();
    *not_null(denominator, "denominator") = ratio.denominator();
  });
}

sl_status sl_layer_supports_step(const sl_layer* layer, int32_t* supports_step, sl_error* error) {
  return guard(error, [&] {
    *not_null(supports_step, "supports_step") = root(layer).supports_step() ? 1 : 0;
  });
}

sl_status sl_layer_input_latency(const sl_layer* layer, int64_t* steps, sl_error* error) {
  return guard(error, [&] { *not_null(steps, "steps") = root(layer).input_latency(); });
}

sl_status sl_layer_output_latency(const sl_layer* layer, int64_t* steps, sl_error* error) {
  return guard(error, [&] { *not_null(steps, "steps") = root(layer).output_latency(); });
}

sl_status sl_layer_receptive_field(const sl_layer* layer, int32_t* exists, int64_t* start,
                                   int64_t* end, sl_error* error) {
  return guard(error, [&] { set_range(sl::receptive_field_of(root(layer)), exists, start, end); });
}

int64_t sl_layer_receptive_field_count(const sl_layer* layer, sl_error* error) {
  return guard_count(error, [&] { return std::ssize(root(layer).receptive_field_per_step()); });
}

sl_status sl_layer_receptive_field_at(const sl_layer* layer, int64_t step, int32_t* exists,
                                      int64_t* start, int64_t* end, sl_error* error) {
  return guard(error, [&] {
    const sl::ReceptiveFields fields = root(layer).receptive_field_per_step();
    const auto count = static_cast<int64_t>(fields.size());
    if (step < 0 || step >= count)
      sl::fail(Code::kInvalidArgument, "step is {}: expected 0 to {}", step, count - 1);
    set_range(fields[static_cast<size_t>(step)], exists, start, end);
  });
}

sl_status sl_layer_output_spec(const sl_layer* layer, const sl_channel_spec* input,
                               const sl_constant* constants, int64_t num_constants,
                               sl_channel_spec* output, sl_error* error) {
  return guard(error, [&] {
    const ConstantSpecs specs(constants, num_constants);
    const sl::ChannelSpec out =
        model_of(layer).output_spec(sl::capi::to_spec(input, "input"), specs.all());
    sl::capi::from_spec(out, not_null(output, "output"), "output");
  });
}

sl_status sl_layer_input_spec(const sl_layer* layer, sl_channel_spec* input, sl_error* error) {
  return guard(error, [&] {
    const auto spec = not_null(layer, "layer")->model->input_spec();
    if (!spec)
      sl::fail(Code::kUnsupported,
               "neither the model's weights nor its first layer tell its input spec");
    sl::capi::from_spec(*spec, not_null(input, "input"), "input");
  });
}

const char* sl_layer_metadata(const sl_layer* layer, const char* key) {
  const std::string* value = layer && key ? layer->model->metadata(key) : nullptr;
  return value ? value->c_str() : nullptr;
}

int64_t sl_layer_parameter_count(const sl_layer* layer) {
  return layer ? layer->model->root().parameter_count() : 0;
}

int64_t sl_layer_constant_count(const sl_layer* layer) {
  return layer ? static_cast<int64_t>(layer->model->constants().all().size()) : 0;
}

sl_status sl_layer_constant(const sl_layer* layer, int64_t index, sl_constant_info* info,
                            sl_error* error) {
  return guard(error, [&] {
    const auto& all = model_of(layer).constants().all();
    const auto count = static_cast<int64_t>(all.size());
    if (index < 0 || index >= count)
      sl::fail(Code::kInvalidArgument, "constant {} of {}", index, count);
    sl::capi::write_struct(to_info(all[static_cast<size_t>(index)]), info, "info");
  });
}

int64_t sl_layer_step_difference_count(const sl_layer* layer) {
  return layer ? static_cast<int64_t>(layer->model->step_differences().size()) : 0;
}

sl_status sl_layer_step_difference(const sl_layer* layer, int64_t index,
                                   sl_step_difference* difference, sl_error* error) {
  return guard(error, [&] {
    const auto& all = model_of(layer).step_differences();
    const auto count = static_cast<int64_t>(all.size());
    if (index < 0 || index >= count)
      sl::fail(Code::kInvalidArgument, "step difference {} of {}", index, count);
    const sl::StepDifference& found = all[static_cast<size_t>(index)];
    sl_step_difference out = SL_STEP_DIFFERENCE_INIT;
    out.condition = static_cast<int32_t>(found.condition);
    out.layer = found.path.c_str();
    out.type = found.type.c_str();
    out.reason = found.reason.c_str();
    out.cure = found.cure.c_str();
    sl::capi::write_struct(out, difference, "difference");
  });
}

sl_status sl_layer_describe(const sl_layer* layer, const sl_channel_spec* input,
                            const sl_constant* constants, int64_t num_constants, char* buffer,
                            size_t capacity, size_t* needed, sl_error* error) {
  return guard(error, [&] {
    const ConstantSpecs specs(constants, num_constants);
    const std::string text =
        model_of(layer).describe(sl::capi::to_spec(input, "input"), specs.all());
    sl::capi::write_text(text, buffer, capacity, needed);
  });
}

sl_status sl_layer_output_shape(const sl_layer* layer, sl_mode mode, const sl_sequence* x,
                                const sl_run_options* options, sl_sequence* y, sl_error* error) {
  return guard(error, [&] {
    const sl::View view = sl::capi::to_sequence_view(x, "x", /*needs_data=*/false);
    const ConstantSpecs specs = constants_of(options);
    const sl::SequenceSpec out =
        model_of(layer).output(to_sequence_spec(view, to_mode(mode)), specs.all());
    sl::capi::set_dims(y, out.channels.dtype, sl::capi::dims_of(out), "y");
  });
}

int64_t sl_layer_emit_count(const sl_layer* layer, const sl_channel_spec* input,
                            const sl_constant* constants, int64_t num_constants, sl_error* error) {
  return guard_count(error, [&] {
    return std::ssize(emits_for(model_of(layer), input, constants, num_constants));
  });
}

sl_status sl_layer_emit_path(const sl_layer* layer, const sl_channel_spec* input,
                             const sl_constant* constants, int64_t num_constants, int64_t index,
                             char* buffer, size_t capacity, size_t* needed, sl_error* error) {
  return guard(error, [&] {
    const auto emits = emits_for(model_of(layer), input, constants, num_constants);
    sl::capi::write_text(emit_at(emits, index).path, buffer, capacity, needed);
  });
}

sl_status sl_layer_emit_shape(const sl_layer* layer, sl_mode mode, const sl_sequence* x,
                              const sl_run_options* options, int64_t index, char* path,
                              size_t capacity, sl_sequence* emit, sl_error* error) {
  return guard(error, [&] {
    const sl::View view = sl::capi::to_sequence_view(x, "x", /*needs_data=*/false);
    const ConstantSpecs specs = constants_of(options);
    const sl::SequenceSpec in = to_sequence_spec(view, to_mode(mode));
    sl_state* state = read_struct(options, "options").state;
    const auto emits = state ? emits_of(*state, layer, view, in.mode)
                             : model_of(layer).declare(in, specs.all()).emits();
    const sl::EmitSpec& spec = emit_at(emits, index);
    sl::capi::set_dims(emit, spec.sequence.channels.dtype, sl::capi::dims_of(spec.sequence),
                       "emit");
    sl::capi::write_text(spec.path, path, capacity);
  });
}

sl_status sl_layer_apply(const sl_layer* layer, const sl_sequence* x, sl_sequence* y,
                         const sl_run_options* options, sl_error* error) {
  return guard(error, [&] {
    const sl::View in = sl::capi::to_sequence_view(x, "x", /*needs_data=*/true);
    const sl::View out = sl::capi::to_sequence_view(y, "y", /*needs_data=*/true);
    const sl_run_options run = read_struct(options, "options");
    if (run.state) return apply_to_state(not_null(layer, "layer"), in, out, run);
    const auto given =
        sl::capi::to_constants(run.constants, run.num_constants, /*needs_data=*/true);
    const sl::Model& model = model_of(layer);
    sl::KeptMemory::Workspace workspace(model.kept_memory());
    sl::Stack& stack = workspace->on(sl::Side::kB);
    const std::vector<sl::Constant> imported = sl::capi::import_constants(stack, given);
    const Constants constants(imported);
    const sl::SequenceSpec spec = to_sequence_spec(in, Mode::kLayer);
    check_output(out, model.output(spec, constants), "y");

    std::vector<sl::Sequence> emits;
    if (run.num_emits != 0) {
      const sl::Declaration declared = model.declare(spec, constants);
      for (int64_t i = 0; i < emit_count(run, declared.emits().size()); ++i) {
        const sl::EmitSpec& spec = declared.emits()[static_cast<size_t>(i)];
        const sl::View place = wanted_emit(run.emits[i], spec, spec.sequence);
        emits.push_back({.channels = {}, .values = place.data, .mask = place.mask});
      }
    }
    const sl::Parallel& parallel = parallel_of(run, model);
    const sl::Parallel::Active active(parallel);
    const sl::Sequence input = sl::import_sequence(stack, in, /*copy=*/false, &parallel);
    const sl::Sequence result = model.apply(*workspace, parallel, input, emits, constants);
    check_output(out, {result.spec(), result.batch, result.time, Mode::kLayer},
                 "the result, which");
    sl::export_sequence(result, out, &parallel);
  });
}
