// libsequence_layers for C++17: RAII over the C ABI alone, header-only. Failing calls throw
// sequence_layers::Error, but State::step and Decoder::sample, which report by their return value:
// real-time threads do not unwind. Threading classes are those of the C calls.
#ifndef SEQUENCE_LAYERS_SEQUENCE_LAYERS_HPP_
#define SEQUENCE_LAYERS_SEQUENCE_LAYERS_HPP_

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "sequence_layers/sequence_layers.h"

namespace sequence_layers {

class Error : public std::runtime_error {
 public:
  explicit Error(const sl_error& error) : std::runtime_error(error.message), status_(error.code) {}
  sl_status status() const { return status_; }

 private:
  sl_status status_;
};

namespace detail {

// Calls fn(&error) and throws what it reports.
template <typename Fn>
void check(Fn&& fn) {
  sl_error error = SL_ERROR_INIT;
  if (fn(&error) != SL_STATUS_OK) throw Error(error);
}

struct Free {
  void operator()(sl_weights* p) const { sl_weights_free(p); }
  void operator()(sl_registry* p) const { sl_registry_free(p); }
  void operator()(sl_layer* p) const { sl_layer_free(p); }
  void operator()(sl_state* p) const { sl_state_free(p); }
  void operator()(sl_decoder* p) const { sl_decoder_free(p); }
};

template <typename T>
using Handle = std::unique_ptr<T, Free>;

}  // namespace detail

// What one timestep holds: dtype and channel shape.
inline sl_channel_spec channel_spec(std::initializer_list<int64_t> shape,
                                    sl_dtype dtype = SL_DTYPE_FLOAT32) {
  sl_channel_spec spec = SL_CHANNEL_SPEC_INIT;
  if (shape.size() > SL_MAX_CHANNEL_RANK) throw std::length_error("too many channel dimensions");
  spec.dtype = dtype;
  for (const int64_t dim : shape) spec.dims[spec.rank++] = dim;
  return spec;
}

// A contiguous view of the caller's values [batch, time, channels...], valid where `mask` says so,
// everywhere if it is null.
inline sl_sequence sequence(const sl_channel_spec& channels, int64_t batch, int64_t time,
                            void* data, uint8_t* mask = nullptr) {
  sl_sequence out = SL_SEQUENCE_INIT;
  out.dtype = channels.dtype;
  out.rank = channels.rank + 2;
  out.dims[0] = batch;
  out.dims[1] = time;
  for (int32_t i = 0; i < channels.rank; ++i) out.dims[i + 2] = channels.dims[i];
  out.data = data;
  out.mask = mask;
  return out;
}

// A set of named tensors.
class Weights {
 public:
  Weights() {
    sl_weights* p = nullptr;
    detail::check([&](sl_error* e) { return sl_weights_create(&p, e); });
    handle_.reset(p);
  }
  // The tensors of a safetensors file, memory-mapped.
  static Weights open(const std::string& path) {
    sl_weights* p = nullptr;
    detail::check([&](sl_error* e) { return sl_weights_open(path.c_str(), &p, e); });
    return Weights(p);
  }
  // Adds a tensor; its data is copied.
  void add(const std::string& name, const sl_sequence& tensor) {
    detail::check([&](sl_error* e) { return sl_weights_add(get(), name.c_str(), &tensor, e); });
  }
  sl_weights* get() const { return handle_.get(); }

 private:
  explicit Weights(sl_weights* p) : handle_(p) {}
  detail::Handle<sl_weights> handle_;
};

// Layer types: the built-in ones and the caller's.
class Registry {
 public:
  Registry() {
    sl_registry* p = nullptr;
    detail::check([&](sl_error* e) { return sl_registry_create(&p, e); });
    handle_.reset(p);
  }
  void add(const std::string& type, const sl_layer_callbacks& callbacks) {
    detail::check([&](sl_error* e) { return sl_registry_add(get(), type.c_str(), &callbacks, e); });
  }
  sl_registry* get() const { return handle_.get(); }

 private:
  detail::Handle<sl_registry> handle_;
};

// A model: immutable, shared by any number of states and threads.
class Layer {
 public:
  // Of a directory with config.json and model.safetensors.
  static Layer open(const std::string& directory, const sl_layer_options* options = nullptr) {
    sl_layer* p = nullptr;
    detail::check([&](sl_error* e) { return sl_layer_open(directory.c_str(), options, &p, e); });
    return Layer(p);
  }
  // Of a JSON config with its weights.
  Layer(const std::string& config, const Weights& weights,
        const sl_layer_options* options = nullptr) {
    sl_layer* p = nullptr;
    detail::check([&](sl_error* e) {
      return sl_layer_create(config.data(), config.size(), weights.get(), options, &p, e);
    });
    handle_.reset(p);
  }

  int64_t block_size() const { return integer(sl_layer_block_size); }
  int64_t input_latency() const { return integer(sl_layer_input_latency); }
  int64_t output_latency() const { return integer(sl_layer_output_latency); }
  bool supports_step() const {
    int32_t out = 0;
    detail::check([&](sl_error* e) { return sl_layer_supports_step(get(), &out, e); });
    return out != 0;
  }
  // Numerator and denominator.
  std::pair<int64_t, int64_t> output_ratio() const {
    std::pair<int64_t, int64_t> out;
    detail::check(
        [&](sl_error* e) { return sl_layer_output_ratio(get(), &out.first, &out.second, e); });
    return out;
  }
  sl_channel_spec input_spec() const {
    sl_channel_spec out = SL_CHANNEL_SPEC_INIT;
    detail::check([&](sl_error* e) { return sl_layer_input_spec(get(), &out, e); });
    return out;
  }
  // What the model says of the constants that it reads; names live as long as the layer.
  std::vector<sl_constant_info> constants() const {
    std::vector<sl_constant_info> out(static_cast<size_t>(sl_layer_constant_count(get())),
                                      sl_constant_info SL_CONSTANT_INFO_INIT);
    for (size_t i = 0; i < out.size(); ++i) {
      detail::check([&](sl_error* e) {
        return sl_layer_constant(get(), static_cast<int64_t>(i), &out[i], e);
      });
    }
    return out;
  }
  // Layers for which steps give other values than whole runs; strings live as long as the layer.
  std::vector<sl_step_difference> step_differences() const {
    std::vector<sl_step_difference> out(static_cast<size_t>(sl_layer_step_difference_count(get())),
                                        sl_step_difference SL_STEP_DIFFERENCE_INIT);
    for (size_t i = 0; i < out.size(); ++i) {
      detail::check([&](sl_error* e) {
        return sl_layer_step_difference(get(), static_cast<int64_t>(i), &out[i], e);
      });
    }
    return out;
  }
  sl_channel_spec output_spec(const sl_channel_spec& input,
                              const std::vector<sl_constant>& constants = {}) const {
    sl_channel_spec out = SL_CHANNEL_SPEC_INIT;
    detail::check([&](sl_error* e) {
      return sl_layer_output_spec(get(), &input, constants.data(),
                                  static_cast<int64_t>(constants.size()), &out, e);
    });
    return out;
  }
  // x with the dims that a run of that mode gives y; data is not set.
  sl_sequence output_shape(const sl_sequence& x, sl_mode mode = SL_MODE_LAYER,
                           const sl_run_options* options = nullptr) const {
    sl_sequence y = SL_SEQUENCE_INIT;
    detail::check(
        [&](sl_error* e) { return sl_layer_output_shape(get(), mode, &x, options, &y, e); });
    return y;
  }
  // Runs a whole sequence into the caller's y.
  void apply(const sl_sequence& x, sl_sequence* y, const sl_run_options* options = nullptr) const {
    detail::check([&](sl_error* e) { return sl_layer_apply(get(), &x, y, options, e); });
  }
  sl_layer* get() const { return handle_.get(); }

 private:
  explicit Layer(sl_layer* p) : handle_(p) {}

  int64_t integer(sl_status (*getter)(const sl_layer*, int64_t*, sl_error*)) const {
    int64_t out = 0;
    detail::check([&](sl_error* e) { return getter(get(), &out, e); });
    return out;
  }

  detail::Handle<sl_layer> handle_;
};

// One stream through a layer, which must outlive it.
class State {
 public:
  State(const Layer& layer, const sl_state_options& options) : layer_(layer.get()) {
    sl_state* p = nullptr;
    detail::check([&](sl_error* e) { return sl_state_alloc(layer_, &options, &p, e); });
    handle_.reset(p);
  }
  State(const Layer& layer, const sl_channel_spec& input, int64_t batch = 1, int64_t max_steps = 0)
      : State(layer, make_options(input, batch, max_steps)) {}

  // The next block of the stream; does not throw. `error` may be null.
  sl_status step(const sl_sequence& x, sl_sequence* y, const sl_run_options* options = nullptr,
                 sl_error* error = nullptr) noexcept {
    return sl_layer_step(layer_, get(), &x, y, options, error);
  }
  // What steps over x would do, in one call: x may be longer than max_steps. Not real-time.
  void apply(const sl_sequence& x, sl_sequence* y, const sl_run_options* options = nullptr) {
    sl_run_options run = SL_RUN_OPTIONS_INIT;
    if (options != nullptr) {
      run.constants = options->constants;
      run.num_constants = options->num_constants;
      run.emits = options->emits;
      run.num_emits = options->num_emits;
    }
    run.state = get();
    detail::check([&](sl_error* e) { return sl_layer_apply(layer_, &x, y, &run, e); });
  }
  // Reads the constants that steps make something of once. Not real-time.
  void prepare(const sl_constant* constants, int64_t num_constants) {
    detail::check(
        [&](sl_error* e) { return sl_state_prepare(get(), constants, num_constants, e); });
  }
  void reset() {
    detail::check([&](sl_error* e) { return sl_state_reset(get(), e); });
  }
  // Continues where `source` stands.
  void copy_from(const State& source) {
    detail::check([&](sl_error* e) { return sl_state_copy(get(), source.get(), e); });
  }
  std::vector<unsigned char> save() const {
    std::vector<unsigned char> out(sl_state_save_size(get()));
    detail::check([&](sl_error* e) { return sl_state_save(get(), out.data(), out.size(), e); });
    return out;
  }
  void load(const std::vector<unsigned char>& saved) {
    detail::check([&](sl_error* e) { return sl_state_load(get(), saved.data(), saved.size(), e); });
  }
  sl_state* get() const { return handle_.get(); }

 private:
  static sl_state_options make_options(const sl_channel_spec& input, int64_t batch,
                                       int64_t max_steps) {
    sl_state_options options = SL_STATE_OPTIONS_INIT;
    options.batch = batch;
    options.max_steps = max_steps;
    options.input = input;
    return options;
  }

  const sl_layer* layer_;
  detail::Handle<sl_state> handle_;
};

// Streams of tokens in which a layer's choices are its next inputs. The layer must outlive it.
class Decoder {
 public:
  Decoder(const Layer& layer, const sl_decoder_options& options) {
    sl_decoder* p = nullptr;
    detail::check([&](sl_error* e) { return sl_decoder_create(layer.get(), &options, &p, e); });
    handle_.reset(p);
  }

  // Of tokens from the start of a sequence, into the caller's float32 [batch, time].
  void log_prob(const sl_sequence& tokens, sl_sequence* log_probs,
                const sl_run_options* options = nullptr) const {
    detail::check(
        [&](sl_error* e) { return sl_decoder_log_prob(get(), &tokens, log_probs, options, e); });
  }
  // Goes on as if `tokens` had been sampled. Not real-time.
  void prefill(const sl_sequence& tokens, const sl_run_options* options = nullptr) {
    detail::check([&](sl_error* e) { return sl_decoder_prefill(get(), &tokens, options, e); });
  }
  // One step of all streams; does not throw. All but `tokens` may be null.
  sl_status sample(int32_t* tokens, float* log_probs = nullptr, uint8_t* mask = nullptr,
                   const sl_run_options* options = nullptr, sl_error* error = nullptr) noexcept {
    return sl_decoder_sample(get(), tokens, log_probs, mask, options, error);
  }
  // Continues where `source` stands.
  void copy_from(const Decoder& source) {
    detail::check([&](sl_error* e) { return sl_decoder_copy(get(), source.get(), e); });
  }
  void reset() {
    detail::check([&](sl_error* e) { return sl_decoder_reset(get(), e); });
  }
  sl_decoder* get() const { return handle_.get(); }

 private:
  detail::Handle<sl_decoder> handle_;
};

}  // namespace sequence_layers

#endif  // SEQUENCE_LAYERS_SEQUENCE_LAYERS_HPP_
