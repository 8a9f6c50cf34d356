// Writes docs/errors.md, which lists wrong inputs and the library's messages, or checks that it is
// up to date. Usage: errors_page (--write | --check) docs/errors.md
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "support/models.h"
#include "support/page.h"
#include "testing/model.h"

namespace sl::testing {
namespace {

constexpr const char* kIntroduction = R"(# Errors

What the library answers to wrong configs, weights and calls. Every failing call returns an
`sl_status` and, where the caller gave an `sl_error`, a message. Messages of configs begin with the
JSON path of the mistake; `$` is the root.

This page is written by `errors_page --write docs/errors.md`, which makes every mistake on it; a
test compares the page with what the library says today.
)";

std::string status_text(sl_status status) {
  static const char* const names[] = {
#define SL_STATUS(Name, C_NAME, ...) "SL_STATUS_" #C_NAME,
#include "core/statuses.inc"
  };
  return names[status];
}

class Page {
 public:
  Page() { text_ << kIntroduction; }

  void section(const char* title) {
    text_ << "\n## " << title << "\n\n| Mistake | Status | Message |\n|---|---|---|\n";
  }

  void row(const std::string& mistake, const Failure& failure) {
    text_ << "| " << mistake << " | `" << status_text(failure.status) << "` | "
          << code(failure.message) << " |\n";
    accepted_ += failure.status == SL_STATUS_OK;
    ++rows_;
  }

  static std::string code(const std::string& text) {
    std::string out;
    for (const char c : text) {
      if (c == '|') out += '\\';
      out += c == '\n' ? ' ' : c;
    }
    return "`" + out + "`";
  }

  std::string text() const { return text_.str(); }
  int rows() const { return rows_; }
  int accepted() const { return accepted_; }

 private:
  std::ostringstream text_;
  int rows_ = 0;
  int accepted_ = 0;
};

Failure create(const std::string& config, const sl_weights* weights = nullptr) {
  sl_layer* layer = nullptr;
  const Failure failure = failure_of([&](sl_error* e) {
    return sl_layer_create(config.data(), config.size(), weights, nullptr, &layer, e);
  });
  sl_layer_free(layer);
  return failure;
}

void add_json(Page& page) {
  page.section("Configs: JSON, types and fields");
  const auto config = [&](const std::string& text) { page.row(Page::code(text), create(text)); };
  config(R"({"type": "Dense",})");
  config(R"({"type": "Relu", "type": "Dense", "features": 4})");
  config(R"({"type": "Scale", "scale": NaN})");
  config(R"({"type": "Relu"} {})");
  page.row("A NUL byte after the config", create(std::string("{\"type\": \"Relu\"}\0", 17)));
  config(R"([{"type": "Relu"}])");
  config(R"({"layers": []})");
  config(R"({"type": 7})");
  config(R"({"type": "Conv1d", "filters": 4})");
  config(R"({"type": "GRU", "units": 4})");
  config(R"({"type": "torch.nn.Linear"})");
  config(R"({"type": "Lambda"})");
  config(R"({"type": "Perceptron"})");
  config(R"({"type": "Serial", "layers": [{"type": "Relu"}, {"type": "Sofmax"}]})");
  config(R"({"type": "Dense", "featuers": 4})");
  config(R"({"type": "Dense", "features": 4, "use_bais": false})");
  config(R"({"type": "Dropout", "probability": 0.1})");
  config(R"({"type": "Conv1D", "filters": 4})");
  config(R"({"type": "Serial"})");
  config(R"({"type": "Serial", "layers": {"type": "Relu"}})");
  config(R"({"type": "Serial", "layers": ["Relu"]})");
  config(R"({"type": "Dense", "features": "4"})");
  config(R"({"type": "Dense", "features": 4, "use_bias": 1})");
  config(R"({"type": "Relu", "name": 7})");
  std::string deep;
  for (int i = 0; i < 33; ++i) deep += R"({"type": "Serial", "layers": [)";
  for (int i = 0; i < 33; ++i) deep += "]}";
  page.row("33 `Serial` within each other", create(deep));
  page.row("100000 brackets within each other", create(std::string(100000, '[')));
}

void add_values(Page& page) {
  page.section("Configs: values");
  const auto config = [&](const std::string& text) { page.row(Page::code(text), create(text)); };
  config(R"({"type": "Dense", "features": 0})");
  config(R"({"type": "Dense", "features": 2.5})");
  config(R"({"type": "Delay", "length": -1})");
  config(R"({"type": "Delay", "length": 1e12})");
  config(R"({"type": "Conv1D", "filters": 4, "kernel_size": 3, "strides": 0})");
  config(R"({"type": "Conv1D", "filters": 4, "kernel_size": [3, 3]})");
  config(R"({"type": "Conv1D", "filters": 4, "kernel_size": 3, "padding": "casual"})");
  config(R"({"type": "Conv1D", "filters": 4, "kernel_size": 3, "groups": 3})");
  config(R"({"type": "MaxPooling1D", "pool_size": 1e9, "dilation_rate": 4})");
  config(R"({"type": "AveragePooling3D", "pool_size": 2, "spatial_padding": "same"})");
  config(R"({"type": "AddTimingSignal", "min_timescale": 0})");
  config(R"({"type": "ApplyRotaryPositionalEncoding", "max_wavelength": 1e4, "axis": 1})");
  config(R"({"type": "ApplyRotaryPositionalEncoding", "max_wavelength": 1e4, )"
         R"("positions_name": "positions"})");
  config(
      R"({"type": "Conv1DTranspose", "filters": 4, "kernel_size": 3, "padding": "reverse_causal"})");
  config(R"({"type": "Conv1DTranspose", "filters": 4, "kernel_size": 2, "strides": 4,)"
         R"( "padding": "semicausal_full"})");
  config(R"({"type": "SincFilter1D", "kernel_size": 9, "cutoff": 0.7})");
  config(R"({"type": "Cast", "dtype": "uint8"})");
  config(R"({"type": "Dense", "features": 4, "activation": "geluu"})");
  config(R"({"type": "Dense", "features": 4, "activation": {"function": "relu", "slope": 2}})");
  config(R"({"type": "Dropout", "rate": 1.5})");
  config(R"({"type": "Softmax", "axis": 1})");
  config(R"({"type": "Affine", "shape": [-1]})");
  config(R"({"type": "LayerNormalization", "axis": [-1, 1]})");
  config(R"({"type": "GroupNormalization", "num_groups": 0})");
  config(R"({"type": "SequenceEmbedding", "dimension": 4, "num_steps": 3, )"
         R"("num_embeddings_per_step": [5, 6]})");
  config(R"({"type": "Slice", "slices": [{"slice": [0, 4, 0]}]})");
  config(R"({"type": "Add", "shift": [[1, 2], [3]]})");
  config(R"({"type": "EinsumDense", "equation": "ab->b", "output_shape": [4]})");
  config(R"({"type": "EinsumDense", "equation": "...a,ab->...c", "output_shape": [4]})");
  config(R"({"type": "EinsumDense", "equation": "...a,ab->...b", "output_shape": [4, 4]})");
  config(R"({"type": "EinsumDense", "equation": "...a,ab->...b", "output_shape": [4], )"
         R"("bias_axes": "a"})");
  config(R"({"type": "Conditioning", "conditioning_name": "c", "combination": "add"})");
  config(R"({"type": "Conditioning", "conditioning_name": "c", "projection": "linear", )"
         R"("combination": "affine"})");
  config(R"({"type": "EmbeddingTranspose", "embedding": {"type": "Dense", "features": 4}})");
  config(R"({"type": "EinopsRearrange", "pattern": "a b"})");
  config(R"({"type": "EinopsRearrange", "pattern": "(a b -> a b"})");
  config(R"({"type": "EinopsRearrange", "pattern": "a b -> a c"})");
  config(R"({"type": "EinopsRearrange", "pattern": "(a b) -> b a", "axes_lengths": {"c": 2}})");
}

void add_combinators(Page& page) {
  page.section("Configs: combinators");
  const auto config = [&](const std::string& text) { page.row(Page::code(text), create(text)); };
  config(R"({"type": "Residual", "layers": [{"type": "Upsample1D", "rate": 2}]})");
  config(R"({"type": "Residual", "layers": [{"type": "Delay", "length": 2, )"
         R"("delay_layer_output": false}]})");
  config(
      R"({"type": "Parallel", "layers": [{"type": "Relu"}, {"type": "Upsample1D", "rate": 2}]})");
  config(R"({"type": "Parallel", "layers": [{"type": "Relu"}, {"type": "Delay", )"
         R"("length": 1, "delay_layer_output": false}]})");
  config(R"({"type": "Parallel", "layers": [{"type": "Relu"}], "combination": "sum"})");
  config(R"({"type": "Repeat", "num_repeats": 2, "layer": {"type": "Upsample1D", "rate": 2}})");
  config(R"({"type": "Repeat", "num_repeats": 0, "layer": {"type": "Relu"}})");
  config(R"({"type": "Repeat", "num_repeats": 2000000000, "layer": {"type": "Relu"}})");
  config(R"({"type": "Serial", "layers": [{"type": "Relu"}], "share_scope": [true, false]})");
  config(R"({"type": "Serial", "layers": [{"type": "Relu", "name": "a"}, )"
         R"({"type": "Tanh", "name": "a"}]})");
  config(R"({"type": "Serial", "layers": [{"type": "Downsample1D", "rate": 2000000000}, )"
         R"({"type": "Downsample1D", "rate": 2000000000}, )"
         R"({"type": "Downsample1D", "rate": 2000000000}]})");
  config(R"({"type": "Bidirectional", "forward": {"type": "Relu"}, )"
         R"("backward": {"type": "Upsample1D", "rate": 2}})");
  config(R"({"type": "Blockwise", "block_size": 3, )"
         R"("child_layer": {"type": "Downsample1D", "rate": 2}})");
  config(R"({"type": "ParallelChannels", "num_groups": 1000000, "child_layer": {"type": "Relu"}})");
  config(R"({"type": "Skip", "layer": {"type": "Delay", "length": 2, )"
         R"("delay_layer_output": false}})");
  config(R"({"type": "Autoregressive", "layer": {"type": "Lookahead", "length": 1}})");
  config(R"({"type": "Autoregressive", "layer": {"type": "Relu"}, )"
         R"("feedback_layer": {"type": "Upsample1D", "rate": 2}})");
}

void add_attention(Page& page) {
  page.section("Configs: attention");
  const auto config = [&](const std::string& text) { page.row(Page::code(text), create(text)); };
  const auto self = [&](const std::string& fields) {
    config(R"({"type": "DotProductSelfAttention", "num_heads": 4, "units_per_head": 8, )" + fields +
           "}");
  };
  self(R"("max_past_horizon": -2)");
  self(R"("max_past_horizon": 0)");
  self(R"("max_past_horizon": 8, "num_kv_heads": 3)");
  self(R"("max_past_horizon": 8, "num_kv_heads": 2)");
  self(R"("max_past_horizon": 8, "input_projection": {"type": "CombinedProjection"})");
  self(R"("max_past_horizon": 8, "attention_logits_soft_cap": -1)");
  self(R"("max_past_horizon": 8, "num_sink_embeddings": 1, "use_sink_scalars": true)");
  self(R"("max_past_horizon": 8, "use_sink_scalars": true, "zero_fully_masked": true)");
  self(R"("max_past_horizon": 8, "use_sink_scalars": true, "use_kv_cache_ringbuffer": true)");
  self(R"("max_past_horizon": 8, "relative_position_embedding": )"
       R"({"type": "T5RelativePositionEmbedding", "num_buckets": 8, "num_heads": 2, )"
       R"("bidirectional": true})");
  self(R"("max_past_horizon": 8, "relative_position_embedding": )"
       R"({"type": "T5RelativePositionEmbedding", "num_buckets": 8, "num_heads": 4, )"
       R"("bidirectional": false, "max_distance": 4})");
  self(R"("max_past_horizon": 8, "relative_position_embedding": )"
       R"({"type": "TransformerXLRelativePositionEmbedding", "num_heads": 4, )"
       R"("units_per_head": 8, "max_backward": 8, "max_forward": 0, "position_bias_dim": 4})");
  config(R"({"type": "DotProductSelfAttention", "num_heads": 2000000000, )"
         R"("units_per_head": 2000000000, "max_past_horizon": 8})");
  config(R"({"type": "LocalDotProductSelfAttention", "num_heads": 4, "units_per_head": 8, )"
         R"("block_size": 4, "max_past_horizon": 0})");
  config(R"({"type": "BlockwiseDotProductSelfAttention", "num_heads": 4, "units_per_head": 8, )"
         R"("block_size": 1000000, "max_past_horizon_blocks": 1000000})");
  config(R"({"type": "BlockwiseDotProductSelfAttention", "num_heads": 4, "units_per_head": 8, )"
         R"("block_size": 2000000000, "max_past_horizon_blocks": 1})");
}

constexpr const char* kDense = R"({"type":"Dense","features":2})";

struct Entry {
  const char* name;
  sl_dtype dtype;
  std::vector<int64_t> dims;
};

// The error of a Dense with two features that gets these tensors as weights.
Failure create_dense(const std::vector<Entry>& entries) {
  Weights weights;
  for (const Entry& entry : entries) {
    const Tensor tensor = make_array(entry.dtype, entry.dims);
    const sl_sequence view = tensor.view();
    check([&](sl_error* e) { return sl_weights_add(weights.get(), entry.name, &view, e); });
  }
  return create(kDense, weights.get());
}

Failure read(const std::string& bytes) {
  sl_weights* weights = nullptr;
  const Failure failure = failure_of(
      [&](sl_error* e) { return sl_weights_read(bytes.data(), bytes.size(), &weights, e); });
  sl_weights_free(weights);
  return failure;
}

std::string image(const std::string& header, size_t data) {
  const uint64_t size = header.size();
  std::string out(sizeof(size), '\0');
  std::memcpy(out.data(), &size, sizeof(size));
  return out + header + std::string(data, '\0');
}

void add_weights(Page& page) {
  page.section("Weights");
  const Entry kernel = {"params.kernel", SL_DTYPE_FLOAT32, {3, 2}},
              bias = {"params.bias", SL_DTYPE_FLOAT32, {2}};
  const std::string model = "For `" + std::string(kDense) + "`: ";
  page.row(model + "no weights at all", create(kDense));
  page.row(model + "no `params.bias`", create_dense({kernel}));
  page.row(model + "also `params.kernle`",
           create_dense({kernel, bias, {"params.kernle", SL_DTYPE_FLOAT32, {3, 2}}}));
  page.row(model + "also `batch_stats.mean`",
           create_dense({kernel, bias, {"batch_stats.mean", SL_DTYPE_FLOAT32, {2}}}));
  page.row(model + "a kernel of [3, 4]",
           create_dense({{"params.kernel", SL_DTYPE_FLOAT32, {3, 4}}, bias}));
  page.row(model + "a kernel of [2]",
           create_dense({{"params.kernel", SL_DTYPE_FLOAT32, {2}}, bias}));
  page.row(model + "an int32 kernel",
           create_dense({{"params.kernel", SL_DTYPE_INT32, {3, 2}}, bias}));
  {
    Weights weights;
    const Tensor tensor = make_array(SL_DTYPE_FLOAT32, {3, 4, 2});
    const sl_sequence view = tensor.view();
    check([&](sl_error* e) {
      return sl_weights_add(weights.get(), "params.child_layer.kernel", &view, e);
    });
    page.row("A `Repeat` of two, a kernel stacked threefold",
             create(R"({"type":"Repeat","num_repeats":2,"layer":)" + std::string(kDense) + "}",
                    weights.get()));
    page.row("The same name added twice", failure_of([&](sl_error* e) {
               return sl_weights_add(weights.get(), "params.child_layer.kernel", &view, e);
             }));
  }
  sl_weights* none = nullptr;
  page.row("A file that is not there", failure_of([&](sl_error* e) {
             return sl_weights_open("missing.safetensors", &none, e);
           }));
  page.row("An empty file", read(""));
  page.row("A text file", read("hello, this is not a model"));
  page.row("A header that is not JSON", read(image("{\"w\": oops}", 8)));
  page.row("A tensor that is there twice", read(image(R"({"w":{},"w":{}})", 0)));
  page.row("Metadata that are not text", read(image(R"({"__metadata__":{"rate":16000}})", 0)));
  page.row("Data that overlap",
           read(image(R"({"v":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                      R"("w":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                      12)));
  page.row("Data that go on after the last tensor",
           read(image(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 16)));
  page.row("A file cut short",
           read(image(R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", 8)));
  page.row("Offsets beyond the end",
           read(image(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[100,108]}})", 8)));
  page.row("Offsets that do not hold the shape",
           read(image(R"({"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8)));
  page.row("A negative size in a shape",
           read(image(R"({"w":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8)));
  page.row("A dtype that is not read",
           read(image(R"({"w":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", 8)));
  page.row("A complex tensor that is no pairs",
           read(image(R"({"w@complex64":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}})", 12)));
}

sl_state_options options_for(std::vector<int64_t> channels) {
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.input.rank = static_cast<int32_t>(channels.size());
  std::copy(channels.begin(), channels.end(), options.input.dims);
  return options;
}

// Adds calls on a convolution with stride 2 from 4 channels to 3.
void add_calls(Page& page) {
  page.section("Calls");
  const Layer layer = make_model(
      R"({"type":"Conv1D","filters":3,"kernel_size":3,"strides":2,"padding":"causal"})", 4);
  const auto sequence = [](std::vector<int64_t> dims, sl_dtype dtype = SL_DTYPE_FLOAT32) {
    return make_sequence(dtype, std::move(dims));
  };
  const auto apply = [&](const char* mistake, const Tensor& x, const Tensor& y) {
    const sl_sequence in = x.view();
    sl_sequence out = y.view();
    page.row(std::string("`sl_layer_apply`: ") + mistake, failure_of([&](sl_error* e) {
               return sl_layer_apply(layer.get(), &in, &out, nullptr, e);
             }));
  };
  apply("x of 5 channels, the layer takes 4", sequence({1, 4, 5}), sequence({1, 2, 3}));
  apply("x without a channel axis", sequence({1, 4}), sequence({1, 2, 3}));
  apply("x of complex64, y of float32", sequence({1, 4, 4}, SL_DTYPE_COMPLEX64),
        sequence({1, 2, 3}));
  apply("y of the input's length", sequence({1, 4, 4}), sequence({1, 4, 3}));
  apply("y of int32", sequence({1, 4, 4}), sequence({1, 2, 3}, SL_DTYPE_INT32));
  const Tensor x = sequence({1, 2, 4}), y = sequence({1, 1, 3});
  sl_sequence in = x.view(), out = y.view();
  const auto apply_views = [&](const char* mistake) {
    page.row(std::string("`sl_layer_apply`: ") + mistake, failure_of([&](sl_error* e) {
               return sl_layer_apply(layer.get(), &in, &out, nullptr, e);
             }));
    in = x.view();
  };
  in.struct_size = 16;
  apply_views("x of struct_size 16");
  in.rank = 1;
  apply_views("x of rank 1");
  in.dims[1] = -2;
  apply_views("x of -2 steps");
  in.data = nullptr;
  apply_views("x without data");
  in.dtype = 42;
  apply_views("x of dtype 42");
  page.row("`sl_layer_apply`: a null layer",
           failure_of([&](sl_error* e) { return sl_layer_apply(nullptr, &in, &out, nullptr, e); }));

  const State state(layer, options_for({4}));
  const auto step = [&](const char* mistake, const Tensor& x_block, const Tensor& y_block) {
    const sl_sequence x_view = x_block.view();
    sl_sequence y_view = y_block.view();
    page.row(std::string("`sl_layer_step`: ") + mistake, failure_of([&](sl_error* e) {
               return sl_layer_step(layer.get(), state.get(), &x_view, &y_view, nullptr, e);
             }));
  };
  step("x of another spec", sequence({1, 2, 4}, SL_DTYPE_INT32), y);
  step("x of another batch", sequence({2, 2, 4}), sequence({2, 1, 3}));
  step("3 steps for a block of 2", sequence({1, 3, 4}), y);
  step("more than `max_steps`", sequence({1, 4, 4}), sequence({1, 2, 3}));
  step("y too long", x, sequence({1, 2, 3}));
  const Layer other = make_model(R"({"type":"LSTM","units":2})", 4);
  page.row("`sl_layer_step`: the state of another layer", failure_of([&](sl_error* e) {
             return sl_layer_step(other.get(), state.get(), &in, &out, nullptr, e);
           }));
  page.row("`sl_layer_step`: a null state", failure_of([&](sl_error* e) {
             return sl_layer_step(layer.get(), nullptr, &in, &out, nullptr, e);
           }));
  sl_run_options emits = SL_RUN_OPTIONS_INIT;
  emits.num_emits = 2;
  page.row("`sl_layer_step`: emits of a layer that has none", failure_of([&](sl_error* e) {
             return sl_layer_step(layer.get(), state.get(), &in, &out, &emits, e);
           }));
}

// Adds calls on a layer that adds the constant "c" to x; a stream takes c in blocks.
void add_constants(Page& page) {
  page.section("Constants");
  const auto make = [](const std::string& fields) {
    return make_model(R"({"type":"Conditioning","conditioning_name":"c","name":"condition",)"
                      R"("projection":"identity","combination":"add")" +
                      fields + "}");
  };
  const Layer layer = make(R"(,"streaming":true)");
  const Tensor x = make_sequence(SL_DTYPE_FLOAT32, {2, 4, 3});
  const auto refused = [&](const char* mistake, const char* name, std::vector<int64_t> dims) {
    const Tensor c = make_sequence(SL_DTYPE_FLOAT32, std::move(dims));
    const sl_constant constant = {name, c.view()};
    sl_run_options run = SL_RUN_OPTIONS_INIT;
    run.constants = &constant;
    run.num_constants = 1;
    const sl_sequence in = x.view();
    sl_sequence out = in;
    page.row(std::string("`sl_layer_apply`: ") + mistake, failure_of([&](sl_error* e) {
               return sl_layer_apply(layer.get(), &in, &out, &run, e);
             }));
  };
  refused("another constant", "cc", {2, 4, 3});
  refused("a constant of another batch", "c", {3, 4, 3});
  refused("a constant of another length", "c", {2, 5, 3});
  refused("a constant whose channels do not fit", "c", {2, 4, 2});
  const Tensor c = make_sequence(SL_DTYPE_FLOAT32, {1, 3, 3});
  const sl_constant constant = {"c", c.view()};
  sl_state_options options = options_for({3});
  options.max_steps = 2;
  options.constants = &constant;
  options.num_constants = 1;
  sl_state* none = nullptr;
  page.row(
      "`sl_state_alloc`: three steps of a streamed constant for two of x",
      failure_of([&](sl_error* e) { return sl_state_alloc(layer.get(), &options, &none, e); }));
  options.max_steps = 3;
  const State state(layer, options);
  const Tensor two = make_sequence(SL_DTYPE_FLOAT32, {1, 2, 3});
  sl_run_options run = SL_RUN_OPTIONS_INIT;
  run.constants = &constant;
  run.num_constants = 1;
  const sl_sequence in = two.view();
  sl_sequence out = in;
  page.row("`sl_layer_step`: three steps of a streamed constant for two of x",
           failure_of([&](sl_error* e) {
             return sl_layer_step(layer.get(), state.get(), &in, &out, &run, e);
           }));
}

void add_max_length(Page& page) {
  const Layer layer = make_model(
      R"({"type":"Serial","layers":[{"type":"DotProductSelfAttention","name":"self","num_heads":1,)"
      R"("units_per_head":4,"max_past_horizon":-1}]})",
      4);
  sl_state_options options = options_for({4});
  const auto refused = [&](const char* mistake) {
    sl_state* none = nullptr;
    page.row(std::string("`sl_state_alloc`: ") + mistake, failure_of([&](sl_error* e) {
               return sl_state_alloc(layer.get(), &options, &none, e);
             }));
  };
  refused("all of the past to see, and no `max_length`");
  options.max_length = 2;
  options.max_steps = 3;
  refused("a `max_length` of 2, and 3 steps per call");
  options.max_steps = 0;
  const State state(layer, options);
  const Tensor x = make_sequence(SL_DTYPE_FLOAT32, {1, 1, 4});
  const sl_sequence in = x.view();
  Tensor y = make_sequence(SL_DTYPE_FLOAT32, {1, 1, 1, 4});
  sl_sequence out = y.view();
  const auto step = [&](sl_error* e) {
    return sl_layer_step(layer.get(), state.get(), &in, &out, nullptr, e);
  };
  for (int t = 0; t < 2; ++t) check(step);
  page.row("`sl_layer_step`: past the `max_length`", failure_of(step));
}

void add_states(Page& page) {
  page.section("States");
  const Layer layer = make_model(R"({"type":"LSTM","units":2})", 4);
  const Layer other = make_model(R"({"type":"LSTM","units":3})", 4);
  const Layer same =
      make_model(R"({"type":"Conv1D","filters":3,"kernel_size":3,"padding":"same"})", 4);
  sl_state* none = nullptr;
  const auto refused = [&](const char* mistake, const sl_layer* of,
                           const sl_state_options& options) {
    page.row(std::string("`sl_state_alloc`: ") + mistake,
             failure_of([&](sl_error* e) { return sl_state_alloc(of, &options, &none, e); }));
  };
  refused("a convolution with the padding \"same\"", same.get(), options_for({4}));
  const Layer nested = make_model(
      R"({"type":"Serial","layers":[{"type":"Relu"},{"type":"Conv1D","name":"conv","filters":3,)"
      R"("kernel_size":3}]})",
      4);
  refused("a `Serial` with a convolution with the padding \"valid\"", nested.get(),
          options_for({4}));
  refused("an input of 5 channels, the layer takes 4", layer.get(), options_for({5}));
  sl_state_options options = options_for({4});
  options.batch = -1;
  refused("a batch of -1", layer.get(), options);
  options = options_for({4});
  options.max_steps = -1;
  refused("-1 steps at most", layer.get(), options);
  add_max_length(page);

  options = options_for({4});
  size_t size = 0;
  check([&](sl_error* e) { return sl_state_size(layer.get(), &options, &size, nullptr, e); });
  std::vector<uint8_t> memory(size + 128);
  uint8_t* aligned = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
  page.row("`sl_state_alloc_in`: memory at an odd address", failure_of([&](sl_error* e) {
             return sl_state_alloc_in(layer.get(), &options, aligned + 1, size, &none, e);
           }));
  const State state(layer, options), stranger(other, options);
  std::vector<uint8_t> saved(sl_state_save_size(state.get()));
  check([&](sl_error* e) { return sl_state_save(state.get(), saved.data(), saved.size(), e); });
  const auto load = [&](const char* mistake, sl_state* target, const std::vector<uint8_t>& bytes) {
    page.row(std::string("`sl_state_load`: ") + mistake, failure_of([&](sl_error* e) {
               return sl_state_load(target, bytes.data(), bytes.size(), e);
             }));
  };
  load("the state of another model", stranger.get(), saved);
  sl_state_options wide = options;
  wide.batch = 2;
  wide.max_steps = 64;
  const State wider(layer, wide);
  load("into a state of another batch and max_steps", wider.get(), saved);
  load("10 bytes of a state", state.get(), {saved.begin(), saved.begin() + 10});
  std::vector<uint8_t> bad = saved;
  bad.back() = static_cast<uint8_t>(bad.back() ^ 1);
  load("one bit flipped", state.get(), bad);
  bad = saved;
  bad[8] = 9;
  load("of a later version", state.get(), bad);
  load("not a state", state.get(), std::vector<uint8_t>(saved.size(), 'x'));
  page.row("`sl_state_copy`: from the state of another model",
           failure_of([&](sl_error* e) { return sl_state_copy(state.get(), stranger.get(), e); }));
  page.row("`sl_state_copy`: from a state of another batch",
           failure_of([&](sl_error* e) { return sl_state_copy(state.get(), wider.get(), e); }));
}

void add_pipes(Page& page) {
  page.section("Pipes");
  const auto refused = [&](const char* mistake, const std::string& config,
                           const sl_pipe_options& options = SL_PIPE_OPTIONS_INIT) {
    const Layer layer = make_model(config, 2);
    page.row(std::string("`sl_pipe_create`: ") + mistake, failure_of([&](sl_error* e) {
               sl_pipe* pipe = nullptr;
               const sl_status status = sl_pipe_create(layer.get(), &options, &pipe, e);
               sl_pipe_free(pipe);
               return status;
             }));
  };
  const std::string conv = R"({"type":"Conv1D","filters":2,"kernel_size":3,"padding":)";
  refused("a model that makes one step of two", R"({"type":"Downsample1D","rate":2})");
  refused("a model that makes int32", R"({"type":"Cast","dtype":"int32"})");
  refused("a model that makes pictures", R"({"type":"Reshape","output_shape":[1,1]})");
  refused("a model that cannot step", conv + "\"same\"}");
  refused("a model that reads a constant",
          R"({"type":"Conditioning","conditioning_name":"c","projection":"identity",)"
          R"("combination":"add"})");
  sl_pipe_options options = SL_PIPE_OPTIONS_INIT;
  options.host_channels = 3;
  refused("3 channels for a model of 2", conv + "\"causal\"}", options);
  options = SL_PIPE_OPTIONS_INIT;
  options.host_rate = 48000;
  options.model_rate = 100;
  refused("rates far apart", R"({"type":"Relu"})", options);
  options.host_rate = -1;
  refused("a negative rate", R"({"type":"Relu"})", options);

  const sequence_layers::Layer layer(R"({"type":"Relu"})");
  sequence_layers::Pipe pipe(layer), next(layer), other(layer);
  float sample = 0;
  const float* in[] = {&sample};
  float* out[] = {&sample};
  const auto process = [&](const char* mistake, int64_t frames) {
    page.row(std::string("`sl_pipe_process`: ") + mistake, failure_of([&](sl_error* e) {
               return sl_pipe_process(pipe.get(), in, out, frames, e);
             }));
  };
  process("more than `max_frames`", 5000);
  check([&](sl_error* e) { return pipe.swap(&next, e); });
  page.row("`sl_pipe_swap`: again, during the fade",
           failure_of([&](sl_error* e) { return pipe.swap(&other, e); }));
  page.row("`sl_pipe_process`: a pipe whose model is still heard in another one",
           failure_of([&](sl_error* e) { return next.process(in, out, 1, e); }));
  pipe.flush(out, 1);
  process("after a flush", 1);
}

int run(const std::string& mode, const char* path) {
  Page page;
  add_json(page);
  add_values(page);
  add_combinators(page);
  add_attention(page);
  add_weights(page);
  add_calls(page);
  add_constants(page);
  add_states(page);
  add_pipes(page);
  if (page.accepted() > 0) std::fprintf(stderr, "%d mistakes are accepted\n", page.accepted());
  if (mode == "--check") {
    const std::string stale = difference(read_file(path), page.text());
    if (!stale.empty()) std::fprintf(stderr, "%serrors_page --write renews it\n", stale.c_str());
    return (stale.empty() ? 0 : 1) + page.accepted();
  }
  std::ofstream(path, std::ios::binary) << page.text();
  std::printf("%d rows\n", page.rows());
  return page.accepted();
}

}  // namespace
}  // namespace sl::testing

int main(int argc, char** argv) {
  const std::string mode = argc == 3 ? argv[1] : "";
  if (mode != "--write" && mode != "--check") {
    std::fprintf(stderr, "usage: errors_page (--write | --check) docs/errors.md\n");
    return 2;
  }
  return sl::testing::run(mode, argv[2]);
}
