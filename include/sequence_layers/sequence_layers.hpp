// libsequence_layers for C++17: owners and exceptions over the C ABI alone, header-only. Every
// function of the C ABI has its method here, named as in C without the noun; what a method does,
// and on which threads, is told there. Calls that fail throw sequence_layers::Error, except
// State::step, Decoder::sample and those of Pipe for the audio thread, which return their status:
// real-time threads do not unwind.
#ifndef SEQUENCE_LAYERS_SEQUENCE_LAYERS_HPP_
#define SEQUENCE_LAYERS_SEQUENCE_LAYERS_HPP_

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "sequence_layers/sequence_layers.h"

namespace sequence_layers {

// A call that failed: its status and message, or the status's name where there is no message.
class Error : public std::runtime_error {
 public:
  Error(sl_status status, const char* message)
      : std::runtime_error(message[0] != '\0' ? message : sl_status_name(status)),
        status_(status) {}
  sl_status status() const { return status_; }

 private:
  sl_status status_;
};

// Calls call(sl_error*) and throws what it reports.
template <typename Call>
void check(Call&& call) {
  sl_error error = SL_ERROR_INIT;
  const sl_status status = call(&error);
  if (status != SL_STATUS_OK) throw Error(status, error.message);
}

// Calls call(sl_error*), which returns a count, or -1 after an error, which is thrown.
template <typename Call>
int64_t check_count(Call&& call) {
  sl_error error = SL_ERROR_INIT;
  const int64_t count = call(&error);
  if (count < 0) throw Error(error.code, error.message);
  return count;
}

namespace detail {

struct Free {
  void operator()(sl_weights* p) const { sl_weights_free(p); }
  void operator()(sl_registry* p) const { sl_registry_free(p); }
  void operator()(sl_layer* p) const { sl_layer_free(p); }
  void operator()(sl_state* p) const { sl_state_free(p); }
  void operator()(sl_decoder* p) const { sl_decoder_free(p); }
  void operator()(sl_profile* p) const { sl_profile_free(p); }
  void operator()(sl_calibration* p) const { sl_calibration_free(p); }
  void operator()(sl_pipe* p) const { sl_pipe_free(p); }
};

}  // namespace detail

// Owner of a C handle, for calls that no class below makes.
template <typename T>
using Handle = std::unique_ptr<T, detail::Free>;

// Makes a handle with call(T** out, sl_error*).
template <typename T, typename Call>
Handle<T> make_handle(Call&& call) {
  T* out = nullptr;
  check([&](sl_error* e) { return call(&out, e); });
  return Handle<T>(out);
}

namespace detail {

// Calls fill(i, T* item, sl_error*) for each of `count` items.
template <typename T, typename Fill>
std::vector<T> list(int64_t count, const T& empty, Fill&& fill) {
  std::vector<T> out(static_cast<size_t>(count), empty);
  for (int64_t i = 0; i < count; ++i) {
    check([&](sl_error* e) { return fill(i, &out[static_cast<size_t>(i)], e); });
  }
  return out;
}

}  // namespace detail

inline uint32_t version() { return sl_version(); }
inline const char* status_name(sl_status status) { return sl_status_name(status); }
inline size_t dtype_size(sl_dtype dtype) { return sl_dtype_size(dtype); }
inline const char* dtype_name(sl_dtype dtype) { return sl_dtype_name(dtype); }
inline void set_log(sl_log_callback callback, void* user_data, sl_log_level level) {
  sl_log_set(callback, user_data, level);
}

// A tensor among others; name and view live as long as what holds them.
struct NamedTensor {
  const char* name = nullptr;
  sl_sequence view = SL_SEQUENCE_INIT;
};

// Input steps [start, end] that can affect an output step; `exists` is false if none can.
struct ReceptiveField {
  bool exists = false;
  int64_t start = 0;
  int64_t end = 0;
};

// Dtype and channel shape of one timestep.
inline sl_channel_spec channel_spec(const std::vector<int64_t>& shape,
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

// Options of a stream of `batch` sequences, in calls of at most `max_steps` steps (default: one
// block). They point to `constants`, which must outlive them.
inline sl_state_options state_options(const sl_channel_spec& input, int64_t batch = 1,
                                      int64_t max_steps = 0,
                                      const std::vector<sl_constant>& constants = {}) {
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.batch = batch;
  options.max_steps = max_steps;
  options.input = input;
  options.constants = constants.data();
  options.num_constants = static_cast<int64_t>(constants.size());
  return options;
}

// Options of a run with these constants, and with all emits of the layer unless `emits` is null.
// They point to both vectors, which must outlive them.
inline sl_run_options run_options(const std::vector<sl_constant>& constants,
                                  std::vector<sl_sequence>* emits = nullptr) {
  sl_run_options options = SL_RUN_OPTIONS_INIT;
  options.constants = constants.data();
  options.num_constants = static_cast<int64_t>(constants.size());
  if (emits != nullptr && !emits->empty()) {
    options.emits = emits->data();
    options.num_emits = static_cast<int64_t>(emits->size());
  }
  return options;
}

// A set of named tensors.
class Weights {
 public:
  Weights() : handle_(make_handle<sl_weights>(sl_weights_create)) {}
  // Takes ownership.
  explicit Weights(sl_weights* handle) : handle_(handle) {}
  // The tensors of a safetensors file, memory-mapped.
  static Weights open(const std::string& path) {
    return Weights(make_handle<sl_weights>(
        [&](sl_weights** out, sl_error* e) { return sl_weights_open(path.c_str(), out, e); }));
  }
  // The tensors of a safetensors image, which is copied.
  static Weights read(const void* data, size_t size) {
    return Weights(make_handle<sl_weights>(
        [&](sl_weights** out, sl_error* e) { return sl_weights_read(data, size, out, e); }));
  }
  // Adds a copy of a tensor.
  void add(const std::string& name, const sl_sequence& tensor) {
    check([&](sl_error* e) { return sl_weights_add(get(), name.c_str(), &tensor, e); });
  }
  int64_t tensor_count() const { return sl_weights_tensor_count(get()); }
  NamedTensor tensor(int64_t index) const {
    NamedTensor out;
    check([&](sl_error* e) { return sl_weights_tensor(get(), index, &out.name, &out.view, e); });
    return out;
  }
  sl_sequence find(const std::string& name) const {
    sl_sequence out = SL_SEQUENCE_INIT;
    check([&](sl_error* e) { return sl_weights_find(get(), name.c_str(), &out, e); });
    return out;
  }
  bool contains(const std::string& name) const {
    sl_sequence ignored = SL_SEQUENCE_INIT;
    return sl_weights_find(get(), name.c_str(), &ignored, nullptr) == SL_STATUS_OK;
  }
  // Null if there is none of that key.
  const char* metadata(const std::string& key) const {
    return sl_weights_metadata(get(), key.c_str());
  }
  sl_weights* get() const { return handle_.get(); }

 private:
  explicit Weights(Handle<sl_weights> handle) : handle_(std::move(handle)) {}

  Handle<sl_weights> handle_;
};

// Layer types: the built-in ones and the caller's.
class Registry {
 public:
  Registry() : handle_(make_handle<sl_registry>(sl_registry_create)) {}
  void add(const std::string& type, const sl_layer_callbacks& callbacks) {
    check([&](sl_error* e) { return sl_registry_add(get(), type.c_str(), &callbacks, e); });
  }
  std::vector<std::string> types() const { return types_of(get()); }
  static std::vector<std::string> built_in_types() { return types_of(nullptr); }
  sl_registry* get() const { return handle_.get(); }

 private:
  static std::vector<std::string> types_of(const sl_registry* registry) {
    std::vector<std::string> out;
    const int64_t count = sl_registry_type_count(registry);
    for (int64_t i = 0; i < count; ++i) out.emplace_back(sl_registry_type(registry, i));
    return out;
  }

  Handle<sl_registry> handle_;
};

// View of a custom layer's own tensor, for its `create`; a null collection means "params".
inline sl_sequence find_weight(const sl_weight_source* source, const std::string& name,
                               const char* collection = nullptr) {
  sl_sequence out = SL_SEQUENCE_INIT;
  check([&](sl_error* e) {
    return sl_weight_source_find(source, collection, name.c_str(), &out, e);
  });
  return out;
}

namespace detail {

// The text that call(buffer, capacity, needed, sl_error*) writes.
template <typename Call>
std::string text(Call&& call) {
  const auto write = [&](char* buffer, size_t capacity) {
    size_t needed = 0;
    check([&](sl_error* e) { return call(buffer, capacity, &needed, e); });
    return needed;
  };
  std::string out(write(nullptr, 0), '\0');
  write(out.data(), out.size());
  out.pop_back();  // the final zero
  return out;
}

}  // namespace detail

// Costs of layers, recorded by runs whose options name it.
class Profile {
 public:
  Profile() : handle_(make_handle<sl_profile>(sl_profile_create)) {}
  void reset() {
    check([&](sl_error* e) { return sl_profile_reset(get(), e); });
  }
  // The recorded costs as JSON.
  std::string describe() const {
    return detail::text([&](char* buffer, size_t capacity, size_t* needed, sl_error* e) {
      return sl_profile_describe(get(), buffer, capacity, needed, e);
    });
  }
  sl_profile* get() const { return handle_.get(); }

 private:
  Handle<sl_profile> handle_;
};

// Weights in int8 and int4 that are rounded for given data.
class Calibration {
 public:
  Calibration(const std::string& directory, const sl_layer_options* options, const sl_sequence& x,
              const sl_run_options* run_options = nullptr)
      : handle_(make_handle<sl_calibration>([&](sl_calibration** out, sl_error* e) {
          return sl_calibration_create(directory.c_str(), options, &x, run_options, out, e);
        })) {}
  sl_calibration* get() const { return handle_.get(); }

 private:
  Handle<sl_calibration> handle_;
};

// A model: immutable, shared by any number of states and threads.
class Layer {
 public:
  // Takes ownership.
  explicit Layer(sl_layer* handle) : handle_(handle) {}
  // The model of a directory with config.json and model.safetensors.
  static Layer open(const std::string& directory, const sl_layer_options* options = nullptr) {
    return Layer(make_handle<sl_layer>([&](sl_layer** out, sl_error* e) {
      return sl_layer_open(directory.c_str(), options, out, e);
    }));
  }
  // Opens the model with calibrated weights.
  static Layer open(const std::string& directory, const sl_layer_options* options,
                    const Calibration& calibration) {
    return Layer(make_handle<sl_layer>([&](sl_layer** out, sl_error* e) {
      return sl_layer_open_calibrated(directory.c_str(), options, calibration.get(), out, e);
    }));
  }
  // The model of a JSON config that needs no weights.
  explicit Layer(const std::string& config, const sl_layer_options* options = nullptr)
      : Layer(create(config, nullptr, options)) {}
  // The model of a JSON config with its weights.
  Layer(const std::string& config, const Weights& weights,
        const sl_layer_options* options = nullptr)
      : Layer(create(config, weights.get(), options)) {}

  // Writes the weights as the layer holds them, matrices packed.
  void save_weights(const std::string& path) const {
    check([&](sl_error* e) { return sl_layer_save_weights(get(), path.c_str(), e); });
  }

  int64_t block_size() const { return integer(sl_layer_block_size); }
  int64_t input_latency() const { return integer(sl_layer_input_latency); }
  int64_t output_latency() const { return integer(sl_layer_output_latency); }
  bool supports_step() const {
    int32_t out = 0;
    check([&](sl_error* e) { return sl_layer_supports_step(get(), &out, e); });
    return out != 0;
  }
  // Numerator and denominator.
  std::pair<int64_t, int64_t> output_ratio() const {
    std::pair<int64_t, int64_t> out;
    check([&](sl_error* e) { return sl_layer_output_ratio(get(), &out.first, &out.second, e); });
    return out;
  }
  ReceptiveField receptive_field() const {
    return field([&](int32_t* exists, ReceptiveField* out, sl_error* e) {
      return sl_layer_receptive_field(get(), exists, &out->start, &out->end, e);
    });
  }
  // One for each output step of a cycle.
  std::vector<ReceptiveField> receptive_field_per_step() const {
    const int64_t count =
        check_count([&](sl_error* e) { return sl_layer_receptive_field_count(get(), e); });
    std::vector<ReceptiveField> out;
    for (int64_t i = 0; i < count; ++i) {
      out.push_back(field([&](int32_t* exists, ReceptiveField* range, sl_error* e) {
        return sl_layer_receptive_field_at(get(), i, exists, &range->start, &range->end, e);
      }));
    }
    return out;
  }
  // Null if there is none of that key.
  const char* metadata(const std::string& key) const {
    return sl_layer_metadata(get(), key.c_str());
  }
  int64_t parameter_count() const { return sl_layer_parameter_count(get()); }
  sl_channel_spec input_spec() const {
    sl_channel_spec out = SL_CHANNEL_SPEC_INIT;
    check([&](sl_error* e) { return sl_layer_input_spec(get(), &out, e); });
    return out;
  }
  sl_channel_spec output_spec(const sl_channel_spec& input,
                              const std::vector<sl_constant>& constants = {}) const {
    sl_channel_spec out = SL_CHANNEL_SPEC_INIT;
    check([&](sl_error* e) {
      return sl_layer_output_spec(get(), &input, constants.data(),
                                  static_cast<int64_t>(constants.size()), &out, e);
    });
    return out;
  }
  // The model as JSON.
  std::string describe(const sl_channel_spec& input,
                       const std::vector<sl_constant>& constants = {}) const {
    return detail::text([&](char* buffer, size_t capacity, size_t* needed, sl_error* e) {
      return sl_layer_describe(get(), &input, constants.data(),
                               static_cast<int64_t>(constants.size()), buffer, capacity, needed, e);
    });
  }
  // The constants that the model reads; names live as long as the layer.
  std::vector<sl_constant_info> constants() const {
    return detail::list<sl_constant_info>(sl_layer_constant_count(get()), SL_CONSTANT_INFO_INIT,
                                          [&](int64_t i, sl_constant_info* out, sl_error* e) {
                                            return sl_layer_constant(get(), i, out, e);
                                          });
  }
  // Layers for which steps give other values than whole runs; strings live as long as the layer.
  std::vector<sl_step_difference> step_differences() const {
    return detail::list<sl_step_difference>(sl_layer_step_difference_count(get()),
                                            SL_STEP_DIFFERENCE_INIT,
                                            [&](int64_t i, sl_step_difference* out, sl_error* e) {
                                              return sl_layer_step_difference(get(), i, out, e);
                                            });
  }
  // Dtype, rank and dims of y for a run over x; data is not set.
  sl_sequence output_shape(const sl_sequence& x, sl_mode mode = SL_MODE_LAYER,
                           const sl_run_options* options = nullptr) const {
    sl_sequence y = SL_SEQUENCE_INIT;
    check([&](sl_error* e) { return sl_layer_output_shape(get(), mode, &x, options, &y, e); });
    return y;
  }
  int64_t emit_count(const sl_channel_spec& input,
                     const std::vector<sl_constant>& constants = {}) const {
    return check_count([&](sl_error* e) {
      return sl_layer_emit_count(get(), &input, constants.data(),
                                 static_cast<int64_t>(constants.size()), e);
    });
  }
  std::string emit_path(const sl_channel_spec& input, int64_t index,
                        const std::vector<sl_constant>& constants = {}) const {
    return detail::text([&](char* buffer, size_t capacity, size_t* needed, sl_error* e) {
      return sl_layer_emit_path(get(), &input, constants.data(),
                                static_cast<int64_t>(constants.size()), index, buffer, capacity,
                                needed, e);
    });
  }
  // Path, dtype, rank and dims of an emit.
  std::pair<std::string, sl_sequence> emit_shape(const sl_sequence& x, int64_t index,
                                                 sl_mode mode = SL_MODE_LAYER,
                                                 const sl_run_options* options = nullptr) const {
    sl_sequence shape = SL_SEQUENCE_INIT;
    check([&](sl_error* e) {
      return sl_layer_emit_shape(get(), mode, &x, options, index, nullptr, 0, &shape, e);
    });
    sl_channel_spec input = SL_CHANNEL_SPEC_INIT;
    input.dtype = x.dtype;
    for (int32_t i = 2; i < x.rank; ++i) input.dims[input.rank++] = x.dims[i];
    std::vector<sl_constant> constants;
    if (options != nullptr)
      constants.assign(options->constants, options->constants + options->num_constants);
    return {emit_path(input, index, constants), shape};
  }
  // Runs a whole sequence into the caller's y.
  void apply(const sl_sequence& x, sl_sequence* y, const sl_run_options* options = nullptr) const {
    check([&](sl_error* e) { return sl_layer_apply(get(), &x, y, options, e); });
  }
  // Helps with the steps of other threads while keep_going(), which must not throw.
  template <typename KeepGoing>
  void lend_thread(KeepGoing&& keep_going) const {
    using Call = std::remove_reference_t<KeepGoing>;
    const sl_keep_going call = [](void* data) -> int32_t {
      return (*static_cast<Call*>(data))() ? 1 : 0;
    };
    void* const data = const_cast<void*>(static_cast<const void*>(std::addressof(keep_going)));
    check([&](sl_error* e) { return sl_layer_lend_thread(get(), call, data, e); });
  }
  // Bytes and alignment of memory for a State in memory of the caller's.
  std::pair<size_t, size_t> state_size(const sl_state_options& options) const {
    std::pair<size_t, size_t> out;
    check([&](sl_error* e) { return sl_state_size(get(), &options, &out.first, &out.second, e); });
    return out;
  }
  sl_layer* get() const { return handle_.get(); }

 private:
  explicit Layer(Handle<sl_layer> handle) : handle_(std::move(handle)) {}

  static Handle<sl_layer> create(const std::string& config, const sl_weights* weights,
                                 const sl_layer_options* options) {
    return make_handle<sl_layer>([&](sl_layer** out, sl_error* e) {
      return sl_layer_create(config.data(), config.size(), weights, options, out, e);
    });
  }
  int64_t integer(sl_status (*getter)(const sl_layer*, int64_t*, sl_error*)) const {
    int64_t out = 0;
    check([&](sl_error* e) { return getter(get(), &out, e); });
    return out;
  }
  template <typename Call>
  static ReceptiveField field(Call&& call) {
    ReceptiveField out;
    int32_t exists = 0;
    check([&](sl_error* e) { return call(&exists, &out, e); });
    out.exists = exists != 0;
    return out;
  }

  Handle<sl_layer> handle_;
};

// One stream through a layer, which must outlive it.
class State {
 public:
  State(const Layer& layer, const sl_state_options& options)
      : layer_(layer.get()), handle_(make_handle<sl_state>([&](sl_state** out, sl_error* e) {
          return sl_state_alloc(layer_, &options, out, e);
        })) {}
  // In the caller's memory, of Layer::state_size bytes, which must outlive the state.
  State(const Layer& layer, const sl_state_options& options, void* memory, size_t size)
      : layer_(layer.get()), handle_(make_handle<sl_state>([&](sl_state** out, sl_error* e) {
          return sl_state_alloc_in(layer_, &options, memory, size, out, e);
        })) {}
  State(const Layer& layer, const sl_channel_spec& input, int64_t batch = 1, int64_t max_steps = 0)
      : State(layer, state_options(input, batch, max_steps)) {}

  // The next block of the stream; does not throw. `error` may be null.
  sl_status step(const sl_sequence& x, sl_sequence* y, const sl_run_options* options = nullptr,
                 sl_error* error = nullptr) noexcept {
    return sl_layer_step(layer_, get(), &x, y, options, error);
  }
  // The next block of `count` of the slots, each in its own stream; does not throw.
  sl_status step_slots(const int64_t* slots, int64_t count, const sl_sequence& x, sl_sequence* y,
                       const sl_run_options* options = nullptr,
                       sl_error* error = nullptr) noexcept {
    return sl_layer_step_slots(layer_, get(), slots, count, &x, y, options, error);
  }
  // Does what steps over x would, in one call: x may be longer than max_steps. Not real-time.
  void apply(const sl_sequence& x, sl_sequence* y, const sl_run_options* options = nullptr) {
    sl_run_options run = SL_RUN_OPTIONS_INIT;
    if (options != nullptr) {
      run.constants = options->constants;
      run.num_constants = options->num_constants;
      run.emits = options->emits;
      run.num_emits = options->num_emits;
    }
    run.state = get();
    check([&](sl_error* e) { return sl_layer_apply(layer_, &x, y, &run, e); });
  }
  // Computes what steps keep of the constants. Not real-time.
  void prepare(const sl_constant* constants, int64_t num_constants) {
    check([&](sl_error* e) { return sl_state_prepare(get(), constants, num_constants, e); });
  }
  void reset() {
    check([&](sl_error* e) { return sl_state_reset(get(), e); });
  }
  // Continues where `source` stands.
  void copy_from(const State& source) {
    check([&](sl_error* e) { return sl_state_copy(get(), source.get(), e); });
  }
  void reset_item(int64_t item) {
    check([&](sl_error* e) { return sl_state_reset_item(get(), item, e); });
  }
  // Makes one item continue where an item of `source` stands.
  void copy_item_from(int64_t item, const State& source, int64_t source_item) {
    check(
        [&](sl_error* e) { return sl_state_copy_item(get(), item, source.get(), source_item, e); });
  }
  size_t save_size() const { return sl_state_save_size(get()); }
  std::vector<unsigned char> save() const {
    std::vector<unsigned char> out(save_size());
    save(out.data(), out.size());
    return out;
  }
  void load(const std::vector<unsigned char>& saved) { load(saved.data(), saved.size()); }
  // As above with the caller's memory, of save_size() bytes; allocates nothing unless it fails.
  void save(void* out, size_t size) const {
    check([&](sl_error* e) { return sl_state_save(get(), out, size, e); });
  }
  void load(const void* saved, size_t size) {
    check([&](sl_error* e) { return sl_state_load(get(), saved, size, e); });
  }
  // One item alone, whose bytes a state of batch 1 saves and loads too.
  size_t save_item_size() const { return sl_state_save_item_size(get()); }
  void save_item(int64_t item, void* out, size_t size) const {
    check([&](sl_error* e) { return sl_state_save_item(get(), item, out, size, e); });
  }
  void load_item(int64_t item, const void* saved, size_t size) {
    check([&](sl_error* e) { return sl_state_load_item(get(), item, saved, size, e); });
  }
  int64_t tensor_count() const { return sl_state_tensor_count(get()); }
  // The view is of the state itself.
  NamedTensor tensor(int64_t index) const {
    NamedTensor out;
    check([&](sl_error* e) { return sl_state_tensor(get(), index, &out.name, &out.view, e); });
    return out;
  }
  sl_state* get() const { return handle_.get(); }

 private:
  const sl_layer* layer_;
  Handle<sl_state> handle_;
};

// Streams of tokens in which a layer's choices are its next inputs. The layer must outlive it.
class Decoder {
 public:
  Decoder(const Layer& layer, const sl_decoder_options& options)
      : handle_(make_handle<sl_decoder>([&](sl_decoder** out, sl_error* e) {
          return sl_decoder_create(layer.get(), &options, out, e);
        })) {}

  // Number of tokens and log probabilities that a sample writes for each stream.
  int64_t step_tokens() const { return sl_decoder_step_tokens(get()); }

  // The slots of the decoder, each a stream with choices of its own. `options` may be null.
  void start_slot(int64_t slot, const sl_decoder_options* options) {
    check([&](sl_error* e) { return sl_decoder_start_slot(get(), slot, options, e); });
  }
  void prefill_slot(int64_t slot, const sl_sequence& tokens,
                    const sl_run_options* options = nullptr) {
    check([&](sl_error* e) { return sl_decoder_prefill_slot(get(), slot, &tokens, options, e); });
  }
  // Does not throw. `tokens` and `log_probs` have room for count * step_tokens() numbers.
  sl_status sample_slots(const int64_t* slots, int64_t count, int32_t* tokens,
                         float* log_probs = nullptr, uint8_t* mask = nullptr,
                         const sl_run_options* options = nullptr,
                         sl_error* error = nullptr) noexcept {
    return sl_decoder_sample_slots(get(), slots, count, tokens, log_probs, mask, options, error);
  }
  // Makes a slot continue where one of `source` stands.
  void copy_slot_from(int64_t slot, const Decoder& source, int64_t source_slot) {
    check([&](sl_error* e) {
      return sl_decoder_copy_slot(get(), slot, source.get(), source_slot, e);
    });
  }
  size_t save_slot_size() const { return sl_decoder_save_slot_size(get()); }
  void save_slot(int64_t slot, void* out, size_t size) const {
    check([&](sl_error* e) { return sl_decoder_save_slot(get(), slot, out, size, e); });
  }
  void load_slot(int64_t slot, const void* saved, size_t size) {
    check([&](sl_error* e) { return sl_decoder_load_slot(get(), slot, saved, size, e); });
  }

  // Log probabilities of tokens from the start of a sequence, into the caller's float32
  // [batch, time].
  void log_prob(const sl_sequence& tokens, sl_sequence* log_probs,
                const sl_run_options* options = nullptr) const {
    check([&](sl_error* e) { return sl_decoder_log_prob(get(), &tokens, log_probs, options, e); });
  }
  // Goes on as if `tokens` had been sampled. Not real-time.
  void prefill(const sl_sequence& tokens, const sl_run_options* options = nullptr) {
    check([&](sl_error* e) { return sl_decoder_prefill(get(), &tokens, options, e); });
  }
  // One step of all streams; does not throw. All but `tokens` may be null.
  sl_status sample(int32_t* tokens, float* log_probs = nullptr, uint8_t* mask = nullptr,
                   const sl_run_options* options = nullptr, sl_error* error = nullptr) noexcept {
    return sl_decoder_sample(get(), tokens, log_probs, mask, options, error);
  }
  // Continues where `source` stands.
  void copy_from(const Decoder& source) {
    check([&](sl_error* e) { return sl_decoder_copy(get(), source.get(), e); });
  }
  void reset() {
    check([&](sl_error* e) { return sl_decoder_reset(get(), e); });
  }
  sl_decoder* get() const { return handle_.get(); }

 private:
  Handle<sl_decoder> handle_;
};

// Audio of a host through a layer, which must outlive it.
class Pipe {
 public:
  explicit Pipe(const Layer& layer, const sl_pipe_options& options = SL_PIPE_OPTIONS_INIT)
      : handle_(make_handle<sl_pipe>([&](sl_pipe** out, sl_error* e) {
          return sl_pipe_create(layer.get(), &options, out, e);
        })) {}

  // The next frames, planar; does not throw. `error` may be null.
  sl_status process(const float* const* in, float* const* out, int64_t frames,
                    sl_error* error = nullptr) noexcept {
    return sl_pipe_process(get(), in, out, frames, error);
  }
  // Frames written after the end of the input; -1 after an error. Does not throw.
  int64_t flush(float* const* out, int64_t frames, sl_error* error = nullptr) noexcept {
    return sl_pipe_flush(get(), out, frames, error);
  }
  void reset() {
    check([&](sl_error* e) { return sl_pipe_reset(get(), e); });
  }
  int64_t latency() const { return sl_pipe_latency(get()); }
  int64_t host_channels() const { return sl_pipe_host_channels(get()); }
  void set_dry(float dry) {
    check([&](sl_error* e) { return sl_pipe_set_dry(get(), dry, e); });
  }
  // Plays the model of `next`, which has the old one afterwards; does not throw.
  sl_status swap(Pipe* next, sl_error* error = nullptr) noexcept {
    return sl_pipe_swap(get(), next->get(), error);
  }
  bool is_fading() const { return sl_pipe_is_fading(get()) != 0; }
  sl_pipe* get() const { return handle_.get(); }

 private:
  Handle<sl_pipe> handle_;
};

}  // namespace sequence_layers

#endif  // SEQUENCE_LAYERS_SEQUENCE_LAYERS_HPP_
