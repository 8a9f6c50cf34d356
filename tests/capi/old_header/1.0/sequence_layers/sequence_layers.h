/* libsequence_layers: streamable sequence models from JSON configs, on CPUs.
 *
 * A model is an immutable `sl_layer`; a stream through it is an `sl_state`. The same model runs
 * layer-wise (a whole [batch, time, channels...] sequence, `sl_layer_apply`) and step-wise (block
 * by block, `sl_layer_step`), with the same result: pad the input at its end with `input_latency`
 * invalid steps, step, and drop the first `output_latency` outputs.
 *
 * Every call that can fail returns an `sl_status` and takes a nullable, caller-owned `sl_error`
 * last. Nothing is thrown and no process exits. Handles are opaque; each comment states ownership,
 * threading class, errors and since-version:
 *
 *   [any-thread]            callable from any thread at any time, also concurrently on the same
 * handle [one-thread-per-state]  one thread at a time for a given state or builder; different ones
 * in parallel [realtime]              also allocates nothing, takes no lock, makes no system call
 *
 * Structs begin with `struct_size`, and only the part that it covers is read and written; 0 stands
 * for the struct as version 1.0 has it. Zero is the default of every field. Start with zeroed
 * memory, with the struct's _INIT macro (zeros and this header's size) or its _init function: all
 * mean the same.
 */
#ifndef SEQUENCE_LAYERS_SEQUENCE_LAYERS_H_
#define SEQUENCE_LAYERS_SEQUENCE_LAYERS_H_

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define SL_API __declspec(dllimport)
#else
#define SL_API __attribute__((visibility("default")))
#endif

#define SL_VERSION_MAJOR 1
#define SL_VERSION_MINOR 0
#define SL_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Status and errors
 * ------------------------------------------------------------------------------------------ */

typedef int32_t sl_status;
enum {
  SL_STATUS_OK = 0,
  SL_STATUS_INVALID_ARGUMENT = 1, /* a null pointer, a bad size, a call out of order */
  SL_STATUS_CONFIG = 2,           /* the JSON config: names the JSON path and what was expected */
  SL_STATUS_WEIGHTS =
      3, /* a missing, extra, misshapen or mistyped tensor, or a broken weights file */
  SL_STATUS_SHAPE = 4,       /* a channel shape, dtype or length that the layer cannot take */
  SL_STATUS_UNSUPPORTED = 5, /* the layer cannot do this, e.g. step a non-causal convolution */
  SL_STATUS_IO = 6,          /* a file that cannot be read */
  SL_STATUS_OUT_OF_MEMORY = 7,
  SL_STATUS_STATE = 8,     /* saved bytes that are not of this model and these options */
  SL_STATUS_CALLBACK = 9,  /* a caller's callback reported failure */
  SL_STATUS_INTERNAL = 10, /* a defect of the library */
  SL_STATUS_LENGTH = 11    /* more steps than the max_length of a stream */
};

/* Filled by a failing call: code and a zero-terminated message, cut to fit. Untouched on success.
 */
typedef struct sl_error {
  uint32_t struct_size; /* 0, sizeof(sl_error) or larger: the message may use all the bytes up to
                           struct_size */
  sl_status code;
  char message[1016];
} sl_error;
#define SL_ERROR_INIT                    \
  {                                      \
    (uint32_t)sizeof(sl_error), 0, { 0 } \
  }

/* Each struct has a function like this one, for callers without macros: it sets the fields that the
 * struct has in version 1.0 to zero, and struct_size to their size. Null is allowed. [any-thread]
 * [realtime] Since 1.0. */
SL_API void sl_error_init(sl_error* out);

/* The library's version as (major << 16 | minor << 8 | patch). [any-thread] [realtime] Since 1.0.
 */
SL_API uint32_t sl_version(void);

/* A short English name of a status, never null. [any-thread] [realtime] Since 1.0. */
SL_API const char* sl_status_name(sl_status status);

/* ---- Data types, specs and sequences
 * ---------------------------------------------------------------------------- */

typedef int32_t sl_dtype;
enum {
  SL_DTYPE_FLOAT32 = 0,
  SL_DTYPE_INT32 = 1,
  SL_DTYPE_BOOL = 2,      /* one byte, 0 or 1 */
  SL_DTYPE_COMPLEX64 = 3, /* two float32: real, imaginary */
  SL_DTYPE_BFLOAT16 = 4,
  SL_DTYPE_FLOAT16 = 5,
  SL_DTYPE_INT8 = 6
};

#define SL_MAX_RANK 10
#define SL_MAX_CHANNEL_RANK 8
#define SL_INFINITE                                                             \
  INT64_MAX /* an unbounded end of a receptive field; -SL_INFINITE at its start \
             */

/* Bytes of one element, 0 for an unknown dtype. [any-thread] [realtime] Since 1.0. */
SL_API size_t sl_dtype_size(sl_dtype dtype);

/* Name of a dtype as configs spell it ("float32"), null for an unknown one. [any-thread] [realtime]
 * Since 1.0. */
SL_API const char* sl_dtype_name(sl_dtype dtype);

/* What one timestep holds: dtype and channel shape, without batch and time. */
typedef struct sl_channel_spec {
  uint32_t struct_size;
  sl_dtype dtype;
  int32_t rank; /* 0 to SL_MAX_CHANNEL_RANK; 0 is one scalar a step */
  int32_t reserved;
  int64_t dims[SL_MAX_CHANNEL_RANK];
} sl_channel_spec;
#define SL_CHANNEL_SPEC_INIT                                         \
  {                                                                  \
    (uint32_t)sizeof(sl_channel_spec), SL_DTYPE_FLOAT32, 0, 0, { 0 } \
  }
SL_API void sl_channel_spec_init(sl_channel_spec* out);

/* A borrowed view of a sequence: values [batch, time, channels...] and a mask [batch, time]
 * (non-zero: valid). As an input it is only read; a null mask means that every step is valid. As an
 * output the caller provides data and, where wanted, mask. A constant that is no sequence (an
 * array) has `is_array` set, any shape, and no mask. */
typedef struct sl_sequence {
  uint32_t struct_size;
  sl_dtype dtype;
  int32_t rank; /* 2 + channel rank; for an array, its own rank */
  int32_t is_array;
  int64_t dims[SL_MAX_RANK];
  int64_t strides[SL_MAX_RANK]; /* bytes; all zero: contiguous, last axis fastest */
  void* data;
  uint8_t* mask;
  int64_t mask_strides[2]; /* bytes; both zero: contiguous */
} sl_sequence;
#define SL_SEQUENCE_INIT                                                                  \
  {                                                                                       \
    (uint32_t)sizeof(sl_sequence), SL_DTYPE_FLOAT32, 0, 0, {0}, {0}, NULL, NULL, { 0, 0 } \
  }
SL_API void sl_sequence_init(sl_sequence* out);

/* A named input that a layer reads beside x: a cross-attention source, conditioning, positions. */
typedef struct sl_constant {
  const char* name;
  sl_sequence value;
} sl_constant;

typedef int32_t sl_constant_kind;
enum {
  SL_CONSTANT_KIND_ANY = 0, /* a sequence or an array */
  SL_CONSTANT_KIND_SEQUENCE = 1,
  SL_CONSTANT_KIND_ARRAY = 2
};

/* What a model says of a constant that it reads. Its batch is that of x. */
typedef struct sl_constant_info {
  uint32_t struct_size;
  sl_constant_kind kind;
  const char* name;  /* of the constant, and path of the first layer that reads it: both live as */
  const char* layer; /* long as the model */
  int32_t required;  /* 0: the model can do without */
  int32_t streamed;  /* a stream takes it block by block along with x; else whole in every step */
  sl_dtype dtype;    /* -1: not known, as are rank and dims */
  int32_t rank;      /* of what is left without batch and, of a sequence, time */
  int64_t dims[SL_MAX_CHANNEL_RANK];
} sl_constant_info;
#define SL_CONSTANT_INFO_INIT                                            \
  {                                                                      \
    (uint32_t)sizeof(sl_constant_info), 0, NULL, NULL, 0, 0, 0, 0, { 0 } \
  }
SL_API void sl_constant_info_init(sl_constant_info* out);

/* ---- Hooks
 * ------------------------------------------------------------------------------------------------------
 */

/* Memory for layers, states and workspaces. `allocate` returns null on failure. Both are called
 * from any thread that creates, applies or frees, never from sl_layer_step. With neither the struct
 * is as good as none. */
typedef struct sl_allocator {
  uint32_t struct_size;
  void* user_data;
  void* (*allocate)(void* user_data, size_t size, size_t alignment);
  void (*deallocate)(void* user_data, void* memory, size_t size, size_t alignment);
} sl_allocator;
#define SL_ALLOCATOR_INIT \
  { (uint32_t)sizeof(sl_allocator), NULL, NULL, NULL }
SL_API void sl_allocator_init(sl_allocator* out);

/* Runs task(context, i) for every i in [0, count), in any order, on any threads; returns when all
 * are done. */
typedef void (*sl_parallel_for)(void* user_data, int64_t count,
                                void (*task)(void* context, int64_t i), void* context);

typedef int32_t sl_log_level;
enum {
  SL_LOG_DEFAULT = 0, /* of sl_log_set: SL_LOG_WARNING */
  SL_LOG_DEBUG = 1,
  SL_LOG_INFO = 2,
  SL_LOG_WARNING = 3,
  SL_LOG_ERROR = 4,
  SL_LOG_OFF = 5
};
typedef void (*sl_log_callback)(void* user_data, sl_log_level level, const char* message);

/* Sends log messages of at least `level` to `callback`; null sends them to stderr (spdlog). The
 * default is null with SL_LOG_WARNING. Steps never log. Not to be called while other threads are
 * inside the library. Since 1.0. */
SL_API void sl_log_set(sl_log_callback callback, void* user_data, sl_log_level level);

/* ---- Weights
 * ----------------------------------------------------------------------------------------------------
 */

/* A set of named tensors. Names are the reference's variable paths joined by dots, collection
 * first: "params.conv1d.kernel". A complex tensor is stored as "<name>@complex64" with a last axis
 * of (real, imaginary) and found under its plain name. */
typedef struct sl_weights sl_weights;

/* An empty set. The caller frees it. [any-thread] Since 1.0. */
SL_API sl_status sl_weights_create(sl_weights** out, sl_error* error);

/* The tensors of a safetensors file, memory-mapped. Errors: IO, WEIGHTS. [any-thread] Since 1.0. */
SL_API sl_status sl_weights_open(const char* path, sl_weights** out, sl_error* error);

/* The tensors of a safetensors image in memory; the bytes are copied. Errors: WEIGHTS. [any-thread]
 * Since 1.0. */
SL_API sl_status sl_weights_read(const void* data, size_t size, sl_weights** out, sl_error* error);

/* Adds one tensor (its data is copied; is_array is implied). Errors: a name already there.
 * [one-thread-per-state] Since 1.0. */
SL_API sl_status sl_weights_add(sl_weights* weights, const char* name, const sl_sequence* tensor,
                                sl_error* error);

/* Number of tensors; name and view of the i-th, in order of names. Names and data live as long as
 * the set. [any-thread] Since 1.0. */
SL_API int64_t sl_weights_tensor_count(const sl_weights* weights);
SL_API sl_status sl_weights_tensor(const sl_weights* weights, int64_t index, const char** name,
                                   sl_sequence* tensor, sl_error* error);

/* The tensor of that name. Errors: WEIGHTS if there is none. [any-thread] Since 1.0. */
SL_API sl_status sl_weights_find(const sl_weights* weights, const char* name, sl_sequence* tensor,
                                 sl_error* error);

/* The file's metadata entry of that key, null if there is none. Lives as long as the set.
 * [any-thread] Since 1.0. */
SL_API const char* sl_weights_metadata(const sl_weights* weights, const char* key);

/* Layers made from the set keep what they need of it alive. Null is allowed. [any-thread]
 * Since 1.0. */
SL_API void sl_weights_free(sl_weights* weights);

/* ---- Registry and custom layers
 * --------------------------------------------------------------------------------- */

/* A set of layer types: the built-in ones and the caller's. */
typedef struct sl_registry sl_registry;

/* Gives a custom layer its weights while it is being created: the tensor `name` (such as "kernel")
 * of collection `collection` (null: "params") under the layer's own path, sliced where the layer
 * stands inside a Repeat. The view lives as long as the layer. */
typedef struct sl_weight_source sl_weight_source;
SL_API sl_status sl_weight_source_find(const sl_weight_source* source, const char* collection,
                                       const char* name, sl_sequence* tensor, sl_error* error);

/* Static properties of a custom layer. */
typedef struct sl_layer_properties {
  uint32_t struct_size;
  int32_t layer_wise_only;          /* non-zero: cannot step */
  int64_t block_size;               /* 0: 1 */
  int64_t output_ratio_numerator;   /* 0: 1 */
  int64_t output_ratio_denominator; /* 0: 1 */
  int64_t input_latency;
  int64_t output_latency; /* 0: input_latency * output_ratio, truncated; negative: none */
  int64_t
      receptive_field_start; /* input steps relative to the output's; -SL_INFINITE for unbounded */
  int64_t receptive_field_end;
} sl_layer_properties;
#define SL_LAYER_PROPERTIES_INIT \
  { (uint32_t)sizeof(sl_layer_properties), 0, 0, 0, 0, 0, 0, 0, 0 }
SL_API void sl_layer_properties_init(sl_layer_properties* out);

/* A custom layer. `config` is its JSON object (with "type"). Callbacks other than `create` may be
 * called from several threads at once and get the instance that `create` made. They return
 * SL_STATUS_OK or an error status, and may fill `error`. Input and output views are contiguous and
 * have masks; the output's mask holds the input's where the ratio is one. */
typedef struct sl_layer_callbacks {
  uint32_t struct_size;
  void* user_data;
  sl_status (*create)(void* user_data, const char* config, const sl_weight_source* weights,
                      void** instance, sl_error* error);
  void (*destroy)(void* instance); /* may be null */
  sl_status (*properties)(const void* instance, sl_layer_properties* properties,
                          sl_error* error); /* null: a stateless pointwise layer */
  /* null: the output spec is the input spec. */
  sl_status (*output_spec)(const void* instance, const sl_channel_spec* input,
                           sl_channel_spec* output, sl_error* error);
  /* Bytes of state for one stream of that batch and input; null: none. */
  sl_status (*state_size)(const void* instance, const sl_channel_spec* input, size_t* bytes,
                          sl_error* error);
  sl_status (*state_init)(const void* instance, const sl_channel_spec* input, void* state,
                          sl_error* error);
  sl_status (*layer)(const void* instance, const sl_sequence* x, sl_sequence* y, sl_error* error);
  /* Must be real-time safe if streams of it are to be. Null: `layer`, for a stateless one. */
  sl_status (*step)(const void* instance, void* state, const sl_sequence* x, sl_sequence* y,
                    sl_error* error);
} sl_layer_callbacks;
#define SL_LAYER_CALLBACKS_INIT \
  { (uint32_t)sizeof(sl_layer_callbacks), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL }
SL_API void sl_layer_callbacks_init(sl_layer_callbacks* out);

/* A registry that knows the built-in layers. The caller frees it, after which layers made with it
 * live on. [any-thread] Since 1.0. */
SL_API sl_status sl_registry_create(sl_registry** out, sl_error* error);

/* Makes `type` usable in any config made with this registry. The table is copied; user_data must
 * outlive the layers. Errors: a name already taken, `create` or `layer` missing.
 * [one-thread-per-state] Since 1.0. */
SL_API sl_status sl_registry_add(sl_registry* registry, const char* type,
                                 const sl_layer_callbacks* callbacks, sl_error* error);

/* Number of layer types and name of the i-th, in order of names; null registry: the built-in ones.
 * Names live as long as the registry. [any-thread] Since 1.0. */
SL_API int64_t sl_registry_type_count(const sl_registry* registry);
SL_API const char* sl_registry_type(const sl_registry* registry, int64_t index);

/* Null is allowed. [any-thread] Since 1.0. */
SL_API void sl_registry_free(sl_registry* registry);

/* ---- Layers
 * -----------------------------------------------------------------------------------------------------
 */

/* A model: immutable once created, shared by any number of states and threads. */
typedef struct sl_layer sl_layer;

/* One stream (of a fixed batch) through a layer: used by one thread at a time. */
typedef struct sl_state sl_state;

typedef struct sl_layer_options {
  uint32_t struct_size;
  int32_t num_threads; /* for layer-wise runs: 1 to 256; 0: 1. Steps always run on the caller's
                          thread */
  const sl_registry* registry;   /* null: the built-in layers */
  const sl_allocator* allocator; /* copied; null: malloc. Used for the layer's workspaces */
  sl_parallel_for parallel_for;  /* null: the library's own threads when num_threads > 1 */
  void* parallel_for_user_data;
  int64_t max_bytes; /* limit on the memory of the layer's weights and tables together, of each of
                        its states, and of the workspace of each run; 0: 2^36. What needs more is
                        refused before it is allocated: OUT_OF_MEMORY, with both numbers */
} sl_layer_options;
#define SL_LAYER_OPTIONS_INIT \
  { (uint32_t)sizeof(sl_layer_options), 0, NULL, NULL, NULL, NULL, 0 }
SL_API void sl_layer_options_init(sl_layer_options* out);

/* Builds the model of a JSON config with its weights (null: none needed). Every tensor must be used
 * and every needed one be there. The caller frees the layer. Errors: CONFIG, WEIGHTS, UNSUPPORTED,
 * OUT_OF_MEMORY. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_create(const char* config, size_t config_size, const sl_weights* weights,
                                 const sl_layer_options* options, sl_layer** out, sl_error* error);

/* Builds the model of a directory that holds config.json and model.safetensors (which may be
 * missing if the model has no weights). Errors: as sl_layer_create, and IO. [any-thread] Since 1.0.
 */
SL_API sl_status sl_layer_open(const char* directory, const sl_layer_options* options,
                               sl_layer** out, sl_error* error);

/* States of the layer must have been freed before. Null is allowed. [any-thread] Since 1.0. */
SL_API void sl_layer_free(sl_layer* layer);

/* Properties, as the reference defines them. Some can be an error for some models (latencies that
 * do not divide): UNSUPPORTED with the reason. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_block_size(const sl_layer* layer, int64_t* block_size, sl_error* error);
SL_API sl_status sl_layer_output_ratio(const sl_layer* layer, int64_t* numerator,
                                       int64_t* denominator, sl_error* error);
/* Without a max_length: a layer that sees all of the past cannot step without an end. */
SL_API sl_status sl_layer_supports_step(const sl_layer* layer, int32_t* supports_step,
                                        sl_error* error);
/* Input steps before the step-wise output equals the layer-wise one. */
SL_API sl_status sl_layer_input_latency(const sl_layer* layer, int64_t* steps, sl_error* error);
/* Output steps to drop from the start of the step-wise output. */
SL_API sl_status sl_layer_output_latency(const sl_layer* layer, int64_t* steps, sl_error* error);

/* Input steps [start, end], relative to the input step of an output step, that can affect it;
 * `exists` is 0 if none does. The whole model's, and per output step: a cycle of as many as
 * sl_layer_receptive_field_count returns, which is -1 after an error. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_receptive_field(const sl_layer* layer, int32_t* exists, int64_t* start,
                                          int64_t* end, sl_error* error);
SL_API int64_t sl_layer_receptive_field_count(const sl_layer* layer, sl_error* error);
SL_API sl_status sl_layer_receptive_field_at(const sl_layer* layer, int64_t step, int32_t* exists,
                                             int64_t* start, int64_t* end, sl_error* error);

/* Constants that the model reads: their number, and what is known of the i-th, into the part of
 * `info` that its struct_size covers. Every call that takes constants wants those that are
 * required; others that it is given it leaves alone. Errors there: INVALID_ARGUMENT if one is
 * missing, SHAPE if one is not what a layer reads. [any-thread] Since 1.0. */
SL_API int64_t sl_layer_constant_count(const sl_layer* layer);
SL_API sl_status sl_layer_constant(const sl_layer* layer, int64_t index, sl_constant_info* info,
                                   sl_error* error);

/* Channel spec that comes out for one that goes in. Of constants only the specs are read; null
 * where the model needs none. Errors: SHAPE. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_output_spec(const sl_layer* layer, const sl_channel_spec* input,
                                      const sl_constant* constants, int64_t num_constants,
                                      sl_channel_spec* output, sl_error* error);

/* The input spec recorded with the model (weights metadata "input"), else one that the first layers
 * imply. Errors: UNSUPPORTED if neither says. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_input_spec(const sl_layer* layer, sl_channel_spec* input,
                                     sl_error* error);

/* Number of weight scalars. [any-thread] [realtime] Since 1.0. */
SL_API int64_t sl_layer_parameter_count(const sl_layer* layer);

/* The tree as JSON text: type, name, names of constants, input and output specs, parameters, state
 * tensors of a stream of batch 1, block size, ratio, latencies, children. Writes at most `capacity`
 * bytes with a final zero, and the full size (zero included) to `needed`; a null buffer only asks
 * for it. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_describe(const sl_layer* layer, const sl_channel_spec* input,
                                   const sl_constant* constants, int64_t num_constants,
                                   char* buffer, size_t capacity, size_t* needed, sl_error* error);

/* ---- Running
 * ----------------------------------------------------------------------------------------------------
 */

typedef int32_t sl_mode;
enum { SL_MODE_LAYER = 0, SL_MODE_STEP = 1 };

typedef struct sl_run_options {
  uint32_t struct_size;
  int32_t reserved;
  const sl_constant* constants;
  int64_t num_constants;
  sl_sequence*
      emits; /* auxiliary outputs in order of their index; those with null data are not wanted */
  int64_t num_emits; /* 0, or all of them */
  sl_state* state;   /* of sl_layer_apply: the stream in which the sequence goes on; may be null */
} sl_run_options;
#define SL_RUN_OPTIONS_INIT \
  { (uint32_t)sizeof(sl_run_options), 0, NULL, 0, NULL, 0, NULL }
SL_API void sl_run_options_init(sl_run_options* out);

/* Sets dtype, rank and dims of `y` to what a run of `mode` makes of an x of those dtype and dims
 * (data is not read). Errors: SHAPE, UNSUPPORTED. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_output_shape(const sl_layer* layer, sl_mode mode, const sl_sequence* x,
                                       const sl_run_options* options, sl_sequence* y,
                                       sl_error* error);

/* Auxiliary outputs: their number (-1 after an error), and path ("attention.probabilities"), dtype,
 * rank and dims of the i-th for that x. `path` gets at most `capacity` bytes with a final zero.
 * With options->state they are those of a step of that stream, which may have more keys to attend
 * to than a step of x alone, or, layer-wise, of a run that goes on in it. [any-thread] Since 1.0.
 */
SL_API int64_t sl_layer_emit_count(const sl_layer* layer, const sl_channel_spec* input,
                                   const sl_constant* constants, int64_t num_constants,
                                   sl_error* error);
SL_API sl_status sl_layer_emit_shape(const sl_layer* layer, sl_mode mode, const sl_sequence* x,
                                     const sl_run_options* options, int64_t index, char* path,
                                     size_t capacity, sl_sequence* emit, sl_error* error);

/* Runs a whole sequence. `y` has the shape that sl_layer_output_shape tells, and data; `options`
 * may be null. With options->state it runs what steps over x would, in few large blocks: from where
 * the state stands, which then stands where those steps would have left it. x then has a time of a
 * multiple of the block size, y the shape of a step-wise run, streamed constants the length that
 * goes with x; emits whose channels depend on the steps of one call (probabilities of attention)
 * are UNSUPPORTED. After an error the state is as before. Errors: SHAPE, LENGTH, UNSUPPORTED,
 * OUT_OF_MEMORY, CALLBACK. [any-thread], with a state [one-thread-per-state] Since 1.0. */
SL_API sl_status sl_layer_apply(const sl_layer* layer, const sl_sequence* x, sl_sequence* y,
                                const sl_run_options* options, sl_error* error);

/* Runs the next block of a stream: x has the state's batch and input spec, and a time of a multiple
 * of the block size, at most the state's max_steps. Constants are those of the state's options, in
 * their order: of a streamed one this block's share, any other whole. After an error other than
 * CALLBACK the state is as before. Errors: SHAPE, LENGTH (past the state's max_length), CALLBACK.
 * [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_layer_step(const sl_layer* layer, sl_state* state, const sl_sequence* x,
                               sl_sequence* y, const sl_run_options* options, sl_error* error);

/* ---- States
 * -----------------------------------------------------------------------------------------------------
 */

typedef struct sl_state_options {
  uint32_t struct_size;
  int32_t reserved;
  int64_t batch;     /* 0: 1 */
  int64_t max_steps; /* the most input steps of one call; 0: one block. Rounded up to a multiple of
                        the block size */
  sl_channel_spec input;
  const sl_constant* constants; /* specs only: data is not read. A streamed one has the length that
                                   goes with max_steps of x, another sequence all of its own */
  int64_t num_constants;
  const sl_allocator* allocator; /* copied; null: the layer's */
  int64_t max_length; /* the most input steps of the whole stream, latency and padding included; 0:
                         it has no end. To 2^24; rounded up to a multiple of the block size. What
                         sees all of the past needs it, and keeps room for as much */
} sl_state_options;
#define SL_STATE_OPTIONS_INIT \
  { (uint32_t)sizeof(sl_state_options), 0, 0, 0, SL_CHANNEL_SPEC_INIT, NULL, 0, NULL, 0 }
SL_API void sl_state_options_init(sl_state_options* out);

/* A new stream at its start. It plans, allocates, touches its pages and rehearses, so that the
 * first step costs what the thousandth does. The caller frees it, before the layer. Errors: SHAPE,
 * UNSUPPORTED (not steppable, or not without a max_length), OUT_OF_MEMORY. [any-thread]
 * Since 1.0. */
SL_API sl_status sl_state_alloc(const sl_layer* layer, const sl_state_options* options,
                                sl_state** out, sl_error* error);

/* The same in the caller's memory: its size and alignment, then the making. sl_state_free ends such
 * a state too and leaves the memory to the caller. [any-thread] Since 1.0. */
SL_API sl_status sl_state_size(const sl_layer* layer, const sl_state_options* options, size_t* size,
                               size_t* alignment, sl_error* error);
SL_API sl_status sl_state_alloc_in(const sl_layer* layer, const sl_state_options* options,
                                   void* memory, size_t size, sl_state** out, sl_error* error);

/* Makes what steps keep of the constants: keys and values of a cross-attention's source, which it
 * then reads no more. The first step does so if this was not called before, and costs that much
 * more; a later call reads the constants anew. They are those of a step of one block. After an
 * error the state is as before. Errors: SHAPE, OUT_OF_MEMORY, CALLBACK. [one-thread-per-state]
 * Since 1.0. */
SL_API sl_status sl_state_prepare(sl_state* state, const sl_constant* constants,
                                  int64_t num_constants, sl_error* error);

/* Back to the start of the stream. [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_state_reset(sl_state* state, sl_error* error);

/* Makes `target`, of the same layer and options, continue where `source` stands: forks a stream.
 * Only max_steps may differ, and with it the length of streamed constants; and max_length, if both
 * have one: in a larger state a stream goes on past its end. Errors: STATE, LENGTH (it has had more
 * steps than the target takes). [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_state_copy(sl_state* target, const sl_state* source, sl_error* error);

/* Bytes of a saved state, versioned and with the model's fingerprint. Load refuses bytes of another
 * model, other options or another version, and then leaves the state as it was.
 * [one-thread-per-state] [realtime] Since 1.0. */
SL_API size_t sl_state_save_size(const sl_state* state);
SL_API sl_status sl_state_save(const sl_state* state, void* buffer, size_t size, sl_error* error);
SL_API sl_status sl_state_load(sl_state* state, const void* buffer, size_t size, sl_error* error);

/* The state's named tensors, to print and check them, and to read or set a carry between steps: the
 * view is of the state itself. Integers of a state are indices: leave them alone. Names and data
 * live as long as the state. [one-thread-per-state] Since 1.0. */
SL_API int64_t sl_state_tensor_count(const sl_state* state);
SL_API sl_status sl_state_tensor(const sl_state* state, int64_t index, const char** name,
                                 sl_sequence* tensor, sl_error* error);

/* Null is allowed. [one-thread-per-state] Since 1.0. */
SL_API void sl_state_free(sl_state* state);

/* ---- Decoding
 * -----------------------------------------------------------------------------------------------------
 */

/* Streams of tokens in which a model's choices are its next inputs. The model makes logits, float32
 * [batch, time, vocabulary], of tokens, int32 [batch, time], step by step: block size 1, output
 * ratio 1, no latency. */
typedef struct sl_decoder sl_decoder;

typedef struct sl_decoder_options {
  uint32_t struct_size;
  int32_t start_token; /* the first input */
  int32_t stop_token;  /* ends its stream, as its last token; 0 or -1: none (see stop_at_zero) */
  int32_t pad_token;   /* what a stream that has ended gives */
  int64_t batch;       /* 0: 1 */
  uint64_t seed;
  float temperature; /* 0: the most likely token, the first of equals */
  float top_p;       /* of those, the most likely with this probability together; 0: all */
  int64_t top_k;     /* as many of the most likely tokens; 0: all */
  const sl_constant* constants; /* as in sl_state_options, for steps of one */
  int64_t num_constants;
  const sl_allocator* allocator; /* of the state; copied; null: the layer's */
  int64_t max_length;            /* as in sl_state_options: the most tokens, prompts included */
  int32_t stop_at_zero;          /* non-zero: token 0 is the stop token */
  int32_t reserved;
} sl_decoder_options;
#define SL_DECODER_OPTIONS_INIT \
  { (uint32_t)sizeof(sl_decoder_options), 0, 0, 0, 0, 0, 0.0f, 0.0f, 0, NULL, 0, NULL, 0, 0, 0 }
SL_API void sl_decoder_options_init(sl_decoder_options* out);

/* A decoder at the start of its streams; its step is rehearsed. The caller frees it, before the
 * layer. Errors: SHAPE (no tokens or no logits), UNSUPPORTED (not steppable, or with latency),
 * OUT_OF_MEMORY. [any-thread] Since 1.0. */
SL_API sl_status sl_decoder_create(const sl_layer* layer, const sl_decoder_options* options,
                                   sl_decoder** out, sl_error* error);

/* Log probabilities of given tokens, int32 [batch, time] of any batch, from the start of a
 * sequence, into `log_probs`, float32 of that shape, with a mask if wanted. Runs the model
 * layer-wise on the tokens shifted by the start token; of the decoder's options it reads the start
 * and the stop token, of its streams nothing. Invalid tokens and those after a stop token give 0,
 * mask 0. `options` are for the constants, whole as in sl_layer_apply; may be null. Errors: SHAPE,
 * INVALID_ARGUMENT (no such token), OUT_OF_MEMORY, CALLBACK. [any-thread] Since 1.0. */
SL_API sl_status sl_decoder_log_prob(const sl_decoder* decoder, const sl_sequence* tokens,
                                     sl_sequence* log_probs, const sl_run_options* options,
                                     sl_error* error);

/* Goes on as if `tokens`, int32 [batch, time], had been sampled, in few large blocks on the layer's
 * threads. Invalid tokens are steps that are not there. A stop token is one like any other, and a
 * stream that has ended goes on at a valid token. Constants are those of the options, in their
 * order: of a streamed one the share of these steps. After an error the decoder is as before.
 * Errors: SHAPE, LENGTH, OUT_OF_MEMORY, CALLBACK. [one-thread-per-state] Since 1.0. */
SL_API sl_status sl_decoder_prefill(sl_decoder* decoder, const sl_sequence* tokens,
                                    const sl_run_options* options, sl_error* error);

/* One step: the next token of each stream, its log probability (the model's own, whatever the
 * temperature, top_k and top_p) and mask, `batch` numbers each; the latter two may be null. A
 * stream that has ended gives the pad token, 0 and 0. Choices are random by seed, index of the
 * stream and number of the step alone. Constants as in sl_layer_step. After an error other than
 * CALLBACK the decoder is as before. Errors: LENGTH (past the max_length), CALLBACK.
 * [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_decoder_sample(sl_decoder* decoder, int32_t* tokens, float* log_probs,
                                   uint8_t* mask, const sl_run_options* options, sl_error* error);

/* Makes `target`, of the same layer, batch and constants, continue where `source` stands: forks all
 * its streams. It keeps its own seed, tokens and ways of choosing, and max_length, as in
 * sl_state_copy. [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_decoder_copy(sl_decoder* target, const sl_decoder* source, sl_error* error);

/* Back to the start of all streams. [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_decoder_reset(sl_decoder* decoder, sl_error* error);

/* Null is allowed. [one-thread-per-state] Since 1.0. */
SL_API void sl_decoder_free(sl_decoder* decoder);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* SEQUENCE_LAYERS_SEQUENCE_LAYERS_H_ */
