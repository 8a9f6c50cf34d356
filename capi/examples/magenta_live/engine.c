#include "engine.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
  MAX_CODES = 64,
  MAX_PATH = 4096,
  MAX_CHANNELS = 2,
  /* tokens before the codes of the first codebook */
  RESERVED_TOKENS = 6
};

/* Makes sound of codes, on a thread of its own if there is one, which helps to choose the next
 * codes when the sound is made. */
typedef struct codec {
  sl_layer* layer;
  sl_state* state;
  sl_sequence x, y;
  int32_t codes[MAX_CODES];
  double seconds;
  sl_status status;
  sl_error error;

  pthread_t thread;
  int has_thread;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  atomic_int is_due; /* codes wait for the thread, or are being made into sound */
  int ends;
  const sl_layer* decoder;
  atomic_int decoder_is_busy; /* tokens are being chosen, on the caller's thread */
} codec;

struct live_engine {
  sl_layer* conditioning;
  sl_state* conditioning_state;
  sl_layer* decoder_layer;
  sl_decoder* decoder;
  codec codec;
  int is_pipelined;
  int has_codes; /* of the frame before, which are not yet sound */

  sl_sequence tokens;
  sl_constant source;
  float* source_values;
  int32_t chosen[MAX_CODES];
  int64_t codebook_size;
  double first_choice, last_choice; /* when a frame's first and last token were chosen */
  double sample_rate;
};

double live_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* `error` is not null. */
static sl_status fail(sl_error* error, const char* message) {
  error->code = SL_STATUS_INVALID_ARGUMENT;
  snprintf(error->message, sizeof(error->message), "%s", message);
  return error->code;
}

static sl_status open_part(const live_engine_options* options, const char* name, sl_layer** out,
                           sl_error* error) {
  char path[MAX_PATH];
  sl_layer_options layer_options = SL_LAYER_OPTIONS_INIT;
  layer_options.weight_format = options->weight_format;
  layer_options.num_step_threads = options->num_step_threads;
  /* The decoder's thread and the codec's help each other: whichever is done first is lent. */
  layer_options.max_lent_threads = options->pipelined ? 1 : 0;
  if (snprintf(path, sizeof(path), "%s/%s", options->directory, name) >= MAX_PATH)
    return fail(error, "the path is too long");
  return sl_layer_open(path, &layer_options, out, error);
}

/* Makes a stream of steps of one, and a view of an input step without data. */
static sl_status open_stream(const sl_layer* layer, sl_state** state, sl_sequence* x,
                             sl_error* error) {
  const sl_sequence empty = SL_SEQUENCE_INIT;
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  sl_status status = sl_layer_input_spec(layer, &options.input, error);
  if (status != SL_STATUS_OK) return status;
  *x = empty;
  x->dtype = options.input.dtype;
  x->rank = 2 + options.input.rank;
  x->dims[0] = x->dims[1] = 1;
  for (int32_t i = 0; i < options.input.rank; ++i) x->dims[2 + i] = options.input.dims[i];
  return sl_state_alloc(layer, &options, state, error);
}

static int64_t size_of(const sl_sequence* sequence) {
  int64_t size = 1;
  for (int32_t i = 0; i < sequence->rank; ++i) size *= sequence->dims[i];
  return size;
}

static sl_status open_conditioning(live_engine* engine, const live_engine_options* options,
                                   sl_error* error) {
  sl_status status = open_part(options, "conditioning", &engine->conditioning, error);
  if (status == SL_STATUS_OK)
    status = open_stream(engine->conditioning, &engine->conditioning_state, &engine->tokens, error);
  if (status == SL_STATUS_OK)
    status = sl_layer_output_shape(engine->conditioning, SL_MODE_STEP, &engine->tokens, NULL,
                                   &engine->source.value, error);
  if (status != SL_STATUS_OK) return status;
  engine->source_values = calloc((size_t)size_of(&engine->source.value), sizeof(float));
  if (!engine->source_values) return fail(error, "out of memory");
  engine->source.value.data = engine->source_values;
  return status;
}

/* Leaves every choice to the decoder, and notes when it is made. */
static int64_t note_choice(void* data, int64_t slot, int64_t part, const float* logits,
                           int64_t count) {
  live_engine* engine = data;
  (void)slot;
  (void)logits;
  engine->codebook_size = count;
  engine->last_choice = live_now();
  if (part == 0) engine->first_choice = engine->last_choice;
  return -1;
}

static sl_status open_decoder(live_engine* engine, const live_engine_options* options,
                              sl_error* error) {
  sl_constant_info info = SL_CONSTANT_INFO_INIT;
  sl_decoder_options choices = SL_DECODER_OPTIONS_INIT;
  sl_status status = open_part(options, "decoder", &engine->decoder_layer, error);
  if (status == SL_STATUS_OK) status = sl_layer_constant(engine->decoder_layer, 0, &info, error);
  if (status != SL_STATUS_OK) return status;
  engine->source.name = info.name;
  choices.temperature = options->temperature;
  choices.top_k = options->top_k;
  choices.top_p = options->top_p;
  choices.seed = options->seed;
  choices.constants = &engine->source;
  choices.num_constants = 1;
  choices.choose = note_choice;
  choices.choose_data = engine;
  return sl_decoder_create(engine->decoder_layer, &choices, &engine->decoder, error);
}

static sl_status open_codec(live_engine* engine, const live_engine_options* options,
                            sl_error* error) {
  codec* codec = &engine->codec;
  sl_status status = open_part(options, "codec_decoder", &codec->layer, error);
  if (status == SL_STATUS_OK) status = open_stream(codec->layer, &codec->state, &codec->x, error);
  if (status == SL_STATUS_OK)
    status = sl_layer_output_shape(codec->layer, SL_MODE_STEP, &codec->x, NULL, &codec->y, error);
  if (status != SL_STATUS_OK) return status;
  const char* rate = sl_layer_metadata(codec->layer, "sample_rate");
  engine->sample_rate = rate ? strtod(rate, NULL) : 0;
  if (!(engine->sample_rate > 0)) return fail(error, "codec_decoder has no sample_rate");
  const int64_t codes = sl_decoder_step_tokens(engine->decoder);
  if (codes > MAX_CODES || size_of(&codec->x) != codes)
    return fail(error, "codec_decoder and decoder differ in the codes of a frame");
  if (codec->y.rank != 3 || codec->y.dims[2] > MAX_CHANNELS || codec->y.dtype != SL_DTYPE_FLOAT32)
    return fail(error, "codec_decoder makes no sound of one or two channels");
  codec->x.data = codec->codes;
  return SL_STATUS_OK;
}

/* The step of the codec, whose sound goes to y.data. */
static void make_sound(codec* codec) {
  const double start = live_now();
  codec->status =
      sl_layer_step(codec->layer, codec->state, &codec->x, &codec->y, NULL, &codec->error);
  codec->seconds = live_now() - start;
}

static int32_t needs_decoder_help(void* data) {
  const codec* codec = data;
  return atomic_load(&codec->decoder_is_busy) && !atomic_load(&codec->is_due);
}

static int32_t needs_codec_help(void* data) { return atomic_load(&((const codec*)data)->is_due); }

static void* run_codec(void* data) {
  codec* codec = data;
  pthread_mutex_lock(&codec->mutex);
  for (;;) {
    while (!atomic_load(&codec->is_due) && !codec->ends)
      pthread_cond_wait(&codec->changed, &codec->mutex);
    if (codec->ends) break;
    pthread_mutex_unlock(&codec->mutex);
    make_sound(codec);
    pthread_mutex_lock(&codec->mutex);
    atomic_store(&codec->is_due, 0);
    pthread_cond_signal(&codec->changed);
    pthread_mutex_unlock(&codec->mutex);
    sl_layer_lend_thread(codec->decoder, needs_decoder_help, codec, NULL);
    pthread_mutex_lock(&codec->mutex);
  }
  pthread_mutex_unlock(&codec->mutex);
  return NULL;
}

static void hand_over(codec* codec) {
  pthread_mutex_lock(&codec->mutex);
  atomic_store(&codec->is_due, 1);
  atomic_store(&codec->decoder_is_busy, 1);
  pthread_cond_signal(&codec->changed);
  pthread_mutex_unlock(&codec->mutex);
}

static void wait_for_sound(codec* codec) {
  atomic_store(&codec->decoder_is_busy, 0);
  sl_layer_lend_thread(codec->layer, needs_codec_help, codec, NULL);
  pthread_mutex_lock(&codec->mutex);
  while (atomic_load(&codec->is_due)) pthread_cond_wait(&codec->changed, &codec->mutex);
  pthread_mutex_unlock(&codec->mutex);
}

static sl_status start_codec_thread(codec* codec, const sl_layer* decoder, sl_error* error) {
  codec->decoder = decoder;
  pthread_mutex_init(&codec->mutex, NULL);
  pthread_cond_init(&codec->changed, NULL);
  codec->has_thread = pthread_create(&codec->thread, NULL, run_codec, codec) == 0;
  return codec->has_thread ? SL_STATUS_OK : fail(error, "no thread for the codec");
}

sl_status live_engine_create(const live_engine_options* options, live_engine** out,
                             sl_error* error) {
  const sl_error no_error = SL_ERROR_INIT;
  const sl_sequence empty = SL_SEQUENCE_INIT;
  live_engine* engine = calloc(1, sizeof(live_engine));
  if (!engine) return fail(error, "out of memory");
  engine->codec.error = no_error;
  engine->codec.y = engine->source.value = empty;
  engine->is_pipelined = options->pipelined;
  sl_status status = open_conditioning(engine, options, error);
  if (status == SL_STATUS_OK) status = open_decoder(engine, options, error);
  if (status == SL_STATUS_OK) status = open_codec(engine, options, error);
  if (status == SL_STATUS_OK && options->pipelined)
    status = start_codec_thread(&engine->codec, engine->decoder_layer, error);
  if (status == SL_STATUS_OK) {
    *out = engine;
  } else {
    live_engine_free(engine);
  }
  return status;
}

static void close_codec(codec* codec) {
  if (codec->has_thread) {
    pthread_mutex_lock(&codec->mutex);
    codec->ends = 1;
    pthread_cond_signal(&codec->changed);
    pthread_mutex_unlock(&codec->mutex);
    pthread_join(codec->thread, NULL);
    pthread_cond_destroy(&codec->changed);
    pthread_mutex_destroy(&codec->mutex);
  }
  sl_state_free(codec->state);
  sl_layer_free(codec->layer);
}

void live_engine_free(live_engine* engine) {
  if (!engine) return;
  close_codec(&engine->codec);
  sl_decoder_free(engine->decoder);
  sl_layer_free(engine->decoder_layer);
  sl_state_free(engine->conditioning_state);
  sl_layer_free(engine->conditioning);
  free(engine->source_values);
  free(engine);
}

int64_t live_engine_samples(const live_engine* engine) { return engine->codec.y.dims[1]; }
int64_t live_engine_channels(const live_engine* engine) { return engine->codec.y.dims[2]; }
double live_engine_sample_rate(const live_engine* engine) { return engine->sample_rate; }

int64_t live_engine_latency(const live_engine* engine) {
  int64_t latency = 0;
  if (sl_layer_output_latency(engine->codec.layer, &latency, NULL) != SL_STATUS_OK) latency = 0;
  return latency + (engine->is_pipelined ? live_engine_samples(engine) : 0);
}

/* Chooses the tokens of a frame. */
static sl_status choose_tokens(live_engine* engine, const int32_t* tokens, live_times* times,
                               sl_error* error) {
  const double start = live_now();
  sl_run_options run = SL_RUN_OPTIONS_INIT;
  run.constants = &engine->source;
  run.num_constants = 1;
  engine->tokens.data = (void*)tokens; /* which a step only reads */
  sl_status status = sl_layer_step(engine->conditioning, engine->conditioning_state,
                                   &engine->tokens, &engine->source.value, NULL, error);
  const double middle = live_now();
  if (status == SL_STATUS_OK)
    status = sl_decoder_sample(engine->decoder, engine->chosen, NULL, NULL, &run, error);
  times->conditioning = middle - start;
  /* The first token takes a step of both bodies; each further one a step of the depth body. */
  const double steps = (double)sl_decoder_step_tokens(engine->decoder) - 1;
  const double depth = steps > 0 ? (engine->last_choice - engine->first_choice) / steps : 0;
  times->depth = depth * (steps + 1);
  times->temporal = live_now() - middle - times->depth;
  return status;
}

/* The codec's numbers of the chosen tokens. */
static void take_codes(live_engine* engine) {
  for (int64_t i = 0; i < sl_decoder_step_tokens(engine->decoder); ++i) {
    engine->codec.codes[i] =
        (int32_t)((engine->chosen[i] - RESERVED_TOKENS) % engine->codebook_size);
  }
}

sl_status live_engine_play(live_engine* engine, const int32_t* tokens, float* sound,
                           live_times* times, sl_error* error) {
  const double start = live_now();
  codec* codec = &engine->codec;
  const int is_pipelined = engine->is_pipelined, has_sound = !is_pipelined || engine->has_codes;
  codec->y.data = sound;
  codec->seconds = 0;
  if (is_pipelined && has_sound) hand_over(codec);
  sl_status status = choose_tokens(engine, tokens, times, error);
  if (is_pipelined) wait_for_sound(codec);
  if (status == SL_STATUS_OK) take_codes(engine);
  if (status == SL_STATUS_OK && !is_pipelined) make_sound(codec);
  if (status == SL_STATUS_OK && has_sound && codec->status != SL_STATUS_OK) {
    status = codec->status;
    if (error) *error = codec->error;
  }
  if (!has_sound) memset(sound, 0, (size_t)size_of(&codec->y) * sizeof(float));
  engine->has_codes = 1;
  times->codec = codec->seconds;
  times->total = live_now() - start;
  return status;
}
