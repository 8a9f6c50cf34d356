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

typedef sl_status (*slots_function)(const sl_layer*, sl_state*, const int64_t*, int64_t,
                                    const sl_sequence*, sl_sequence*, const sl_run_options*,
                                    sl_error*);

/* Streams and what steps them: `step` those of states of their own, or else `step_slots` those in
 * the slots of one state for each thread. */
typedef struct {
  step_function step;
  slots_function step_slots;
  const sl_layer* layer;
  sl_state** states;
  const int64_t* slots; /* 0, 1, 2... */
  sl_sequence x, y;     /* of one stream */
  char *input, *output;
  int64_t input_bytes, output_bytes; /* of one stream in one block */
  int64_t streams, blocks, first, count, threads;
} streams_run;

typedef struct {
  const streams_run* run;
  int64_t thread;
  int failed;
} share;

static void* run_share(void* argument) {
  share* s = argument;
  const streams_run* r = s->run;
  int64_t from = r->streams * s->thread / r->threads;
  int64_t to = r->streams * (s->thread + 1) / r->threads;
  int64_t together = r->step ? 1 : to - from;
  sl_sequence x = r->x, y = r->y;
  x.dims[0] = y.dims[0] = together;
  for (int64_t i = 0, block = r->first % r->blocks; i < r->count && !s->failed; ++i) {
    for (int64_t k = from; k < to && !s->failed; k += together) {
      x.data = r->input + r->input_bytes * (r->streams * block + k);
      y.data = r->output + r->output_bytes * k;
      s->failed = r->step ? r->step(r->layer, r->states[k], &x, &y, NULL, NULL)
                          : r->step_slots(r->layer, r->states[s->thread], r->slots, together, &x,
                                          &y, NULL, NULL);
    }
    if (++block == r->blocks) block = 0;
  }
  return NULL;
}

/* Steps all streams in each of `count` rounds, shared between threads. The input holds `blocks`
 * blocks of one item for each stream, of which the round `first` comes first; the output has room
 * for a block of each. Negative: it failed. */
double loop_streams(const streams_run* run) {
  share shares[MOST_THREADS];
  pthread_t ids[MOST_THREADS];
  double start = now();
  for (int64_t t = 0; t < run->threads; ++t) {
    shares[t] = (share){run, t, 0};
    if (t) pthread_create(&ids[t], NULL, run_share, &shares[t]);
  }
  run_share(&shares[0]);
  int failed = shares[0].failed;
  for (int64_t t = 1; t < run->threads; ++t) {
    pthread_join(ids[t], NULL);
    failed |= shares[t].failed;
  }
  return failed ? -1 : now() - start;
}

/* Steps some slots more often than others, so that they are at `positions` different positions, as
 * streams are that began at different times. Returns whether it failed. */
int spread_streams(const streams_run* run, int64_t positions) {
  int failed = 0;
  int64_t* chosen = malloc((size_t)run->streams * sizeof(int64_t));
  for (int64_t t = 0; t < run->threads; ++t) {
    int64_t from = run->streams * t / run->threads, to = run->streams * (t + 1) / run->threads;
    for (int64_t position = 1; position < positions; ++position) {
      int64_t count = 0;
      for (int64_t slot = 0; slot < to - from; ++slot) {
        if (slot % positions >= position) chosen[count++] = slot;
      }
      sl_sequence x = run->x, y = run->y;
      x.dims[0] = y.dims[0] = count;
      x.data = run->input + run->input_bytes * from;
      y.data = run->output + run->output_bytes * from;
      if (count)
        failed |= run->step_slots(run->layer, run->states[t], chosen, count, &x, &y, NULL, NULL);
    }
  }
  free(chosen);
  return failed;
}
