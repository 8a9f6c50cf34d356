/* Calls that build their structs of pointers in C, where Go may not, and the table of a custom
 * layer's callbacks. */
#ifndef SEQUENCE_LAYERS_GO_CALLS_H_
#define SEQUENCE_LAYERS_GO_CALLS_H_

#include <sequence_layers/sequence_layers.h>
#include <stdint.h>

static inline sl_run_options slgo_run(const sl_constant* constants, int64_t num_constants,
                                      sl_sequence* emits, int64_t num_emits) {
  sl_run_options out = SL_RUN_OPTIONS_INIT;
  out.constants = constants;
  out.num_constants = num_constants;
  out.emits = emits;
  out.num_emits = num_emits;
  return out;
}

/* Handles are numbers here: Go 1.19 allocates where it checks a pointer to an incomplete type. */
static inline sl_status slgo_step(uintptr_t layer, uintptr_t state, const sl_sequence* x,
                                  sl_sequence* y, const sl_constant* constants,
                                  int64_t num_constants, sl_sequence* emits, int64_t num_emits,
                                  sl_error* error) {
  if (num_constants == 0 && num_emits == 0) {
    return sl_layer_step((const sl_layer*)layer, (sl_state*)state, x, y, 0, error);
  }
  const sl_run_options run = slgo_run(constants, num_constants, emits, num_emits);
  return sl_layer_step((const sl_layer*)layer, (sl_state*)state, x, y, &run, error);
}

/* A step over samples of the caller's in place of those of x. */
static inline sl_status slgo_process(uintptr_t layer, uintptr_t state, const sl_sequence* x,
                                     char* samples, sl_sequence* y, const sl_constant* constants,
                                     int64_t num_constants, sl_sequence* emits, int64_t num_emits,
                                     sl_error* error) {
  sl_sequence given = *x;
  given.data = samples;
  return slgo_step(layer, state, &given, y, constants, num_constants, emits, num_emits, error);
}

static inline sl_status slgo_sample(uintptr_t decoder, int32_t* tokens, float* log_probs,
                                    uint8_t* mask, const sl_constant* constants,
                                    int64_t num_constants, sl_error* error) {
  const sl_run_options run = slgo_run(constants, num_constants, 0, 0);
  return sl_decoder_sample((sl_decoder*)decoder, tokens, log_probs, mask, &run, error);
}

sl_status slgo_registry_add(sl_registry* registry, const char* type, uintptr_t maker,
                            sl_error* error);

#endif
