/* A program in C11 that uses the library as its users do. It runs a layer, reads an error and,
   given a model of one probability a block with sound and the expected probabilities (raw float32),
   streams the sound through the model: consumer [MODEL SOUND EXPECTED] */
#include <math.h>
#include <sequence_layers/sequence_layers.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kBlock = 512 };
static const double kTolerance = 1e-4;

static const char kGood[] = "{\"type\": \"Scale\", \"scale\": 2.0}";
static const char kBad[] = "{\"type\": \"Scal\"}";

static int fail(const char* what, const sl_error* error) {
  fprintf(stderr, "%s: %s\n", what, error->message);
  return 1;
}

static int check_layer(void) {
  sl_error error = SL_ERROR_INIT;
  sl_layer* layer = NULL;
  sl_state* state = NULL;
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  float in = 3, out = 0;
  sl_sequence x = SL_SEQUENCE_INIT, y = SL_SEQUENCE_INIT;
  x.rank = y.rank = 2;
  x.dims[0] = x.dims[1] = y.dims[0] = y.dims[1] = 1;
  x.data = &in;
  y.data = &out;
  if (sl_layer_create(kGood, strlen(kGood), NULL, NULL, &layer, &error) ||
      sl_state_alloc(layer, &options, &state, &error) ||
      sl_layer_step(layer, state, &x, &y, NULL, &error)) {
    return fail("Scale", &error);
  }
  sl_state_free(state);
  sl_layer_free(layer);
  if (sl_layer_create(kBad, strlen(kBad), NULL, NULL, &layer, &error) != SL_STATUS_CONFIG) {
    return fail("no error for an unknown layer", &error);
  }
  return out != 6 || !strstr(error.message, "Scale");
}

/* A pipe between sample rates needs libsamplerate, which the shared library loads. */
static int check_pipe(void) {
  sl_error error = SL_ERROR_INIT;
  sl_layer* layer = NULL;
  sl_pipe* pipe = NULL;
  sl_pipe_options options = SL_PIPE_OPTIONS_INIT;
  options.host_rate = 44100;
  options.model_rate = 16000;
  if (sl_layer_create(kGood, strlen(kGood), NULL, NULL, &layer, &error) ||
      sl_pipe_create(layer, &options, &pipe, &error)) {
    return fail("pipe", &error);
  }
  const int64_t latency = sl_pipe_latency(pipe);
  sl_pipe_free(pipe);
  sl_layer_free(layer);
  return latency <= 0;
}

/* Prints how many probabilities there were and the largest difference. */
static int check_model(const char* model, FILE* sound, FILE* expected) {
  sl_error error = SL_ERROR_INIT;
  sl_layer* layer = NULL;
  sl_state* stream = NULL;
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  float samples[kBlock], probability = 0, wanted = 0;
  double largest = 0;
  int count = 0;
  sl_sequence x = SL_SEQUENCE_INIT, y = SL_SEQUENCE_INIT;
  x.rank = 2, x.dims[0] = 1, x.dims[1] = kBlock, x.data = samples;
  y.rank = 3, y.dims[0] = y.dims[1] = y.dims[2] = 1, y.data = &probability;
  if (sl_layer_open(model, NULL, &layer, &error) ||
      sl_state_alloc(layer, &options, &stream, &error)) {
    return fail(model, &error);
  }
  while (fread(samples, sizeof(float), kBlock, sound) == kBlock &&
         fread(&wanted, sizeof(float), 1, expected) == 1) {
    if (sl_layer_step(layer, stream, &x, &y, NULL, &error)) return fail("step", &error);
    const double difference = fabs((double)probability - (double)wanted);
    if (!(difference <= largest)) largest = difference;
    ++count;
  }
  const int missing = fread(&wanted, sizeof(float), 1, expected) == 1;
  sl_state_free(stream);
  sl_layer_free(layer);
  printf("%d probabilities, largest difference %.1e\n", count, largest);
  return count == 0 || missing || !(largest <= kTolerance);
}

int main(int argc, char** argv) {
  if (check_layer() != 0 || (getenv("CONSUMER_RATES") && check_pipe() != 0)) return 1;
  if (argc == 1) {
    printf("ok\n");
    return 0;
  }
  if (argc != 4) return 2;
  FILE* sound = fopen(argv[2], "rb");
  FILE* expected = fopen(argv[3], "rb");
  if (!sound || !expected) {
    perror("consumer");
    return 1;
  }
  const int result = check_model(argv[1], sound, expected);
  fclose(sound);
  fclose(expected);
  return result;
}
