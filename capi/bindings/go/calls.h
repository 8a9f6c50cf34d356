/* Calls that build their structs of pointers in C, where Go may not, and the table of a custom
 * layer's callbacks. */
#ifndef SEQUENCE_LAYERS_GO_CALLS_H_
#define SEQUENCE_LAYERS_GO_CALLS_H_

#include <sequence_layers/sequence_layers.h>
#include <stdint.h>
#include <string.h>

/* Handles and other addresses are numbers here: Go 1.19 allocates where it checks a pointer to an
 * incomplete type. */
typedef struct slgo_extras {
  uintptr_t constants; /* const sl_constant* */
  int64_t num_constants;
  uintptr_t emits; /* sl_sequence* */
  int64_t num_emits;
  uintptr_t profile; /* sl_profile* */
} slgo_extras;

/* The options of a run with these extras; null, which is cheaper, without any. */
static inline const sl_run_options* slgo_run(const slgo_extras* extras, sl_run_options* out) {
  if (extras->num_constants == 0 && extras->num_emits == 0 && extras->profile == 0) return 0;
  sl_run_options_init(out);
  out->constants = (const sl_constant*)extras->constants;
  out->num_constants = extras->num_constants;
  out->emits = (sl_sequence*)extras->emits;
  out->num_emits = extras->num_emits;
  out->profile = (sl_profile*)extras->profile;
  return out;
}

static inline sl_status slgo_step(uintptr_t layer, uintptr_t state, const sl_sequence* x,
                                  sl_sequence* y, slgo_extras extras, sl_error* error) {
  sl_run_options run;
  return sl_layer_step((const sl_layer*)layer, (sl_state*)state, x, y, slgo_run(&extras, &run),
                       error);
}

/* A step over samples of the caller's in place of those of x. */
static inline sl_status slgo_process(uintptr_t layer, uintptr_t state, const sl_sequence* x,
                                     char* samples, sl_sequence* y, slgo_extras extras,
                                     sl_error* error) {
  sl_sequence given = *x;
  given.data = samples;
  return slgo_step(layer, state, &given, y, extras, error);
}

static inline sl_status slgo_step_slots(uintptr_t layer, uintptr_t state, const int64_t* slots,
                                        int64_t count, const sl_sequence* x, sl_sequence* y,
                                        slgo_extras extras, sl_error* error) {
  sl_run_options run;
  return sl_layer_step_slots((const sl_layer*)layer, (sl_state*)state, slots, count, x, y,
                             slgo_run(&extras, &run), error);
}

/* The first items of a view of a whole batch. */
static inline sl_sequence slgo_first(const sl_sequence* whole, int64_t batch, int64_t count) {
  sl_sequence out = *whole;
  if (out.rank > 0 && out.dims[0] == batch) out.dims[0] = count;
  return out;
}

/* A step of slots whose items come first in all views, which are of the whole batch. `room` has as
 * many constants and emits as `extras`. */
static inline sl_status slgo_step_first(uintptr_t layer, uintptr_t state, const int64_t* slots,
                                        int64_t count, const sl_sequence* x, sl_sequence* y,
                                        slgo_extras extras, slgo_extras room, sl_error* error) {
  const int64_t batch = x->dims[0];
  const sl_sequence first = slgo_first(x, batch, count);
  sl_sequence out = slgo_first(y, batch, count);
  const sl_constant* constants = (const sl_constant*)extras.constants;
  const sl_sequence* emits = (const sl_sequence*)extras.emits;
  for (int64_t i = 0; i < extras.num_constants; ++i) {
    sl_constant* constant = (sl_constant*)room.constants + i;
    constant->name = constants[i].name;
    constant->value = slgo_first(&constants[i].value, batch, count);
  }
  for (int64_t i = 0; i < extras.num_emits; ++i) {
    ((sl_sequence*)room.emits)[i] = slgo_first(&emits[i], batch, count);
  }
  extras.constants = room.constants;
  extras.emits = room.emits;
  return slgo_step_slots(layer, state, slots, count, &first, &out, extras, error);
}

static inline sl_status slgo_apply(const sl_layer* layer, const sl_sequence* x, sl_sequence* y,
                                   slgo_extras extras, sl_error* error) {
  sl_run_options run;
  return sl_layer_apply(layer, x, y, slgo_run(&extras, &run), error);
}

/* Slot -1: all of them. */
static inline sl_status slgo_prefill(sl_decoder* decoder, int64_t slot, const sl_sequence* tokens,
                                     slgo_extras extras, sl_error* error) {
  sl_run_options options;
  const sl_run_options* run = slgo_run(&extras, &options);
  if (slot == -1) return sl_decoder_prefill(decoder, tokens, run, error);
  return sl_decoder_prefill_slot(decoder, slot, tokens, run, error);
}

/* Without slots, all of them are sampled. */
static inline sl_status slgo_sample(uintptr_t decoder, const int64_t* slots, int64_t count,
                                    int32_t* tokens, float* log_probs, uint8_t* mask,
                                    slgo_extras extras, sl_error* error) {
  sl_decoder* handle = (sl_decoder*)decoder;
  sl_run_options options;
  const sl_run_options* run = slgo_run(&extras, &options);
  if (!slots) return sl_decoder_sample(handle, tokens, log_probs, mask, run, error);
  return sl_decoder_sample_slots(handle, slots, count, tokens, log_probs, mask, run, error);
}

static inline sl_status slgo_pipe_process(uintptr_t pipe, uintptr_t in, uintptr_t out,
                                          int64_t frames, sl_error* error) {
  return sl_pipe_process((sl_pipe*)pipe, (const float* const*)in, (float* const*)out, frames,
                         error);
}

static inline int64_t slgo_stride(const sl_sequence* view, int32_t axis) {
  int contiguous = 1;
  for (int32_t i = 0; i < view->rank; ++i) contiguous = contiguous && view->strides[i] == 0;
  if (!contiguous) return view->strides[axis];
  int64_t stride = (int64_t)sl_dtype_size(view->dtype);
  for (int32_t i = axis + 1; i < view->rank; ++i) stride *= view->dims[i];
  return stride;
}

/* Copies the values of a view to another one of its dtype and dims. */
static inline void slgo_copy(const sl_sequence* from, const sl_sequence* to) {
  int64_t index[SL_MAX_RANK] = {0};
  for (int32_t i = 0; i < from->rank; ++i) {
    if (from->dims[i] == 0) return;
  }
  for (;;) {
    const char* source = (const char*)from->data;
    char* target = (char*)to->data;
    for (int32_t i = 0; i < from->rank; ++i) {
      source += index[i] * slgo_stride(from, i);
      target += index[i] * slgo_stride(to, i);
    }
    memcpy(target, source, sl_dtype_size(from->dtype));
    int32_t axis = from->rank - 1;
    while (axis >= 0 && ++index[axis] == from->dims[axis]) index[axis--] = 0;
    if (axis < 0) return;
  }
}

sl_status slgo_registry_add(sl_registry* registry, const char* type, uintptr_t maker,
                            sl_error* error);

/* Sends messages to Go, or to stderr. */
void slgo_log_set(int to_go, sl_log_level level);

#endif
