#include "_cgo_export.h"
#include "calls.h"

static sl_status create(void* user_data, const char* config, const sl_weight_source* weights,
                        void** instance, sl_error* error) {
  uintptr_t handle = 0;
  const sl_status status =
      slgoCreate((uintptr_t)user_data, (char*)config, (sl_weight_source*)weights, &handle, error);
  *instance = (void*)handle;
  return status;
}

static void destroy(void* instance) { slgoDestroy((uintptr_t)instance); }

static sl_status properties(const void* instance, sl_layer_properties* out, sl_error* error) {
  return slgoProperties((uintptr_t)instance, out, error);
}

static sl_status output_spec(const void* instance, const sl_channel_spec* input,
                             sl_channel_spec* out, sl_error* error) {
  return slgoOutputSpec((uintptr_t)instance, (sl_channel_spec*)input, out, error);
}

static sl_status state_size(const void* instance, const sl_channel_spec* input, size_t* bytes,
                            sl_error* error) {
  return slgoStateSize((uintptr_t)instance, (sl_channel_spec*)input, bytes, error);
}

static sl_status layer(const void* instance, const sl_sequence* x, sl_sequence* y,
                       sl_error* error) {
  return slgoLayer((uintptr_t)instance, (sl_sequence*)x, y, error);
}

static sl_status run_step(const void* instance, void* state, const sl_sequence* x, sl_sequence* y,
                          sl_error* error) {
  return slgoStep((uintptr_t)instance, state, (sl_sequence*)x, y, error);
}

static void forward(void* user_data, sl_log_level level, const char* message) {
  (void)user_data;
  slgoLog(level, (char*)message);
}

void slgo_log_set(int to_go, sl_log_level level) { sl_log_set(to_go ? forward : 0, 0, level); }

sl_status slgo_registry_add(sl_registry* registry, const char* type, uintptr_t maker,
                            sl_error* error) {
  sl_layer_callbacks callbacks = SL_LAYER_CALLBACKS_INIT;
  callbacks.user_data = (void*)maker;
  callbacks.create = create;
  callbacks.destroy = destroy;
  callbacks.properties = properties;
  callbacks.output_spec = output_spec;
  callbacks.state_size = state_size;
  callbacks.layer = layer;
  callbacks.step = run_step;
  return sl_registry_add(registry, type, &callbacks, error);
}
