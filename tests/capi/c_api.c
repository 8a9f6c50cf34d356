/* Uses the ABI from plain C11, as a C program would, from beginning to end. */
#include <sequence_layers/sequence_layers.h>
#include <stdlib.h>

#include "check.h"

static sl_error error = SL_ERROR_INIT;

/* y = relu(causal convolution of x with 3 taps), from 2 channels to 1. */
static const char kConfig[] =
    "{\"type\": \"Serial\", \"layers\": ["
    " {\"type\": \"Conv1D\", \"name\": \"conv\", \"filters\": 1, \"kernel_size\": 3,"
    "  \"padding\": \"causal_valid\"},"
    " {\"type\": \"Relu\"}]}";

static const float kKernel[] = {1, 10, 2, 20, 3, 30}; /* [3, 2, 1] */
static const float kBias[] = {0.5f};

static sl_sequence array(const float* data, int32_t rank, const int64_t* dims) {
  sl_sequence out = SL_SEQUENCE_INIT;
  out.is_array = 1;
  out.rank = rank;
  memcpy(out.dims, dims, (size_t)rank * sizeof(int64_t));
  out.data = (void*)data;
  return out;
}

static sl_sequence sequence(float* data, int64_t time, int64_t channels) {
  sl_sequence out = SL_SEQUENCE_INIT;
  out.rank = 3;
  out.dims[0] = 1;
  out.dims[1] = time;
  out.dims[2] = channels;
  out.data = data;
  return out;
}

static sl_layer* make_layer(void) {
  sl_weights* weights = NULL;
  CHECK_OK(sl_weights_create(&weights, &error));
  const int64_t kernel_dims[] = {3, 2, 1}, bias_dims[] = {1};
  const sl_sequence kernel = array(kKernel, 3, kernel_dims), bias = array(kBias, 1, bias_dims);
  CHECK_OK(sl_weights_add(weights, "params.conv.kernel", &kernel, &error));
  CHECK_OK(sl_weights_add(weights, "params.conv.bias", &bias, &error));
  CHECK(sl_weights_tensor_count(weights) == 2);
  sl_layer* layer = NULL;
  CHECK_OK(sl_layer_create(kConfig, strlen(kConfig), weights, NULL, &layer, &error));
  sl_weights_free(weights);
  return layer;
}

static void check_properties(const sl_layer* layer) {
  int64_t value = -1, denominator = -1, start = 0, end = 0;
  int32_t flag = -1;
  CHECK_OK(sl_layer_block_size(layer, &value, &error));
  CHECK(value == 1);
  CHECK_OK(sl_layer_output_ratio(layer, &value, &denominator, &error));
  CHECK(value == 1 && denominator == 1);
  CHECK_OK(sl_layer_supports_step(layer, &flag, &error));
  CHECK(flag == 1);
  CHECK_OK(sl_layer_receptive_field(layer, &flag, &start, &end, &error));
  CHECK(flag == 1 && start == -2 && end == 0);
  CHECK(sl_layer_parameter_count(layer) == 7);
  sl_channel_spec input = SL_CHANNEL_SPEC_INIT, output = SL_CHANNEL_SPEC_INIT;
  CHECK_OK(sl_layer_input_spec(layer, &input, &error));
  CHECK(input.dtype == SL_DTYPE_FLOAT32 && input.rank == 1 && input.dims[0] == 2);
  CHECK_OK(sl_layer_output_spec(layer, &input, NULL, 0, &output, &error));
  CHECK(output.dtype == SL_DTYPE_FLOAT32 && output.rank == 1 && output.dims[0] == 1);
}

static void check_runs(const sl_layer* layer) {
  float x[] = {1, 0, 0, 1, -1, -1, 0.5f, 0}, y[4];
  /* Computed by hand: taps (newest last) 1, 2, 3 for channel 0, and 10, 20, 30 for channel 1. */
  const float expected[] = {3.5f, 32.5f, 0, 0};
  const sl_sequence in = sequence(x, 4, 2);
  sl_sequence out = SL_SEQUENCE_INIT;
  CHECK_OK(sl_layer_output_shape(layer, SL_MODE_LAYER, &in, NULL, &out, &error));
  CHECK(out.rank == 3 && out.dims[0] == 1 && out.dims[1] == 4 && out.dims[2] == 1);
  out.data = y;
  uint8_t mask[4] = {9, 9, 9, 9};
  out.mask = mask;
  CHECK_OK(sl_layer_apply(layer, &in, &out, NULL, &error));
  CHECK(memcmp(y, expected, sizeof(y)) == 0);
  for (int t = 0; t < 4; ++t) CHECK(mask[t] == 1);

  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.max_steps = 3;
  CHECK_OK(sl_layer_input_spec(layer, &options.input, &error));
  sl_state* state = NULL;
  CHECK_OK(sl_state_alloc(layer, &options, &state, &error));
  float stepped[4];
  for (int begin = 0; begin < 4; begin += 3) {
    const int64_t time = begin == 0 ? 3 : 1; /* calls of any length up to max_steps */
    const sl_sequence block = sequence(x + 2 * begin, time, 2);
    sl_sequence block_out = sequence(stepped + begin, time, 1);
    CHECK_OK(sl_layer_step(layer, state, &block, &block_out, NULL, &error));
  }
  CHECK(memcmp(stepped, expected, sizeof(stepped)) == 0);
  sl_state_free(state);
}

static void check_errors(void) {
  sl_error small = SL_ERROR_INIT;
  sl_layer* layer = NULL;
  const char config[] = "{\"type\": \"Rellu\"}";
  CHECK(sl_layer_create(config, strlen(config), NULL, NULL, &layer, &small) == SL_STATUS_CONFIG);
  CHECK(layer == NULL);
  CHECK(small.code == SL_STATUS_CONFIG);
  CHECK(strcmp(small.message, "$.type: unknown layer type \"Rellu\"; did you mean \"Relu\"?") == 0);
  /* The pointer to the error may be null. */
  CHECK(sl_layer_create(config, strlen(config), NULL, NULL, &layer, NULL) == SL_STATUS_CONFIG);
  /* The given size of the config ends it, not a zero byte. */
  CHECK(sl_layer_create("{\"type\": \"Relu\"}garbage", 16, NULL, NULL, &layer, NULL) ==
        SL_STATUS_OK);
  sl_layer_free(layer);
  sl_layer_free(NULL);
  sl_state_free(NULL);
  sl_weights_free(NULL);
  sl_registry_free(NULL);
}

static void check_names(void) {
  CHECK(sl_version() == (SL_VERSION_MAJOR << 16 | SL_VERSION_MINOR << 8 | SL_VERSION_PATCH));
  for (sl_status status = SL_STATUS_OK; status <= SL_STATUS_LENGTH; ++status) {
    CHECK(strlen(sl_status_name(status)) > 0);
    CHECK(strcmp(sl_status_name(status), "unknown") != 0);
  }
  CHECK(strcmp(sl_status_name(-1), "unknown") == 0);
  CHECK(strcmp(sl_status_name(99), "unknown") == 0);
  CHECK(strcmp(sl_dtype_name(SL_DTYPE_COMPLEX64), "complex64") == 0);
  CHECK(sl_dtype_size(SL_DTYPE_COMPLEX64) == 8);
  CHECK(sl_dtype_size(SL_DTYPE_BOOL) == 1);
  CHECK(sl_dtype_name(-1) == NULL && sl_dtype_name(99) == NULL);
  CHECK(sl_dtype_size(-1) == 0 && sl_dtype_size(99) == 0);
}

int main(void) {
  check_names();
  sl_layer* layer = make_layer();
  if (layer != NULL) {
    check_properties(layer);
    check_runs(layer);
  }
  sl_layer_free(layer);
  check_errors();
  return report("c_api");
}
