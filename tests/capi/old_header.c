/* A program built with the header of version 1.0. It must run unchanged with every later 1.x, also
 * if its structs are shorter still. */
#include <sequence_layers/sequence_layers.h>
#include <stdlib.h>

#include "check.h"

#if SL_VERSION_MAJOR != 1 || SL_VERSION_MINOR != 0
#error "this is not the header of 1.0"
#endif

static sl_error error = SL_ERROR_INIT;

static const char kConfig[] =
    "{\"type\": \"Serial\", \"layers\": [{\"type\": \"Delay\", \"length\": 1}, {\"type\": "
    "\"Abs\"}]}";

static sl_sequence sequence(float* data, int64_t time) {
  sl_sequence out = SL_SEQUENCE_INIT;
  out.rank = 3;
  out.dims[0] = 1;
  out.dims[1] = time;
  out.dims[2] = 2;
  out.data = data;
  return out;
}

static sl_layer* make_layer(const sl_layer_options* options) {
  sl_layer* layer = NULL;
  CHECK_OK(sl_layer_create(kConfig, sizeof(kConfig) - 1, NULL, options, &layer, &error));
  return layer;
}

static void check_layer(const sl_layer* layer) {
  float x[] = {-1, 2, -3, 4}, y[6] = {9, 9, 9, 9, 9, 9};
  const sl_sequence in = sequence(x, 2);
  sl_sequence out = sequence(y, 3); /* a delay makes the whole longer */
  CHECK_OK(sl_layer_apply(layer, &in, &out, NULL, &error));
  CHECK(y[0] == 0 && y[1] == 0 && y[2] == 1 && y[3] == 2 && y[4] == 3 && y[5] == 4);
}

static void check_stream(const sl_layer* layer, const sl_state_options* options) {
  sl_state* state = NULL;
  CHECK_OK(sl_state_alloc(layer, options, &state, &error));
  if (state == NULL) return;
  float x[] = {-1, 2, -3, 4}, y[2] = {9, 9};
  for (int t = 0; t < 2; ++t) {
    const sl_sequence in = sequence(x + 2 * t, 1);
    sl_sequence out = sequence(y, 1);
    CHECK_OK(sl_layer_step(layer, state, &in, &out, NULL, &error));
  }
  CHECK(y[0] == 1 && y[1] == 2);
  sl_state_free(state);
}

/* A struct that ends after `size` bytes, as in an older header. The memory behind it holds no valid
 * pointer, so that reading it is detected. */
static void* shortened(const void* options, size_t size, size_t full) {
  unsigned char* memory = malloc(full);
  memset(memory, 0xa5, full);
  memcpy(memory, options, size);
  const uint32_t struct_size = (uint32_t)size;
  memcpy(memory, &struct_size, sizeof(struct_size));
  return memory;
}

static void check_short_structs(void) {
  /* Layer options that end after struct_size and num_threads. */
  const sl_layer_options layer_options = SL_LAYER_OPTIONS_INIT;
  void* short_options =
      shortened(&layer_options, offsetof(sl_layer_options, registry), sizeof(layer_options));
  sl_layer* layer = make_layer(short_options);
  free(short_options);
  if (layer == NULL) return;
  check_layer(layer);

  /* State options that end before constants and allocator. */
  sl_state_options state_options = SL_STATE_OPTIONS_INIT;
  state_options.input.rank = 1;
  state_options.input.dims[0] = 2;
  short_options =
      shortened(&state_options, offsetof(sl_state_options, constants), sizeof(state_options));
  check_stream(layer, short_options);
  free(short_options);

  /* Run options that end before emits. */
  const sl_run_options run_options = SL_RUN_OPTIONS_INIT;
  short_options = shortened(&run_options, offsetof(sl_run_options, emits), sizeof(run_options));
  float x[2] = {1, 2}, y[4];
  const sl_sequence in = sequence(x, 1);
  sl_sequence out = sequence(y, 2);
  CHECK_OK(sl_layer_apply(layer, &in, &out, short_options, &error));
  free(short_options);
  sl_layer_free(layer);
}

/* Checks that nothing is written beyond the end of a shorter error. */
static void check_short_error(void) {
  unsigned char bytes[64];
  memset(bytes, 0xa5, sizeof(bytes));
  sl_error* small = (sl_error*)(void*)bytes;
  const uint32_t struct_size = 32;
  memcpy(bytes, &struct_size, sizeof(struct_size));
  sl_layer* layer = NULL;
  CHECK(sl_layer_create("{}", 2, NULL, NULL, &layer, small) == SL_STATUS_CONFIG);
  sl_status code = SL_STATUS_OK;
  memcpy(&code, bytes + offsetof(sl_error, code), sizeof(code));
  CHECK(code == SL_STATUS_CONFIG);
  CHECK(memcmp(bytes + offsetof(sl_error, message), "$: the object has no \"t", 24) == 0);
  CHECK(bytes[31] == 0);
  for (size_t i = 32; i < sizeof(bytes); ++i) CHECK(bytes[i] == 0xa5);
}

int main(void) {
  CHECK(sl_version() >> 16 == SL_VERSION_MAJOR);
  CHECK(sl_version() >= (SL_VERSION_MAJOR << 16 | SL_VERSION_MINOR << 8));
  sl_layer* layer = make_layer(NULL);
  if (layer != NULL) {
    check_layer(layer);
    sl_state_options options = SL_STATE_OPTIONS_INIT;
    options.input.rank = 1;
    options.input.dims[0] = 2;
    check_stream(layer, &options);
  }
  sl_layer_free(layer);
  check_short_structs();
  check_short_error();
  return report("old_header");
}
