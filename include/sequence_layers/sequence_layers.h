/* libsequence_layers: streamable sequence models from JSON configs, on CPUs.
 *
 * A model (sl_layer) is read from a directory and never changes afterwards. It runs layer-wise, on
 * a whole sequence at once (sl_layer_apply), or step-wise, on one block after another of a stream
 * (sl_state, sl_layer_step), with the same result. This header is the manual. It goes from the
 * simple to the special: errors and sequences, models and whole sequences, streams, decoding, audio
 * hosts, weights and custom layers, hooks. A complete program, which filters samples:
 *
 *   #include <sequence_layers/sequence_layers.h>
 *   #include <stdio.h>
 *
 *   int main(int argc, char** argv) {
 *     sl_error error = SL_ERROR_INIT;
 *     sl_layer* model = NULL;
 *     sl_state* stream = NULL;
 *     sl_state_options options = SL_STATE_OPTIONS_INIT;
 *     options.max_steps = 256;
 *     float in[256], out[256];
 *     sl_sequence x = SL_SEQUENCE_INIT, y = SL_SEQUENCE_INIT;
 *     x.rank = y.rank = 2;
 *     x.dims[0] = y.dims[0] = 1;
 *     x.dims[1] = y.dims[1] = 256;
 *     x.data = in;
 *     y.data = out;
 *     sl_status status = sl_layer_open(argc > 1 ? argv[1] : "model", NULL, &model, &error);
 *     if (status == SL_STATUS_OK) status = sl_state_alloc(model, &options, &stream, &error);
 *     while (status == SL_STATUS_OK && fread(in, sizeof(in), 1, stdin) == 1) {
 *       status = sl_layer_step(model, stream, &x, &y, NULL, &error);
 *       if (status == SL_STATUS_OK) fwrite(out, sizeof(out), 1, stdout);
 *     }
 *     if (status != SL_STATUS_OK) fprintf(stderr, "%s\n", error.message);
 *     sl_state_free(stream);
 *     sl_layer_free(model);
 *     return status != SL_STATUS_OK;
 *   }
 *
 * Names: a function is sl_<noun>_<verb> or sl_<noun>_<thing>. Where a noun has several things,
 * <thing> with an index gives one and <thing>_count their number; a count that can fail returns -1.
 * Enum values begin with the name of their group, as SL_DTYPE_FLOAT32 does.
 *
 * Errors: every call that can fail returns an sl_status and takes an sl_error last, which belongs
 * to the caller and may be null. Nothing is thrown, and the library ends no process. Each comment
 * names the statuses, without SL_STATUS_, that say something particular. Besides these, any call
 * can return INVALID_ARGUMENT for a null pointer, an index or size out of range or a struct_size
 * that cannot be, OUT_OF_MEMORY if it is not [realtime], and INTERNAL; and a call in which a custom
 * layer's callback fails returns what that returned.
 *
 * Ownership: handles are opaque and freed by the caller, with a function that allows null. All
 * other memory stays with whoever has it: the library reads and writes the caller's buffers during
 * a call only, and strings and views that it returns live as long as the handle that they are of.
 *
 * Threads: each function is of one of two classes, and may be real-time safe in addition:
 *   [any-thread]            from any thread at any time, also at once on the same handle
 *   [one-thread-per-state]  from one thread at a time for each handle that it may change
 *   [realtime]              allocates nothing, takes no lock, makes no system call, unless it
 *                           fails or is recorded in a profile
 *
 * Structs: zero is the default of every field, so a struct may begin as zeroed memory, by its _INIT
 * macro (zeros, and the size of this header's struct) or by its _init function (zeros, and the size
 * in version 1.0), which all mean the same. A struct_size of 0 stands for the struct of version
 * 1.0. Structs grow at their end in later versions, and any sizes work together. What a caller's
 * struct lacks counts as zero. Where it has more than the library knows, an input must hold zeros
 * there, or else the call fails with INVALID_ARGUMENT: the program asks for what this library
 * cannot do. In an output these bytes are set to zero. Three structs are frozen, for they stand
 * inside others or in arrays: sl_channel_spec, sl_sequence and sl_constant never grow, and their
 * struct_size is 0 or their size. The _init functions are [any-thread] [realtime] and allow null.
 */
#ifndef SEQUENCE_LAYERS_SEQUENCE_LAYERS_H_
#define SEQUENCE_LAYERS_SEQUENCE_LAYERS_H_

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define SL_API __declspec(dllimport)
#define SL_DEPRECATED(successor) __declspec(deprecated("use " successor))
#else
#define SL_API __attribute__((visibility("default")))
/* Before SL_API: a function that has a better one, and stays until the next major version. */
#define SL_DEPRECATED(successor) __attribute__((deprecated("use " successor)))
#endif

#define SL_VERSION_MAJOR 1
#define SL_VERSION_MINOR 0
#define SL_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

/* The library's version as (major << 16 | minor << 8 | patch). [any-thread] [realtime]
 * Since 1.0. */
SL_API uint32_t sl_version(void);

/* Why a call failed. */
typedef int32_t sl_status;
enum {
  SL_STATUS_OK = 0,
  /* a null pointer, a size that cannot be, a call out of order */
  SL_STATUS_INVALID_ARGUMENT = 1,
  /* the JSON config: the message names the JSON path and what was expected */
  SL_STATUS_CONFIG = 2,
  /* a missing, extra, misshapen or mistyped tensor, or a broken weights file */
  SL_STATUS_WEIGHTS = 3,
  /* a channel shape, dtype or length that the layer cannot take */
  SL_STATUS_SHAPE = 4,
  /* the layer cannot do this, such as step a convolution that is not causal */
  SL_STATUS_UNSUPPORTED = 5,
  /* a file that cannot be read */
  SL_STATUS_IO = 6,
  SL_STATUS_OUT_OF_MEMORY = 7,
  /* saved bytes of another model, other options or another version */
  SL_STATUS_STATE = 8,
  /* a callback of the caller's failed in a way that no other status names */
  SL_STATUS_CALLBACK = 9,
  /* a defect of the library */
  SL_STATUS_INTERNAL = 10,
  /* more steps than the max_length of a stream */
  SL_STATUS_LENGTH = 11
};

/* A short English name of a status, never null. [any-thread] [realtime] Since 1.0. */
SL_API const char* sl_status_name(sl_status status);

/* Filled by a call that fails, untouched by one that succeeds. The message ends in zero and is cut
 * to fit. A struct_size that is larger than the struct makes room for a longer message, which may
 * use all bytes up to it. Since 1.0. */
typedef struct sl_error {
  uint32_t struct_size;
  sl_status code;
  char message[1016];
} sl_error;
#define SL_ERROR_INIT                    \
  {                                      \
    (uint32_t)sizeof(sl_error), 0, { 0 } \
  }
SL_API void sl_error_init(sl_error* out);

/* Type of an element. */
typedef int32_t sl_dtype;
enum {
  SL_DTYPE_FLOAT32 = 0,
  SL_DTYPE_INT32 = 1,
  /* one byte, 0 or 1 */
  SL_DTYPE_BOOL = 2,
  /* two float32: real, imaginary */
  SL_DTYPE_COMPLEX64 = 3,
  SL_DTYPE_BFLOAT16 = 4,
  SL_DTYPE_FLOAT16 = 5,
  SL_DTYPE_INT8 = 6
};

/* Bytes of one element; 0 for an unknown dtype. [any-thread] [realtime] Since 1.0. */
SL_API size_t sl_dtype_size(sl_dtype dtype);

/* Name of a dtype as configs spell it, such as "float32"; null for an unknown dtype. [any-thread]
 * [realtime] Since 1.0. */
SL_API const char* sl_dtype_name(sl_dtype dtype);

#define SL_MAX_RANK 10
#define SL_MAX_CHANNEL_RANK 8
/* An unbounded end of a receptive field; -SL_INFINITE is an unbounded start. */
#define SL_INFINITE INT64_MAX

/* Content of one timestep: dtype and channel shape, without batch and time. The rank is 0, for one
 * scalar a timestep, to SL_MAX_CHANNEL_RANK. Frozen. Since 1.0. */
typedef struct sl_channel_spec {
  uint32_t struct_size;
  sl_dtype dtype;
  int32_t rank;
  int32_t reserved;
  int64_t dims[SL_MAX_CHANNEL_RANK];
} sl_channel_spec;
#define SL_CHANNEL_SPEC_INIT                                         \
  {                                                                  \
    (uint32_t)sizeof(sl_channel_spec), SL_DTYPE_FLOAT32, 0, 0, { 0 } \
  }
SL_API void sl_channel_spec_init(sl_channel_spec* out);

/* A view of the caller's sequence: values [batch, time, channels...] and a mask [batch, time] that
 * is not zero at valid timesteps. Values at invalid timesteps may be anything. An input is only
 * read, and without a mask all its timesteps are valid. An output is written where the caller put
 * data and, if wanted, a mask. An array, which is a tensor without time such as a weight, has
 * is_array set, any shape and no mask. Strides are in bytes. Frozen. Since 1.0. */
typedef struct sl_sequence {
  uint32_t struct_size;
  sl_dtype dtype;
  /* 2 and the channels' rank; the rank itself of an array */
  int32_t rank;
  int32_t is_array;
  int64_t dims[SL_MAX_RANK];
  /* all zero: contiguous, the last axis fastest */
  int64_t strides[SL_MAX_RANK];
  void* data;
  uint8_t* mask;
  /* both zero: contiguous */
  int64_t mask_strides[2];
} sl_sequence;
#define SL_SEQUENCE_INIT                                                                  \
  {                                                                                       \
    (uint32_t)sizeof(sl_sequence), SL_DTYPE_FLOAT32, 0, 0, {0}, {0}, NULL, NULL, { 0, 0 } \
  }
SL_API void sl_sequence_init(sl_sequence* out);

/* A named input that a layer reads beside x: the source of a cross-attention, a conditioning,
 * positions. Frozen. Since 1.0. */
typedef struct sl_constant {
  const char* name;
  sl_sequence value;
} sl_constant;

/* Handles: a model; a stream through it; streams of tokens that it chooses; audio through it; named
 * tensors; layer types. */
typedef struct sl_layer sl_layer;
typedef struct sl_state sl_state;
typedef struct sl_decoder sl_decoder;
typedef struct sl_pipe sl_pipe;
typedef struct sl_weights sl_weights;
typedef struct sl_registry sl_registry;

/* Memory from the caller, described with the other hooks. */
typedef struct sl_allocator sl_allocator;

/* A hook that runs task(context, i) for every i in [0, count), in any order and on any threads, and
 * returns when all are done. */
typedef void (*sl_parallel_for)(void* user_data, int64_t count,
                                void (*task)(void* context, int64_t i), void* context);

/* Returns zero when a thread that has been lent is to come back. Called on that thread. */
typedef int32_t (*sl_keep_going)(void* user_data);

/* Which code computes the large matrix products of layer-wise runs. */
typedef int32_t sl_matmul_backend;
enum {
  /* the one that is expected to be the fastest on this CPU */
  SL_MATMUL_BACKEND_DEFAULT = 0,
  /* the library's own kernels, which compute all other products in any case */
  SL_MATMUL_BACKEND_OWN = 1,
  /* oneDNN or OpenBLAS where they can be loaded, with a second copy of the weights from the first
   * run on; the library's own kernels where they cannot, and for integer weights */
  SL_MATMUL_BACKEND_ONEDNN = 2,
  SL_MATMUL_BACKEND_OPENBLAS = 3
};

/* How a model is made. Since 1.0. */
typedef struct sl_layer_options {
  uint32_t struct_size;
  /* Threads of layer-wise runs: 1 to 256; 0: 1. For steps, see num_step_threads. Where the system
   * refuses to start threads, runs do without and log a warning. A process that forks finds none in
   * its child, where the first run starts them anew. */
  int32_t num_threads;
  /* null: the built-in layers; must outlive the call only */
  const sl_registry* registry;
  /* Memory of runs, states and what makes them; the layer's own weights come from malloc. Copied.
   * Null: malloc, and the layer keeps up to 2^28 bytes of its whole runs for the next ones. */
  const sl_allocator* allocator;
  /* Called in place of the library's own threads if num_threads is more than 1, which then says how
   * finely work is split: not at all with 0 or 1. Null: the library's own threads. */
  sl_parallel_for parallel_for;
  void* parallel_for_user_data;
  /* Maximum of bytes for the layer's weights and tables together, for each of its states, and for
   * the workspace of each run; 0: 2^36. What needs more is refused before it is allocated, with
   * OUT_OF_MEMORY and both numbers. */
  int64_t max_bytes;
  /* How the weights of matrix products are held: "float32", "bfloat16", "int8" or "int4", and
   * exceptions by the names of tensors: "int8, *.output.kernel=float32". In a pattern "*" stands
   * for any characters, and the collection ("params.") may be left out; of several patterns that
   * match, the last one counts. Matrices that a format does not suit stay float32, and so does all
   * that is no matrix: docs/weight_formats.md. sl_layer_describe tells the format of each layer.
   * Errors: INVALID_ARGUMENT for an unknown format, a pattern that matches nothing, two formats for
   * tensors that are one matrix, or another format than that of a packed file. Null: as the file
   * has them packed, float32 if it does not. */
  const char* weight_format;
  /* Threads of steps, that of the caller included: 1 to 64; 0: 1, which starts none. More than one
   * share products with matrices of 256 KiB or more and convolutions of 2^21 multiplications or
   * more; results are the same, bit for bit. The first state or decoder of a process starts the
   * threads, which all of the layer's states share: where one has them, others step alone. Steps
   * stay real-time: they neither lock nor allocate nor call the system, and never wait for a thread
   * that has lost its CPU, but do its part themselves. The threads run only on CPUs that are idle
   * otherwise. They spin for a millisecond after a step, and then sleep and look for work from time
   * to time, so that the first steps after a pause may run on one thread. */
  int32_t num_step_threads;
  sl_matmul_backend matmul_backend;
  /* How streams cache the keys and values of attention: "float32", "bfloat16" or "int8", with a
   * scale for each head of a step. Layer-wise runs round keys and values as the cache does. Complex
   * ones stay as they are. Error: INVALID_ARGUMENT for another format. Null: float32. */
  const char* kv_format;
  /* Threads of the caller's that may be lent to steps at the same time, besides num_step_threads
   * (see sl_layer_lend_thread): 0 to 64 less num_step_threads. Steps share the same work with them
   * and stay real-time in the same way. */
  int32_t max_lent_threads;
  int32_t reserved;
} sl_layer_options;
#define SL_LAYER_OPTIONS_INIT \
  { (uint32_t)sizeof(sl_layer_options), 0, NULL, NULL, NULL, NULL, 0, NULL, 0, 0, NULL, 0, 0 }
SL_API void sl_layer_options_init(sl_layer_options* out);

/* Makes the model of a directory that holds config.json and, if it has weights, model.safetensors,
 * both regular files. `options` may be null. The caller frees the layer. Errors: CONFIG, WEIGHTS,
 * UNSUPPORTED, IO. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_open(const char* directory, const sl_layer_options* options,
                               sl_layer** out, sl_error* error);

/* Frees a layer, of which no state and no decoder may be left, and to which no thread may be lent.
 * [any-thread] Since 1.0. */
SL_API void sl_layer_free(sl_layer* layer);

/* Lends the calling thread to the layer: it helps with the steps that other threads make in the
 * layer's states and decoders, as one of num_step_threads would, until `keep_going` returns zero.
 * That is called, with `user_data`, between jobs, which last less than a millisecond in most
 * models, and all the time while there is none: the thread spins and never sleeps. It should take
 * less than a microsecond. Steps use the thread from their next product on, and never wait for it
 * where it has lost its CPU. Lend a thread that has a CPU to itself and nothing else to do, such as
 * one of a pool, or of a pipeline whose own work is done. The call may allocate if the layer has
 * neither a state nor a decoder yet. Errors: INVALID_ARGUMENT also if as many threads as
 * options.max_lent_threads allows are lent already. [any-thread] [realtime] Since 1.0. */
SL_API sl_status sl_layer_lend_thread(const sl_layer* layer, sl_keep_going keep_going,
                                      void* user_data, sl_error* error);

/* The input spec that is recorded with the model (metadata "input"), or else the one that its first
 * layers imply. Errors: UNSUPPORTED if neither tells, WEIGHTS if the metadata cannot be.
 * [any-thread] Since 1.0. */
SL_API sl_status sl_layer_input_spec(const sl_layer* layer, sl_channel_spec* input,
                                     sl_error* error);

/* An entry of the metadata of the model's weights, such as "sample_rate" (input steps a second);
 * null if there is none of that key. The string lives as long as the layer. [any-thread] [realtime]
 * Since 1.0. */
SL_API const char* sl_layer_metadata(const sl_layer* layer, const char* key);

/* How a model runs: a whole sequence, or steps of a stream. */
typedef int32_t sl_mode;
enum { SL_MODE_LAYER = 0, SL_MODE_STEP = 1 };

/* Recorded costs of layers. */
typedef struct sl_profile sl_profile;

/* Inputs of a run beside x, and outputs beside y. Since 1.0. */
typedef struct sl_run_options {
  uint32_t struct_size;
  int32_t reserved;
  const sl_constant* constants;
  int64_t num_constants;
  /* auxiliary outputs in order of their index; those with null data are not wanted */
  sl_sequence* emits;
  /* 0, or all of them */
  int64_t num_emits;
  /* for sl_layer_apply: the stream that the sequence continues; may be null */
  sl_state* state;
  /* where the run is recorded; null: it is not */
  sl_profile* profile;
} sl_run_options;
#define SL_RUN_OPTIONS_INIT \
  { (uint32_t)sizeof(sl_run_options), 0, NULL, 0, NULL, 0, NULL, NULL }
SL_API void sl_run_options_init(sl_run_options* out);

/* Costs of each layer. A run whose options name a profile is recorded in it, whether of a layer, of
 * a stream or of a decoder: it takes place on the calling thread alone, and is not real-time, since
 * it reads the clock and may allocate. The caller frees the profile. [any-thread]
 * Since 1.0. */
SL_API sl_status sl_profile_create(sl_profile** out, sl_error* error);

/* Forgets what was recorded. One thread at a time uses a profile, including runs that record in it.
 * [one-thread-per-state] Since 1.0. */
SL_API sl_status sl_profile_reset(sl_profile* profile, sl_error* error);

/* The recorded costs as JSON: {"layers": [{"path", "type", "parent", "calls", "self_seconds",
 * "flop", "bytes", "folded_into"}, ...]}, in the order of the layers' first calls. `parent` is the
 * index of the layer that called it, null for the model itself; the numbers are sums over all
 * calls, without those of the layers within. `flop` counts multiplications, additions and
 * elementwise functions; `bytes` the kernels, without biases, and, for layers without children,
 * input and output. `folded_into` is the index of the layer that does this layer's work, as a
 * convolution does that of a normalization and an activation behind it, or else null: a folded
 * layer has calls and flop, and its time and bytes are in those of the other layer. Writes at most
 * `capacity` bytes with a final zero to `buffer`, which may be null, and the size of the whole text
 * with its zero to `needed`: a text that was cut is no error. [one-thread-per-state] Since 1.0. */
SL_API sl_status sl_profile_describe(const sl_profile* profile, char* buffer, size_t capacity,
                                     size_t* needed, sl_error* error);

/* Null is allowed. [any-thread] Since 1.0. */
SL_API void sl_profile_free(sl_profile* profile);

/* Sets dtype, rank and dims of `y` to what a run makes of an x of these dtype and dims, whose data
 * is not read; data, mask and strides of `y` stay as they are. `options`, for the constants, may be
 * null. Errors: SHAPE, UNSUPPORTED. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_output_shape(const sl_layer* layer, sl_mode mode, const sl_sequence* x,
                                       const sl_run_options* options, sl_sequence* y,
                                       sl_error* error);

/* Runs a whole sequence of any length. `y` has the shape that sl_layer_output_shape tells, and
 * data; `options` may be null. Constants may have any order. With options->state the run continues
 * that stream: it makes what steps over x would, in few large blocks, and leaves the state where
 * they would. The time of x is then a multiple of the block size, y has the shape of a step-wise
 * run, and streamed constants have the length that goes with x; an emit whose channels depend on
 * the steps of one call, such as probabilities of an attention, is UNSUPPORTED. After an error the
 * state is as before. Errors: SHAPE, LENGTH, UNSUPPORTED. [any-thread], but with a state
 * [one-thread-per-state] Since 1.0. */
SL_API sl_status sl_layer_apply(const sl_layer* layer, const sl_sequence* x, sl_sequence* y,
                                const sl_run_options* options, sl_error* error);

/* Sizes and inputs of a stream. Since 1.0. */
typedef struct sl_state_options {
  uint32_t struct_size;
  int32_t reserved;
  /* 0: 1 */
  int64_t batch;
  /* maximum of input steps in one call; 0: one block; rounded up to a multiple of the block size */
  int64_t max_steps;
  /* content of a step of x; zeros stand for one float32. sl_layer_input_spec tells what the model
   * says of itself. */
  sl_channel_spec input;
  /* Specs only: data is not read. A streamed constant has the length that goes with max_steps of x,
   * any other sequence has all of its own. */
  const sl_constant* constants;
  int64_t num_constants;
  /* copied; null: the layer's */
  const sl_allocator* allocator;
  /* Maximum of input steps of the whole stream, latency and padding included, up to 2^31 - 1; 0:
   * the stream has no end. Rounded up to a multiple of the block size. A layer that sees all of the
   * past needs it, and the state then has room for that much. */
  int64_t max_length;
} sl_state_options;
#define SL_STATE_OPTIONS_INIT \
  { (uint32_t)sizeof(sl_state_options), 0, 0, 0, SL_CHANNEL_SPEC_INIT, NULL, 0, NULL, 0 }
SL_API void sl_state_options_init(sl_state_options* out);

/* Makes a stream at its start. It plans, allocates, touches all its memory and rehearses a step, so
 * that the first step costs what the thousandth does. The caller frees it, before the layer.
 * Errors: SHAPE, UNSUPPORTED if the model cannot step, or only with a max_length: the
 * message says why and what to change. [any-thread] Since 1.0. */
SL_API sl_status sl_state_alloc(const sl_layer* layer, const sl_state_options* options,
                                sl_state** out, sl_error* error);

/* Frees a state. [one-thread-per-state] Since 1.0. */
SL_API void sl_state_free(sl_state* state);

/* Runs the next block of a stream. x has the state's batch and input spec, and a time of at most
 * max_steps that is a multiple of the block size. `options` may be null. Constants are those of the
 * state's options in their order: the share of this block of a streamed one, all of any other.
 * After an error the state is as before; but after one of a custom layer's step, layers before it
 * have run, and the state is to be reset, loaded or freed. Errors: SHAPE, LENGTH past the state's
 * max_length. [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_layer_step(const sl_layer* layer, sl_state* state, const sl_sequence* x,
                               sl_sequence* y, const sl_run_options* options, sl_error* error);

/* Runs the next block of some of the streams of a state. A state of batch N has N slots, its batch
 * items, each at its own position in a stream of its own: the call steps those of `slots`, `count`
 * different numbers of 0 to N - 1 in any order, and leaves all others as they are. x, y and emits
 * have the batch `count`, with the items in the order of `slots`; so have constants, unless they
 * have a batch of 1. A stream's output has the same bits as in a state of its own, whatever else
 * the call steps, and weights are read once for all streams of a call. Slots are set to the start
 * by sl_state_reset_item and moved by sl_state_copy_item, sl_state_save_item and
 * sl_state_load_item. Neighbouring slots in order are a little faster. Errors: as sl_layer_step,
 * LENGTH if one of the slots would come past the max_length, INVALID_ARGUMENT for a slot that does
 * not exist or is named twice. [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_layer_step_slots(const sl_layer* layer, sl_state* state, const int64_t* slots,
                                     int64_t count, const sl_sequence* x, sl_sequence* y,
                                     const sl_run_options* options, sl_error* error);

/* Sets a stream back to its start. [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_state_reset(sl_state* state, sl_error* error);

/* Whether the model steps in a stream without a max_length: 1 or 0. If it cannot, the error of
 * sl_state_alloc says why. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_supports_step(const sl_layer* layer, int32_t* supports_step,
                                        sl_error* error);

/* Input steps of which the time of a step is a multiple. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_block_size(const sl_layer* layer, int64_t* block_size, sl_error* error);

/* Output steps for each input step, as a fraction in lowest terms. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_output_ratio(const sl_layer* layer, int64_t* numerator,
                                       int64_t* denominator, sl_error* error);

/* Latencies, which relate the two modes: append input_latency invalid steps to x, and more up to a
 * multiple of the block size, step over it, and drop the first output_latency steps of the output.
 * What is left begins with the output of sl_layer_apply; steps behind that are invalid.
 * Input latency is in input steps. Errors: UNSUPPORTED if it cannot be told, as where latencies do
 * not divide. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_input_latency(const sl_layer* layer, int64_t* steps, sl_error* error);

/* Latency in output steps: how many to drop from the start of the step-wise output. Errors:
 * UNSUPPORTED, as sl_layer_input_latency. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_output_latency(const sl_layer* layer, int64_t* steps, sl_error* error);

/* The input steps [start, end], relative to the input step of an output step, that can affect it;
 * `exists` is 0 if none can. They may be infinite: SL_INFINITE. Errors: UNSUPPORTED if a layer's
 * own field starts after it ends, as of an STFT whose window leaves nothing of a frame.
 * [any-thread] Since 1.0. */
SL_API sl_status sl_layer_receptive_field(const sl_layer* layer, int32_t* exists, int64_t* start,
                                          int64_t* end, sl_error* error);

/* Receptive fields of single output steps, which repeat after this many; -1 after an error. Errors:
 * UNSUPPORTED, as sl_layer_receptive_field, or if they are too many. [any-thread] Since 1.0. */
SL_API int64_t sl_layer_receptive_field_count(const sl_layer* layer, sl_error* error);

/* The receptive field of an output step, counted from 0, as sl_layer_receptive_field has it for all
 * together. Errors: UNSUPPORTED, as sl_layer_receptive_field_count. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_receptive_field_at(const sl_layer* layer, int64_t step, int32_t* exists,
                                             int64_t* start, int64_t* end, sl_error* error);

/* Channel spec that comes out for one that goes in. Only the specs of constants are read; null
 * where the model needs none. Errors: SHAPE. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_output_spec(const sl_layer* layer, const sl_channel_spec* input,
                                      const sl_constant* constants, int64_t num_constants,
                                      sl_channel_spec* output, sl_error* error);

/* Number of scalars in the weights; 0 for null. [any-thread] [realtime] Since 1.0. */
SL_API int64_t sl_layer_parameter_count(const sl_layer* layer);

/* Describes the model as JSON: type, name, names of constants, input and output specs, parameters,
 * state tensors of a stream of batch 1, block size, ratio, latencies, step differences, children;
 * and for the whole model `emits`, with path, dtype and shape for one block of x of batch 1, in a
 * stream if it can step, and `constant_specs`, with what sl_constant_info has. What cannot be told,
 * such as the `state`, is {"error": reason}. Keys are only ever added. A streamed constant has the
 * length that goes with one block of x. Writes at most `capacity` bytes
 * with a final zero to `buffer`, which may be null, and the size of the whole text with its zero to
 * `needed`: a text that was cut is no error. Errors: SHAPE. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_describe(const sl_layer* layer, const sl_channel_spec* input,
                                   const sl_constant* constants, int64_t num_constants,
                                   char* buffer, size_t capacity, size_t* needed, sl_error* error);

/* Kinds of constants. */
typedef int32_t sl_constant_kind;
enum {
  /* a sequence or an array */
  SL_CONSTANT_KIND_ANY = 0,
  SL_CONSTANT_KIND_SEQUENCE = 1,
  SL_CONSTANT_KIND_ARRAY = 2
};

/* A constant that a model reads; its batch is that of x. Since 1.0. */
typedef struct sl_constant_info {
  uint32_t struct_size;
  sl_constant_kind kind;
  const char* name;
  /* path of the first layer that reads it */
  const char* layer;
  /* 0: the model can do without */
  int32_t required;
  /* A stream takes it block by block along with x; otherwise it is whole in every step. */
  int32_t streamed;
  /* -1: not known */
  sl_dtype dtype;
  /* without batch and, for a sequence, time; -1: not known, as may be single dims */
  int32_t rank;
  int64_t dims[SL_MAX_CHANNEL_RANK];
} sl_constant_info;
#define SL_CONSTANT_INFO_INIT                                            \
  {                                                                      \
    (uint32_t)sizeof(sl_constant_info), 0, NULL, NULL, 0, 0, 0, 0, { 0 } \
  }
SL_API void sl_constant_info_init(sl_constant_info* out);

/* Number of constants that the model reads; 0 for null. [any-thread] [realtime] Since 1.0. */
SL_API int64_t sl_layer_constant_count(const sl_layer* layer);

/* Describes a constant that the model reads. Every call that takes constants wants those that are
 * required, and ignores those that the model does not read. It fails with INVALID_ARGUMENT if one
 * is missing, with SHAPE if one is not what a layer reads. Strings live as long as the layer.
 * [any-thread] Since 1.0. */
SL_API sl_status sl_layer_constant(const sl_layer* layer, int64_t index, sl_constant_info* info,
                                   sl_error* error);

/* Number of auxiliary outputs, which layers emit beside y; -1 after an error. Errors: SHAPE.
 * [any-thread] Since 1.0. */
SL_API int64_t sl_layer_emit_count(const sl_layer* layer, const sl_channel_spec* input,
                                   const sl_constant* constants, int64_t num_constants,
                                   sl_error* error);

/* Path ("attention.probabilities") of an auxiliary output, in the order of their index. Writes at
 * most `capacity` bytes with a final zero to `buffer`, which may be null, and the size of the whole
 * path with its zero to `needed`, which may be null too: a path that was cut is no error. Errors:
 * SHAPE. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_emit_path(const sl_layer* layer, const sl_channel_spec* input,
                                    const sl_constant* constants, int64_t num_constants,
                                    int64_t index, char* buffer, size_t capacity, size_t* needed,
                                    sl_error* error);

/* Path, dtype, rank and dims of an auxiliary output for such an x. At most `capacity` bytes with a
 * final zero are written to `path`, which may be null; sl_layer_emit_path tells how many a path
 * has, and a longer one is cut without an error. An emit has a mask like y. With options->state the
 * shape is that of a step of the stream, which may have more keys to attend to than a step of x
 * alone, or, layer-wise, that of a run that continues it. Errors: SHAPE, UNSUPPORTED. [any-thread]
 * Since 1.0. */
SL_API sl_status sl_layer_emit_shape(const sl_layer* layer, sl_mode mode, const sl_sequence* x,
                                     const sl_run_options* options, int64_t index, char* path,
                                     size_t capacity, sl_sequence* emit, sl_error* error);

/* When steps give other values than a whole run. */
typedef int32_t sl_step_difference_condition;
enum {
  SL_STEP_DIFFERENCE_ALWAYS = 0,
  /* if the input has invalid steps before valid ones */
  SL_STEP_DIFFERENCE_HOLES = 1,
  /* Whole runs differ among themselves: the number of invalid steps that end the input decides what
   * becomes of its valid ones. */
  SL_STEP_DIFFERENCE_PADDING = 2
};

/* A layer for which steps give other values than whole runs. Since 1.0. */
typedef struct sl_step_difference {
  uint32_t struct_size;
  sl_step_difference_condition condition;
  /* path of the layer; "" for the model itself */
  const char* layer;
  const char* type;
  /* English, for people */
  const char* reason;
  /* what to change in the config or the input */
  const char* cure;
} sl_step_difference;
#define SL_STEP_DIFFERENCE_INIT \
  { (uint32_t)sizeof(sl_step_difference), 0, NULL, NULL, NULL, NULL }
SL_API void sl_step_difference_init(sl_step_difference* out);

/* Number of layers for which steps give other values than whole runs, as they do in the reference:
 * layers that count or remember invalid steps, behind layers with latency; and layers that a
 * Bidirectional runs backwards and for which longer padding changes the result. Most models have
 * none. Creation logs a warning of those that do not depend on the input. 0 for null. [any-thread]
 * [realtime] Since 1.0. */
SL_API int64_t sl_layer_step_difference_count(const sl_layer* layer);

/* Describes such a layer. Strings live as long as the model. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_step_difference(const sl_layer* layer, int64_t index,
                                          sl_step_difference* difference, sl_error* error);

/* Computes what steps keep of the constants, such as keys and values of a cross-attention's source,
 * which is then read no more. Without this call the first step does so, and costs that much more;
 * a later call reads the constants anew. They are as in a step of one block. After an error the
 * state is as before. Errors: SHAPE. [one-thread-per-state] Since 1.0. */
SL_API sl_status sl_state_prepare(sl_state* state, const sl_constant* constants,
                                  int64_t num_constants, sl_error* error);

/* Forks a stream: makes `target`, of the same layer and options, continue where `source` stands.
 * The two may differ in max_steps, and with it in the length of streamed constants; and in
 * max_length if both have one, so that a larger state takes a stream beyond the end of a smaller
 * one. Errors: STATE, LENGTH if the source has had more steps than the target takes.
 * [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_state_copy(sl_state* target, const sl_state* source, sl_error* error);

/* Back to the start of the stream for one item of the batch; the others continue. Constants of
 * which the state keeps what was made (see sl_state_prepare) are read anew for it. Errors:
 * INVALID_ARGUMENT if there is no such item. [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_state_reset_item(sl_state* state, int64_t item, sl_error* error);

/* Makes an item of `target` continue where an item of `source` stands; other items continue as
 * they are. The states may differ as in sl_state_copy, and in their batch, so that one stream can
 * join or leave a batch. Errors: as sl_state_copy, INVALID_ARGUMENT if there is no such item.
 * [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_state_copy_item(sl_state* target, int64_t target_item, const sl_state* source,
                                    int64_t source_item, sl_error* error);

/* Bytes that a saved state takes; 0 for null. [one-thread-per-state] [realtime] Since 1.0. */
SL_API size_t sl_state_save_size(const sl_state* state);

/* Saves a state to `buffer`, of at least sl_state_save_size bytes and any alignment: versioned,
 * with a fingerprint of the model's config and weights and of the options, and a checksum.
 * [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_state_save(const sl_state* state, void* buffer, size_t size, sl_error* error);

/* Makes a state continue where the saved one stood. `size` is that of the saved state. Bytes of
 * another model, other options or another version, and damaged ones, are refused, and leave the
 * state as it was; for another max_steps, load into a state of the saved options and copy that.
 * Errors: STATE.
 * [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_state_load(sl_state* state, const void* buffer, size_t size, sl_error* error);

/* Bytes that one saved item of a state takes; 0 for null. [one-thread-per-state] [realtime]
 * Since 1.0. */
SL_API size_t sl_state_save_item_size(const sl_state* state);

/* Saves one item of a state, as sl_state_save saves a state of batch 1 with the same options: each
 * loads what the other has saved. Errors: INVALID_ARGUMENT if there is no such item.
 * [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_state_save_item(const sl_state* state, int64_t item, void* buffer, size_t size,
                                    sl_error* error);

/* Makes one item of a state continue where the saved item stood; the others continue as they are.
 * Errors: as sl_state_load, INVALID_ARGUMENT if there is no such item. [one-thread-per-state]
 * [realtime] Since 1.0. */
SL_API sl_status sl_state_load_item(sl_state* state, int64_t item, const void* buffer, size_t size,
                                    sl_error* error);

/* Bytes and alignment of memory for sl_state_alloc_in; `alignment` may be null. Errors: as
 * sl_state_alloc. [any-thread] Since 1.0. */
SL_API sl_status sl_state_size(const sl_layer* layer, const sl_state_options* options, size_t* size,
                               size_t* alignment, sl_error* error);

/* Makes a stream as sl_state_alloc does, handle included, in the caller's memory; while it is made
 * it takes memory of the layer's allocator too. sl_state_free ends it and leaves the memory to the
 * caller. Errors: as sl_state_alloc, INVALID_ARGUMENT also for memory of less than that alignment
 * or size. [any-thread] Since 1.0. */
SL_API sl_status sl_state_alloc_in(const sl_layer* layer, const sl_state_options* options,
                                   void* memory, size_t size, sl_state** out, sl_error* error);

/* Number of named tensors that make up the state; 0 for null. [one-thread-per-state] [realtime]
 * Since 1.0. */
SL_API int64_t sl_state_tensor_count(const sl_state* state);

/* Name and view of a tensor of the state, to print and check it, and to read or set a carry between
 * steps: the view is of the state itself. Integers of a state are indices, not to be changed.
 * `name` and `tensor` may be null; what they get lives as long as the state.
 * [one-thread-per-state] Since 1.0. */
SL_API sl_status sl_state_tensor(const sl_state* state, int64_t index, const char** name,
                                 sl_sequence* tensor, sl_error* error);

/* Chooses one of `count` logits for a slot of a decoder whose steps have several tokens: `part` is
 * the index of the token in its step. Returns an index, or -1 for the decoder's own choice.
 * [realtime] Since 1.0. */
typedef int64_t (*sl_choose_logit)(void* user_data, int64_t slot, int64_t part, const float* logits,
                                   int64_t count);

/* How a decoder chooses. A decoder (sl_decoder) is a batch of streams of tokens in which the
 * choices of a model are its next inputs. The model makes logits, float32 [batch, time,
 * vocabulary], of tokens, int32 [batch, time], step by step: its block size and output ratio are 1,
 * and it has no latency. If its outermost layer is a MultivariateDecoder, each step has several
 * tokens, chosen one after the other: where `time` tokens or log probabilities are said below,
 * there are [time, tokens of a step]. Such a model has its own start token, and no stop token.
 * Since 1.0.
 */
typedef struct sl_decoder_options {
  uint32_t struct_size;
  /* the first input: a token that the model's first layer knows */
  int32_t start_token;
  /* ends its stream, as its last token; 0 or -1: none (see stop_at_zero) */
  int32_t stop_token;
  /* what a stream that has ended gives: any number, never an input */
  int32_t pad_token;
  /* 0: 1 */
  int64_t batch;
  uint64_t seed;
  /* 0: always the most likely token, the first of equals */
  float temperature;
  /* choose among the most likely tokens that together have this probability; 0: among all */
  float top_p;
  /* choose among this many of the most likely tokens; 0: among all */
  int64_t top_k;
  /* as in sl_state_options, for steps of one */
  const sl_constant* constants;
  int64_t num_constants;
  /* of the state; copied; null: the layer's */
  const sl_allocator* allocator;
  /* as in sl_state_options: the maximum of tokens, prompts included */
  int64_t max_length;
  /* non-zero: token 0 is the stop token */
  int32_t stop_at_zero;
  int32_t reserved;
  /* Only for steps of several tokens: classifier-free guidance by up to 8 negatives, which are
   * further items of the model, with the tokens of their stream and constants of their own. The
   * batch of constants is batch * (1 + num_negatives), each stream followed by its negatives. The
   * logits are own + guidance[0] * (own - first negative) + guidance[1] * (own - second negative)
   * ...; copied */
  int64_t num_negatives;
  const float* guidance;
  /* only for steps of several tokens: chooses instead of the decoder; null: none */
  sl_choose_logit choose;
  void* choose_data;
} sl_decoder_options;
#define SL_DECODER_OPTIONS_INIT                                                                    \
  {                                                                                                \
    (uint32_t)sizeof(sl_decoder_options), 0, 0, 0, 0, 0, 0.0f, 0.0f, 0, NULL, 0, NULL, 0, 0, 0, 0, \
        NULL, NULL, NULL                                                                           \
  }
SL_API void sl_decoder_options_init(sl_decoder_options* out);

/* Makes a decoder at the start of its streams, and rehearses its step. The caller frees it, before
 * the layer. Errors: SHAPE if the model does not make logits of tokens, UNSUPPORTED if it cannot
 * step or has latency, INVALID_ARGUMENT also for a start or stop token that the model lacks.
 * [any-thread] Since 1.0. */
SL_API sl_status sl_decoder_create(const sl_layer* layer, const sl_decoder_options* options,
                                   sl_decoder** out, sl_error* error);

/* Frees a decoder. [one-thread-per-state] Since 1.0. */
SL_API void sl_decoder_free(sl_decoder* decoder);

/* Number of tokens of a step of one stream: 1, or the number of codebooks of a MultivariateDecoder,
 * whatever the model's metadata say; 0 for null. [any-thread] [realtime] Since 1.0. */
SL_API int64_t sl_decoder_step_tokens(const sl_decoder* decoder);

/* Appends a prompt, without the start token: continues as if `tokens`, int32 [batch, time], had
 * been sampled, in few large blocks on the layer's threads. Invalid tokens count as absent. A stop
 * token ends nothing here, and a stream that has ended continues at a valid token. `options`, for
 * the constants, may be null; constants are those of the decoder's options in their order: the
 * share of these steps of a streamed one. After an error the decoder is as before. Errors: SHAPE,
 * INVALID_ARGUMENT also for a token that the model's first layer does not know, UNSUPPORTED after
 * such an error of sl_decoder_sample, LENGTH. [one-thread-per-state] Since 1.0. */
SL_API sl_status sl_decoder_prefill(sl_decoder* decoder, const sl_sequence* tokens,
                                    const sl_run_options* options, sl_error* error);

/* Runs one step: writes the next token of each stream, its log probability (the model's own,
 * whatever temperature, top_k and top_p are) and its mask: `batch` * sl_decoder_step_tokens tokens
 * and log probabilities and `batch` masks; the latter two may be null. A stream that has ended
 * gives the pad token, 0 and 0. The random number of a choice depends on the seed, the index of the
 * stream and the number of the step, prompts included. Constants are as in sl_layer_step. After an
 * error the decoder is as before, but for errors of a custom layer's step, as there. Errors: LENGTH
 * past the max_length, UNSUPPORTED if the logits of a stream hold a NaN or are all minus infinity:
 * it gets the pad token, NaN and 0, and each further call for it fails before it steps, until the
 * stream is started anew or made to continue another one; all other streams have their tokens.
 * [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_decoder_sample(sl_decoder* decoder, int32_t* tokens, float* log_probs,
                                   uint8_t* mask, const sl_run_options* options, sl_error* error);

/* Sets one slot of a decoder, a stream of its batch, to its start, with choices of its own: of
 * `options` it reads start, stop and pad token, seed, temperature, top_p, top_k and guidance, whose
 * number is that of the decoder. The stream then
 * gives what a decoder of batch 1 with these options gives, bit for bit, whatever runs beside it.
 * Null: as sl_decoder_reset sets it. Errors: as sl_decoder_create; then the slot is as before.
 * [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_decoder_start_slot(sl_decoder* decoder, int64_t slot,
                                       const sl_decoder_options* options, sl_error* error);

/* sl_decoder_prefill for one slot: tokens and constants have a batch of 1. [one-thread-per-state]
 * Since 1.0. */
SL_API sl_status sl_decoder_prefill_slot(sl_decoder* decoder, int64_t slot,
                                         const sl_sequence* tokens, const sl_run_options* options,
                                         sl_error* error);

/* sl_decoder_sample for `count` different slots in any order, with as many numbers of each kind and
 * constants of that batch; all other slots stay as they are. Weights are read once for all streams
 * of a call. Errors: as there, INVALID_ARGUMENT for a slot that does not exist or is named twice.
 * [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_decoder_sample_slots(sl_decoder* decoder, const int64_t* slots, int64_t count,
                                         int32_t* tokens, float* log_probs, uint8_t* mask,
                                         const sl_run_options* options, sl_error* error);

/* Makes a slot of `target` continue where a slot of `source` stands, with the choices of that slot,
 * seed included: a fork draws the same tokens. The decoders may differ in batch, and in max_length
 * as states may in sl_state_copy. Errors: as sl_state_copy_item. [one-thread-per-state] [realtime]
 * Since 1.0. */
SL_API sl_status sl_decoder_copy_slot(sl_decoder* target, int64_t target_slot,
                                      const sl_decoder* source, int64_t source_slot,
                                      sl_error* error);

/* Bytes that a saved slot takes; 0 for null. [one-thread-per-state] [realtime] Since 1.0. */
SL_API size_t sl_decoder_save_slot_size(const sl_decoder* decoder);

/* Saves a slot with its choices, for any slot of a decoder of the same model, constants and
 * max_length, in this process or another. `buffer`, of any alignment, has at least
 * sl_decoder_save_slot_size bytes. [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_decoder_save_slot(const sl_decoder* decoder, int64_t slot, void* buffer,
                                      size_t size, sl_error* error);

/* Makes a slot continue where the saved one stood. Errors: as sl_state_load; then the slot is as
 * before. [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_decoder_load_slot(sl_decoder* decoder, int64_t slot, const void* buffer,
                                      size_t size, sl_error* error);

/* Log probabilities of given tokens, int32 [batch, time] of any batch, from the start of a
 * sequence, into `log_probs`, float32 of the same shape, with a mask if wanted. The model runs
 * layer-wise on the tokens shifted by the start token; the decoder gives its start and stop token,
 * its streams are not touched. Invalid tokens and those after a stop token get 0 and a mask of 0.
 * `options`, for the constants, whole as in sl_layer_apply, may be null. Errors: SHAPE,
 * INVALID_ARGUMENT also for a token that the model lacks, UNSUPPORTED for logits as in
 * sl_decoder_sample. [any-thread] Since 1.0. */
SL_API sl_status sl_decoder_log_prob(const sl_decoder* decoder, const sl_sequence* tokens,
                                     sl_sequence* log_probs, const sl_run_options* options,
                                     sl_error* error);

/* Forks all streams: makes `target`, of the same layer, batch and constants, continue where
 * `source` stands. It keeps its own seed, start, stop and pad token, temperature,
 * top_k, top_p and max_length; what it had generated itself is lost. Errors: as
 * sl_state_copy. [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_decoder_copy(sl_decoder* target, const sl_decoder* source, sl_error* error);

/* Sets all streams back to their start. [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_decoder_reset(sl_decoder* decoder, sl_error* error);

/* How channels of a host go through a model. */
typedef int32_t sl_pipe_channels;
enum {
  /* EACH for a model that makes one channel of one, MODEL for any other */
  SL_PIPE_CHANNELS_DEFAULT = 0,
  /* a model of one channel hears each of the host's alone, as streams of a batch */
  SL_PIPE_CHANNELS_EACH = 1,
  /* a model of one input channel hears the mean of the host's */
  SL_PIPE_CHANNELS_MIX = 2,
  /* the model's input channels are the host's */
  SL_PIPE_CHANNELS_MODEL = 3
};

/* How well sample rates are converted; zero means MEDIUM. */
typedef int32_t sl_pipe_quality;
enum {
  SL_PIPE_QUALITY_DEFAULT = 0,
  /* noise below -97 dB, passes 80 % of the bandwidth, looks some 20 samples ahead */
  SL_PIPE_QUALITY_FAST = 1,
  /* -121 dB, 90 %, some 46 samples */
  SL_PIPE_QUALITY_MEDIUM = 2,
  /* -145 dB, 96 %, some 143 samples */
  SL_PIPE_QUALITY_BEST = 3
};

/* How audio of a host goes through a model. A pipe (sl_pipe) takes any number of frames a call, at
 * the host's rate and with its channels, and gives as many, late by sl_pipe_latency. It is for
 * models whose input and output are audio: float32, one scalar or a row of channels a step, one
 * output step for each input step, no constants, and steps without an end. Since 1.0. */
typedef struct sl_pipe_options {
  uint32_t struct_size;
  sl_pipe_channels channels;
  /* Frames a second of the host; 0: model_rate. Where the two differ, libsamplerate converts, whose
   * converters take memory of malloc. */
  double host_rate;
  /* steps a second of the model; 0: the "sample_rate" of its metadata, or else host_rate */
  double model_rate;
  /* 1 to 128; 0: those of the model */
  int64_t host_channels;
  /* maximum of frames in one call, 1 to 2^20; 0: 4096 */
  int64_t max_frames;
  /* Frames that the latency is at least, so that models of different latency can be swapped without
   * a change of it; 0: as few as the model allows. */
  int64_t min_latency;
  /* frames of a cross-fade after a swap; 0: a fiftieth of a second */
  int64_t fade_frames;
  /* share of the input in the output, 0 to 1, as sl_pipe_set_dry has it; 0: the model alone */
  float dry;
  sl_pipe_quality quality;
  /* copied; null: the layer's */
  const sl_allocator* allocator;
} sl_pipe_options;
#define SL_PIPE_OPTIONS_INIT \
  { (uint32_t)sizeof(sl_pipe_options), 0, 0.0, 0.0, 0, 0, 0, 0, 0.0f, 0, NULL }
SL_API void sl_pipe_options_init(sl_pipe_options* out);

/* Makes a pipe at the start of its stream, and rehearses a step as sl_state_alloc does. `options`
 * may be null. The caller frees it, before the layer. Errors: UNSUPPORTED, with the reason, for a
 * model that is not as sl_pipe_options says, channels that do not fit it, rates more than 256 times
 * apart, or rates that differ where libsamplerate is missing; WEIGHTS if the recorded sample rate
 * cannot be; SHAPE. [any-thread] Since 1.0. */
SL_API sl_status sl_pipe_create(const sl_layer* layer, const sl_pipe_options* options,
                                sl_pipe** out, sl_error* error);

/* Takes the next `frames` frames, 0 to max_frames, and writes as many. `in` and `out` are planar:
 * an array of host_channels pointers to samples of one channel each, as the plugin formats have
 * them; a host with interleaved samples of one channel passes them as they are. An output may be
 * the memory of an input. The model runs whenever a block is complete, so that one call can cost
 * several blocks and the next none. During the call denormal numbers count as zero, so that silence
 * costs what sound does. After an error of the model the output is silence, and every
 * call fails until the pipe is reset. Errors: INVALID_ARGUMENT also after sl_pipe_flush.
 * [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_pipe_process(sl_pipe* pipe, const float* const* in, float* const* out,
                                 int64_t frames, sl_error* error);

/* Ends the input and writes what is still to come, sl_pipe_latency frames in all: at most `frames`,
 * up to max_frames, a call. Returns how many were written, 0 when all has come; -1 after an error.
 * What follows the first sl_pipe_latency frames of the whole output is as long as the input, and is
 * what sl_layer_apply makes of it if rates are equal. A model that sounds longer than its input is
 * heard on by processing silence instead. [one-thread-per-state] [realtime]
 * Since 1.0. */
SL_API int64_t sl_pipe_flush(sl_pipe* pipe, float* const* out, int64_t frames, sl_error* error);

/* Sets a pipe back to the start of its stream, and ends a cross-fade. [one-thread-per-state]
 * [realtime] Since 1.0. */
SL_API sl_status sl_pipe_reset(sl_pipe* pipe, sl_error* error);

/* Frames by which the output is late, exactly, at any sizes of calls: what sl_layer_apply makes at
 * a position comes that much later. It covers the model's latency, its block and the converters. 0
 * for null. Changes with sl_pipe_swap only. [one-thread-per-state] [realtime] Since 1.0. */
SL_API int64_t sl_pipe_latency(const sl_pipe* pipe);

/* Number of channels, and of pointers that calls take; 0 for null. [any-thread] [realtime]
 * Since 1.0. */
SL_API int64_t sl_pipe_host_channels(const sl_pipe* pipe);

/* Sets the share of the input, late by sl_pipe_latency, in the output: 0, the model alone, to 1,
 * the input alone. It gets there within a fiftieth of a second of audio. [any-thread] [realtime]
 * Since 1.0. */
SL_API sl_status sl_pipe_set_dry(sl_pipe* pipe, float dry, sl_error* error);

/* Exchanges the models of two pipes of the same host_rate, host_channels and max_frames, while
 * `pipe` plays. `next` was made for the new model on another thread, and is at its start. The old
 * model is heard until the new one has had its latency and the past that it needs, a second at
 * most, and fades into it. `next` has the old model from now on: leave it alone until
 * sl_pipe_is_fading gives 0, and free it, then its layer, on another thread. Both models run until
 * then. Tell the host of a new latency. Errors: INVALID_ARGUMENT also in a fade, and after a flush.
 * [one-thread-per-state] [realtime] Since 1.0. */
SL_API sl_status sl_pipe_swap(sl_pipe* pipe, sl_pipe* next, sl_error* error);

/* 1 while the model from before sl_pipe_swap is needed, otherwise 0, also for null.
 * [one-thread-per-state] [realtime] Since 1.0. */
SL_API int32_t sl_pipe_is_fading(const sl_pipe* pipe);

/* Frees a pipe. [one-thread-per-state] Since 1.0. */
SL_API void sl_pipe_free(sl_pipe* pipe);

/* Makes the model of a JSON config and its weights (null: it needs none). The config is one JSON
 * object in UTF-8, of `config_size` bytes, that repeats no key within an object. Every tensor must
 * be used, and every tensor that a layer needs must be there. The layer keeps what it needs of the
 * weights alive. `options` may be null. The caller frees the layer. Errors: CONFIG, WEIGHTS,
 * UNSUPPORTED, IO if the weights' file was written to after it was
 * opened. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_create(const char* config, size_t config_size, const sl_weights* weights,
                                 const sl_layer_options* options, sl_layer** out, sl_error* error);

/* Writes the weights of a layer as it holds them: a safetensors file whose matrices are packed in
 * their formats, with the metadata of the layer's weights. A layer that is made of it and of the
 * same config maps the matrices and neither copies nor converts them. The file is written under a
 * temporary name and then renamed, so that it may replace one that is in use. Errors: IO,
 * INVALID_ARGUMENT if the layer has no weights. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_save_weights(const sl_layer* layer, const char* path, sl_error* error);

/* Weights in int8 and int4 that are rounded for given data. */
typedef struct sl_calibration sl_calibration;

/* Rounds the matrices of a directory's model to which options->weight_format gives int8 or int4,
 * with error feedback: x is run layer-wise, with the constants of `run_options`, and the error of
 * each weight is made up for by weights of other inputs, as far as the inputs of that matrix go
 * together in x (GPTQ). Speech or text of a minute is enough for most models. The same data give
 * the same weights on one machine. Inputs of matrices that have more than 2048 are taken in
 * segments of 2048; matrices that see fewer than 32 rows of inputs are rounded to the nearest. The
 * model is run on one thread, once to count and then once for each 512 MiB of statistics. `options`
 * and `run_options` may be null. The caller frees the calibration. Errors: as sl_layer_open and
 * sl_layer_apply; INVALID_ARGUMENT if no matrix is to be int8 or int4, or if none sees 32 rows.
 * [any-thread] Since 1.0. */
SL_API sl_status sl_calibration_create(const char* directory, const sl_layer_options* options,
                                       const sl_sequence* x, const sl_run_options* run_options,
                                       sl_calibration** out, sl_error* error);

/* Null is allowed. Layers that were opened with it may live on. [any-thread] Since 1.0. */
SL_API void sl_calibration_free(sl_calibration* calibration);

/* Opens a model as sl_layer_open does, with the calibrated weights in each matrix that is to have
 * the format in which they are. sl_layer_save_weights writes them; the file is one like any other.
 * The caller frees the layer. Errors: as sl_layer_open; INVALID_ARGUMENT if the weights are not
 * those that were calibrated. [any-thread] Since 1.0. */
SL_API sl_status sl_layer_open_calibrated(const char* directory, const sl_layer_options* options,
                                          const sl_calibration* calibration, sl_layer** out,
                                          sl_error* error);

/* Makes an empty set of tensors (sl_weights). Tensors are named by the reference's variable paths,
 * collection first and joined by dots: "params.conv1d.kernel". A complex tensor is stored as
 * "<name>@complex64" with a last axis of (real, imaginary), and found by its plain name. The caller
 * frees the set. [any-thread] Since 1.0. */
SL_API sl_status sl_weights_create(sl_weights** out, sl_error* error);

/* Maps the tensors of a safetensors file, which must be a regular file that follows the format as
 * strictly as the safetensors library (0.8) demands, and that names nothing twice. It must stay
 * unchanged while the set and the layers made of it live: memory that another process has cut off
 * raises SIGBUS when it is read. To replace a file by renaming another one is safe. The caller
 * frees the set. Errors: IO, WEIGHTS. [any-thread] Since 1.0. */
SL_API sl_status sl_weights_open(const char* path, sl_weights** out, sl_error* error);

/* Copies the tensors of a safetensors image of `size` bytes in memory. The caller frees the set.
 * Errors: WEIGHTS. [any-thread] Since 1.0. */
SL_API sl_status sl_weights_read(const void* data, size_t size, sl_weights** out, sl_error* error);

/* Frees a set of tensors. Layers made of it live on. [any-thread] Since 1.0. */
SL_API void sl_weights_free(sl_weights* weights);

/* Adds a copy of a contiguous tensor, which counts as an array whatever `is_array` says. Errors:
 * INVALID_ARGUMENT also for a name that is taken. [one-thread-per-state] Since 1.0. */
SL_API sl_status sl_weights_add(sl_weights* weights, const char* name, const sl_sequence* tensor,
                                sl_error* error);

/* Number of tensors; 0 for null. [any-thread] [realtime] Since 1.0. */
SL_API int64_t sl_weights_tensor_count(const sl_weights* weights);

/* Name and view of a tensor, in order of names. `name` and `tensor` may be null; what they get
 * lives as long as the set. [any-thread] Since 1.0. */
SL_API sl_status sl_weights_tensor(const sl_weights* weights, int64_t index, const char** name,
                                   sl_sequence* tensor, sl_error* error);

/* View of the tensor of that name, which lives as long as the set. Errors: WEIGHTS if there is
 * none. [any-thread] Since 1.0. */
SL_API sl_status sl_weights_find(const sl_weights* weights, const char* name, sl_sequence* tensor,
                                 sl_error* error);

/* An entry of the file's metadata; null if there is none of that key. The string lives as long as
 * the set. [any-thread] [realtime] Since 1.0. */
SL_API const char* sl_weights_metadata(const sl_weights* weights, const char* key);

/* Gives a custom layer the tensors that belong to it, while it is being created. */
typedef struct sl_weight_source sl_weight_source;

/* View of the tensor `name`, such as "kernel", of a collection (null: "params") under the custom
 * layer's own path, sliced where the layer stands inside a Repeat. It lives as long as the layer.
 * Errors: WEIGHTS. [one-thread-per-state] Since 1.0. */
SL_API sl_status sl_weight_source_find(const sl_weight_source* source, const char* collection,
                                       const char* name, sl_sequence* tensor, sl_error* error);

/* Properties of a custom layer. Since 1.0. */
typedef struct sl_layer_properties {
  uint32_t struct_size;
  /* non-zero: it cannot step */
  int32_t layer_wise_only;
  /* 0: 1 */
  int64_t block_size;
  /* 0: 1 */
  int64_t output_ratio_numerator;
  /* 0: 1 */
  int64_t output_ratio_denominator;
  int64_t input_latency;
  /* 0: input_latency times the output ratio, rounded down; negative: none */
  int64_t output_latency;
  /* input steps relative to the output's; -SL_INFINITE: unbounded */
  int64_t receptive_field_start;
  int64_t receptive_field_end;
  /* non-zero: valid output steps depend on the values of invalid input steps, so that a model with
   * such a layer takes zeros for the invalid steps of its own input */
  int32_t reads_invalid_steps;
  /* non-zero: the state also advances on invalid steps, so that behind a layer with latency steps
   * differ from whole runs, as sl_layer_step_difference says */
  int32_t counts_invalid_steps;
} sl_layer_properties;
#define SL_LAYER_PROPERTIES_INIT \
  { (uint32_t)sizeof(sl_layer_properties), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
SL_API void sl_layer_properties_init(sl_layer_properties* out);

/* A custom layer. Each callback but `create` gets the instance that `create` made, and may be
 * called from several threads at once. Callbacks return SL_STATUS_OK or an error status, and may
 * fill `error`, which is never null: the call in which they run then fails with their status, or
 * with CALLBACK if it is none of sl_status, and with their message behind the path of the layer in
 * the config. They write output structs field by field, and no more bytes than struct_size says.
 * Views are contiguous and have masks. Where the output ratio is one, y's mask is a copy of x's;
 * otherwise all of it is 1. Both may be changed. Since 1.0. */
typedef struct sl_layer_callbacks {
  uint32_t struct_size;
  void* user_data;
  /* Makes an instance of the layer's JSON object (with "type"), which ends in zero. */
  sl_status (*create)(void* user_data, const char* config, const sl_weight_source* weights,
                      void** instance, sl_error* error);
  /* Frees the instance; may be null. */
  void (*destroy)(void* instance);
  /* Sets what differs from zero; null: a pointwise layer without state. */
  sl_status (*properties)(const void* instance, sl_layer_properties* properties, sl_error* error);
  /* Sets the output's channel spec; null: that of the input. */
  sl_status (*output_spec)(const void* instance, const sl_channel_spec* input,
                           sl_channel_spec* output, sl_error* error);
  /* Sets the bytes of state that one item of a batch needs for that input. The first item's state
   * is aligned to 64 bytes, and the next ones follow it: keep to a multiple of the alignment that
   * the state needs. Null: there is none. */
  sl_status (*state_size)(const void* instance, const sl_channel_spec* input, size_t* bytes,
                          sl_error* error);
  /* Sets the state of one item to the start of a stream; null: zeros. */
  sl_status (*state_init)(const void* instance, const sl_channel_spec* input, void* state,
                          sl_error* error);
  /* Runs a whole sequence. */
  sl_status (*layer)(const void* instance, const sl_sequence* x, sl_sequence* y, sl_error* error);
  /* Runs a block, and must be real-time safe if streams of it are to be. Invalid steps of x may
   * hold NaN. Making a state runs it a few times on zeros, and then sets the state anew. The state
   * of item b begins at `state` + b times what state_size set. Null: `layer`, for a layer without
   * state. */
  sl_status (*step)(const void* instance, void* state, const sl_sequence* x, sl_sequence* y,
                    sl_error* error);
  /* Runs a block of some items of the state (see sl_layer_step_slots): the state of item b of x
   * begins at `state` + slots[b] times what state_size set. Called where the slots are no
   * neighbours in order. Null: `step` runs for each range of neighbours, often a single slot. */
  sl_status (*step_slots)(const void* instance, void* state, const int64_t* slots, int64_t count,
                          const sl_sequence* x, sl_sequence* y, sl_error* error);
} sl_layer_callbacks;
#define SL_LAYER_CALLBACKS_INIT                                                                 \
  {                                                                                             \
    (uint32_t)sizeof(sl_layer_callbacks), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, \
        NULL                                                                                    \
  }
SL_API void sl_layer_callbacks_init(sl_layer_callbacks* out);

/* Makes a registry (sl_registry), which knows the built-in layers. The caller frees it.
 * [any-thread] Since 1.0. */
SL_API sl_status sl_registry_create(sl_registry** out, sl_error* error);

/* Frees a registry. Layers made with it live on. [any-thread] Since 1.0. */
SL_API void sl_registry_free(sl_registry* registry);

/* Makes a custom layer usable as `type` in any config that is created with this registry, inside
 * any combinator. `create` and `layer` must not be null. The table is copied; user_data must
 * outlive the layers. Errors: INVALID_ARGUMENT also for a name that is taken.
 * [one-thread-per-state] Since 1.0. */
SL_API sl_status sl_registry_add(sl_registry* registry, const char* type,
                                 const sl_layer_callbacks* callbacks, sl_error* error);

/* Number of layer types; a null registry stands for the built-in layers, and gives 0 if there is no
 * memory for their list, which the first call makes. [any-thread] Since 1.0. */
SL_API int64_t sl_registry_type_count(const sl_registry* registry);

/* Name of a layer type, in order of names; null if there is none of that index. The string lives as
 * long as the registry. [any-thread] Since 1.0. */
SL_API const char* sl_registry_type(const sl_registry* registry, int64_t index);

/* Memory for layers, states and workspaces, from the caller. `allocate` returns null on failure.
 * Both are called from any thread that creates, applies or frees, never from sl_layer_step. They
 * are given together: a struct without them means the default. Since 1.0. */
struct sl_allocator {
  uint32_t struct_size;
  void* user_data;
  void* (*allocate)(void* user_data, size_t size, size_t alignment);
  void (*deallocate)(void* user_data, void* memory, size_t size, size_t alignment);
};
#define SL_ALLOCATOR_INIT \
  { (uint32_t)sizeof(sl_allocator), NULL, NULL, NULL }
SL_API void sl_allocator_init(sl_allocator* out);

/* Severity of a log message. */
typedef int32_t sl_log_level;
enum {
  /* stands for SL_LOG_WARNING in sl_log_set */
  SL_LOG_DEFAULT = 0,
  SL_LOG_DEBUG = 1,
  SL_LOG_INFO = 2,
  SL_LOG_WARNING = 3,
  SL_LOG_ERROR = 4,
  SL_LOG_OFF = 5
};

/* Gets a log message, which ends in zero and lives during the call. */
typedef void (*sl_log_callback)(void* user_data, sl_log_level level, const char* message);

/* Sends log messages of at least `level` to `callback`; null, the default, sends them to stderr.
 * Steps never log. It must not run while other threads are inside the library:
 * [one-thread-per-state] of all handles together. Since 1.0. */
SL_API void sl_log_set(sl_log_callback callback, void* user_data, sl_log_level level);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* SEQUENCE_LAYERS_SEQUENCE_LAYERS_H_ */
