/* Plays Magenta RealTime frame by frame: conditioning, tokens, sound. */
#ifndef MAGENTA_LIVE_ENGINE_H_
#define MAGENTA_LIVE_ENGINE_H_

#include <sequence_layers/sequence_layers.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct live_engine_options {
  /* with the model directories conditioning, decoder and codec_decoder */
  const char* directory;
  /* of all three, as sl_layer_options has them; null, 0: its defaults */
  const char* weight_format;
  int32_t num_step_threads;
  /* Non-zero: the sound of a frame is made on a thread of its own while the tokens of the next one
   * are chosen, so that it comes one frame later. */
  int32_t pipelined;
  /* as sl_decoder_options has them */
  float temperature;
  float top_p;
  int64_t top_k;
  uint64_t seed;
} live_engine_options;

/* Seconds that a frame took. */
typedef struct live_times {
  double conditioning;
  /* The tokens of a frame: one step of the temporal body, and one of the depth body for each. */
  double temporal;
  double depth;
  double codec;
  /* from the call to its return, which is less than the sum if pipelined */
  double total;
} live_times;

typedef struct live_engine live_engine;

/* Opens the models. `error` is not null. The caller frees the engine. */
sl_status live_engine_create(const live_engine_options* options, live_engine** out,
                             sl_error* error);

/* Null is allowed. */
void live_engine_free(live_engine* engine);

int64_t live_engine_samples(const live_engine* engine); /* of each channel in a frame */
int64_t live_engine_channels(const live_engine* engine);
double live_engine_sample_rate(const live_engine* engine);
/* Samples by which the sound is late: the latency of the codec, and one frame if pipelined. */
int64_t live_engine_latency(const live_engine* engine);

/* Makes the next frame for tokens of the conditioning. `sound` gets its samples, interleaved; the
 * first frame of a pipelined engine is silent. Allocates nothing. */
sl_status live_engine_play(live_engine* engine, const int32_t* tokens, float* sound,
                           live_times* times, sl_error* error);

/* A clock for intervals, in seconds. */
double live_now(void);

#ifdef __cplusplus
}
#endif

#endif /* MAGENTA_LIVE_ENGINE_H_ */
