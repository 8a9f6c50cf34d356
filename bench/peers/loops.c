/* Loops over calls of this library, so that no interpreter runs between them. Times are wall-clock
 * seconds. */
#include <pthread.h>
#include <sequence_layers/sequence_layers.h>
#include <stdlib.h>
#include <time.h>

typedef sl_status (*step_function)(const sl_layer*, sl_state*, const sl_sequence*, sl_sequence*,
                                   const sl_run_options*, sl_error*);
typedef sl_status (*apply_function)(const sl_layer*, const sl_sequence*, sl_sequence*,
                                    const sl_run_options*, sl_error*);

typedef sl_status (*reset_function)(sl_state*, sl_error*);

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Steps `count` times over `blocks` blocks of the input that lie `stride` bytes apart, from block
 * `first`. Negative: it failed. */
double loop_steps(step_function step, const sl_layer* layer, sl_state* state, sl_sequence* x,
                  sl_sequence* y, char* input, int64_t stride, int64_t blocks, int64_t first,
                  int64_t count) {
  int64_t block = first % blocks;
  double start = now();
  for (int64_t i = 0; i < count; ++i) {
    x->data = input + stride * block;
    if (++block == blocks) block = 0;
    if (step(layer, state, x, y, NULL, NULL)) return -1;
  }
  return now() - start;
}

/* Runs the whole sequence `count` times; with a state, as the start of its stream. */
double loop_applies(apply_function apply, reset_function reset, const sl_layer* layer,
                    sl_state* state, const sl_sequence* x, sl_sequence* y, int64_t count) {
  sl_run_options options = SL_RUN_OPTIONS_INIT;
  options.state = state;
  double start = now();
  for (int64_t i = 0; i < count; ++i) {
    if (state && reset(state, NULL)) return -1;
    if (apply(layer, x, y, &options, NULL)) return -1;
  }
  return now() - start;
}

#define MOST_THREADS 16

/* Bytes of a sequence of four-byte elements. */
static size_t sequence_bytes(const sl_sequence* s) {
  size_t size = 4;
  for (int32_t i = 0; i < s->rank; ++i) size *= (size_t)s->dims[i];
  return size;
}

typedef struct {
  step_function step;
  const sl_layer* layer;
  sl_state** states;
  sl_sequence x, y;
  char* input;
  int64_t item, from, to, streams, blocks, count;
  int failed;
} share;

static void* run_share(void* argument) {
  share* s = argument;
  for (int64_t i = 0, block = 0; i < s->count && !s->failed; ++i) {
    for (int64_t k = s->from; k < s->to && !s->failed; ++k) {
      s->x.data = s->input + s->item * (s->streams * block + k);
      s->failed = s->step(s->layer, s->states[k], &s->x, &s->y, NULL, NULL) != SL_STATUS_OK;
    }
    if (++block == s->blocks) block = 0;
  }
  return NULL;
}

/* Steps `streams` states in each of `count` rounds, shared between threads. The output y has room
 * for one stream; the other threads write to memory of their own. The input holds `blocks` blocks
 * of one item of `item` bytes for each stream. */
double loop_streams(step_function step, const sl_layer* layer, sl_state** states,
                    const sl_sequence* x, const sl_sequence* y, char* input, int64_t item,
                    int64_t streams, int64_t blocks, int64_t count, int64_t threads) {
  share shares[MOST_THREADS];
  pthread_t ids[MOST_THREADS];
  size_t size = sequence_bytes(y);
  double start = now();
  for (int64_t t = 0; t < threads; ++t) {
    shares[t] = (share){step,
                        layer,
                        states,
                        *x,
                        *y,
                        input,
                        item,
                        streams * t / threads,
                        streams * (t + 1) / threads,
                        streams,
                        blocks,
                        count,
                        0};
    if (t) {
      shares[t].y.data = malloc(size);
      pthread_create(&ids[t], NULL, run_share, &shares[t]);
    }
  }
  run_share(&shares[0]);
  int failed = shares[0].failed;
  for (int64_t t = 1; t < threads; ++t) {
    pthread_join(ids[t], NULL);
    free(shares[t].y.data);
    failed |= shares[t].failed;
  }
  return failed ? -1 : now() - start;
}
