/* Loops over calls of this library, so that no interpreter runs between them. Times are wall-clock
 * seconds. */
#include <sequence_layers/sequence_layers.h>
#include <time.h>

typedef sl_status (*step_function)(const sl_layer*, sl_state*, const sl_sequence*, sl_sequence*,
                                   const sl_run_options*, sl_error*);
typedef sl_status (*apply_function)(const sl_layer*, const sl_sequence*, sl_sequence*,
                                    const sl_run_options*, sl_error*);

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

double loop_applies(apply_function apply, const sl_layer* layer, const sl_sequence* x,
                    sl_sequence* y, int64_t count) {
  double start = now();
  for (int64_t i = 0; i < count; ++i)
    if (apply(layer, x, y, NULL, NULL)) return -1;
  return now() - start;
}
