/* An example of a custom layer: a leaky integrator, y[t] = decay * y[t - 1] + x[t], whose `decay`
 * is a weight. It consists of four callbacks. main runs it alone, in Serial and in Repeat. */
#include <math.h>
#include <sequence_layers/sequence_layers.h>
#include <stdlib.h>

#include "check.h"

typedef struct Integrator {
  float decay;
} Integrator;

/* First the callbacks of the layer. */

static sl_status integrator_create(void* user_data, const char* config,
                                   const sl_weight_source* weights, void** instance,
                                   sl_error* error) {
  (void)user_data;
  (void)config; /* the layer's JSON object, for layers with fields of their own */
  sl_sequence decay = SL_SEQUENCE_INIT;
  const sl_status status = sl_weight_source_find(weights, NULL, "decay", &decay, error);
  if (status != SL_STATUS_OK) return status;

  Integrator* integrator = malloc(sizeof(*integrator));
  if (integrator == NULL) return SL_STATUS_OUT_OF_MEMORY;
  integrator->decay = *(const float*)decay.data;
  if (fabsf(integrator->decay) >= 1) {
    snprintf(error->message, sizeof(error->message), "a decay of %g does not decay",
             (double)integrator->decay);
    free(integrator);
    return SL_STATUS_WEIGHTS;
  }
  *instance = integrator;
  return SL_STATUS_OK;
}

/* The state of a batch item is the last output of every channel. */
static sl_status integrator_state_size(const void* instance, const sl_channel_spec* input,
                                       size_t* bytes, sl_error* error) {
  (void)instance;
  if (input->dtype != SL_DTYPE_FLOAT32 || input->rank != 1) {
    snprintf(error->message, sizeof(error->message), "expected one axis of float32 channels");
    return SL_STATUS_SHAPE;
  }
  *bytes = (size_t)input->dims[0] * sizeof(float);
  return SL_STATUS_OK;
}

/* `last` is [batch, channels]. Invalid steps count as zero, as their values may be anything. */
static void integrate(const Integrator* integrator, float* last, const sl_sequence* x,
                      sl_sequence* y) {
  const int64_t time = x->dims[1], channels = x->dims[2];
  const float* in = x->data;
  float* out = y->data;
  for (int64_t b = 0; b < x->dims[0]; ++b) {
    for (int64_t t = 0; t < time; ++t) {
      const int valid = x->mask[b * time + t];
      for (int64_t c = 0; c < channels; ++c) {
        float* memory = &last[b * channels + c];
        *memory = integrator->decay * *memory + (valid ? *in : 0);
        *out++ = *memory;
        ++in;
      }
    }
  }
}

static sl_status integrator_layer(const void* instance, const sl_sequence* x, sl_sequence* y,
                                  sl_error* error) {
  (void)error;
  float* last = calloc((size_t)(x->dims[0] * x->dims[2]) + 1, sizeof(float));
  if (last == NULL) return SL_STATUS_OUT_OF_MEMORY;
  integrate(instance, last, x, y);
  free(last);
  return SL_STATUS_OK;
}

/* Real-time: it only uses memory that exists already. The state is zero at the start. */
static sl_status integrator_step(const void* instance, void* state, const sl_sequence* x,
                                 sl_sequence* y, sl_error* error) {
  (void)error;
  integrate(instance, state, x, y);
  return SL_STATUS_OK;
}

static sl_status integrator_properties(const void* instance, sl_layer_properties* properties,
                                       sl_error* failure) {
  (void)instance;
  (void)failure;
  properties->receptive_field_start = -SL_INFINITE;
  return SL_STATUS_OK;
}

static sl_layer_callbacks integrator_callbacks(void) {
  sl_layer_callbacks callbacks = SL_LAYER_CALLBACKS_INIT;
  callbacks.create = integrator_create;
  callbacks.destroy = free;
  callbacks.properties = integrator_properties;
  callbacks.state_size = integrator_state_size;
  callbacks.layer = integrator_layer;
  callbacks.step = integrator_step;
  return callbacks;
}

/* Then a program that uses it. */

enum { kBatch = 2, kTime = 6, kChannels = 3, kSize = kBatch * kTime * kChannels };

static sl_error error = SL_ERROR_INIT;

static sl_sequence sequence(float* data, int64_t time) {
  sl_sequence out = SL_SEQUENCE_INIT;
  out.rank = 3;
  out.dims[0] = kBatch;
  out.dims[1] = time;
  out.dims[2] = kChannels;
  out.data = data;
  return out;
}

/* Views the steps [begin, end) of a sequence of kTime steps, whose batch items are kTime steps
 * apart. */
static sl_sequence part(float* data, int64_t begin, int64_t end) {
  sl_sequence out = sequence(data + begin * kChannels, end - begin);
  out.strides[0] = kTime * kChannels * (int64_t)sizeof(float);
  out.strides[1] = kChannels * (int64_t)sizeof(float);
  out.strides[2] = (int64_t)sizeof(float);
  return out;
}

static void run_steps(const sl_layer* layer, sl_state* state, float* x, float* y, int64_t begin,
                      int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    const sl_sequence in = part(x, t, t + 1);
    sl_sequence out = part(y, t, t + 1);
    CHECK_OK(sl_layer_step(layer, state, &in, &out, NULL, &error));
  }
}

/* `decays` holds the weight: one value, or one for each repeat. */
static sl_status make(const char* config, const char* name, float* decays, int32_t repeats,
                      sl_layer** layer) {
  sl_registry* registry = NULL;
  CHECK_OK(sl_registry_create(&registry, &error));
  const sl_layer_callbacks callbacks = integrator_callbacks();
  CHECK_OK(sl_registry_add(registry, "LeakyIntegrator", &callbacks, &error));

  sl_sequence decay = SL_SEQUENCE_INIT;
  decay.is_array = 1;
  decay.rank = repeats > 0 ? 1 : 0;
  decay.dims[0] = repeats;
  decay.data = decays;
  sl_weights* weights = NULL;
  CHECK_OK(sl_weights_create(&weights, &error));
  CHECK_OK(sl_weights_add(weights, name, &decay, &error));

  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.registry = registry;
  const sl_status status =
      sl_layer_create(config, strlen(config), weights, &options, layer, &error);
  sl_weights_free(weights); /* the layer keeps what it needs of both */
  sl_registry_free(registry);
  return status;
}

/* Checks that the model gives `expected`, layer-wise and in steps, and also if its stream is saved
 * and loaded midway. */
static void check_model(const char* config, const char* name, float* decays, int32_t repeats,
                        float* x, const float* expected) {
  sl_layer* layer = NULL;
  CHECK_OK(make(config, name, decays, repeats, &layer));
  float y[kSize];
  const sl_sequence in = sequence(x, kTime);
  sl_sequence out = sequence(y, kTime);
  CHECK_OK(sl_layer_apply(layer, &in, &out, NULL, &error));
  for (int i = 0; i < kSize; ++i) CHECK(fabsf(y[i] - expected[i]) < 1e-5f);

  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.batch = kBatch;
  options.input.rank = 1;
  options.input.dims[0] = kChannels;
  sl_state *first = NULL, *second = NULL;
  CHECK_OK(sl_state_alloc(layer, &options, &first, &error));
  CHECK_OK(sl_state_alloc(layer, &options, &second, &error));
  float y_steps[kSize];
  run_steps(layer, first, x, y_steps, 0, kTime / 2);
  const size_t size = sl_state_save_size(first);
  void* saved = malloc(size);
  CHECK_OK(sl_state_save(first, saved, size, &error));
  CHECK_OK(sl_state_load(second, saved, size, &error));
  run_steps(layer, second, x, y_steps, kTime / 2, kTime);
  CHECK(memcmp(y, y_steps, sizeof(y)) == 0);

  free(saved);
  sl_state_free(second);
  sl_state_free(first);
  sl_layer_free(layer);
}

static void leak(float decay, float* values) {
  for (int i = 0; i < kSize; ++i) {
    if (i / kChannels % kTime > 0) values[i] += decay * values[i - kChannels];
  }
}

int main(void) {
  float x[kSize], expected[kSize];
  for (int i = 0; i < kSize; ++i) expected[i] = x[i] = (float)(i * 7 % 11) - 5;
  float decays[] = {0.5f, -0.25f};
  leak(decays[0], expected);
  check_model("{\"type\": \"LeakyIntegrator\"}", "params.decay", decays, 0, x, expected);

  float repeated[kSize];
  memcpy(repeated, expected, sizeof(expected));
  leak(decays[1], repeated); /* the second repeat has the second slice of the weight */
  check_model(
      "{\"type\": \"Repeat\", \"num_repeats\": 2, \"layer\": {\"type\": \"LeakyIntegrator\"}}",
      "params.child_layer.decay", decays, 2, x, repeated);

  for (int i = 0; i < kSize; ++i) expected[i] = fabsf(expected[i]);
  check_model(
      "{\"type\": \"Serial\", \"layers\": [{\"type\": \"LeakyIntegrator\", \"name\": \"leak\"},"
      " {\"type\": \"Abs\"}]}",
      "params.leak.decay", decays, 0, x, expected);

  /* A callback's error reaches the caller, with the layer's path in the config. */
  float grows = 1.5f;
  sl_layer* layer = NULL;
  CHECK(make("{\"type\": \"LeakyIntegrator\"}", "params.decay", &grows, 0, &layer) ==
        SL_STATUS_WEIGHTS);
  CHECK(strcmp(error.message,
               "$ (LeakyIntegrator): create failed: a decay of 1.5 does not decay") == 0);
  return report("custom_layer");
}
