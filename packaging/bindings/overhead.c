/* Prints what a step of a model that does nearly nothing costs in C, in seconds: the least mean of
 * several rounds. The bindings' overhead is what their steps cost beyond that. */
#include <sequence_layers/sequence_layers.h>
#include <stdio.h>
#include <time.h>

enum { kSteps = 20000, kRounds = 20 };

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int argc, char** argv) {
  sl_error error = SL_ERROR_INIT;
  sl_layer* model = NULL;
  sl_state* stream = NULL;
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  float in = 1, out = 0;
  double best = 1;
  sl_sequence x = SL_SEQUENCE_INIT, y = SL_SEQUENCE_INIT;
  x.rank = y.rank = 2;
  x.dims[0] = y.dims[0] = x.dims[1] = y.dims[1] = 1;
  x.data = &in;
  y.data = &out;
  sl_status status = sl_layer_open(argc > 1 ? argv[1] : "model", NULL, &model, &error);
  if (status == SL_STATUS_OK) status = sl_state_alloc(model, &options, &stream, &error);
  for (int round = 0; round < kRounds && status == SL_STATUS_OK; ++round) {
    const double start = seconds();
    for (int i = 0; i < kSteps && status == SL_STATUS_OK; ++i)
      status = sl_layer_step(model, stream, &x, &y, NULL, &error);
    const double mean = (seconds() - start) / kSteps;
    if (mean < best) best = mean;
  }
  if (status != SL_STATUS_OK) fprintf(stderr, "%s\n", error.message);
  if (status == SL_STATUS_OK) printf("%.3e\n", best);
  sl_state_free(stream);
  sl_layer_free(model);
  return status != SL_STATUS_OK;
}
