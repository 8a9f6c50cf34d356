#include <cmath>

#include "convert.h"
#include "handles.h"

namespace {

using sl::Code;
using sl::capi::guard;
using sl::capi::not_null;

float checked_dry(float dry, const char* name) {
  // The comparison is written so that NaN fails it.
  if (dry >= 0 && dry <= 1) return dry;
  sl::fail(Code::kInvalidArgument, "{} is {}: expected 0 to 1", name, dry);
}

void check_enum(int32_t value, int32_t last, const char* name) {
  if (value < 0 || value > last)
    sl::fail(Code::kInvalidArgument, "{} is {}: expected 0 to {}", name, value, last);
}

sl::PipeOptions to_options(const sl_pipe_options& given) {
  check_enum(given.channels, SL_PIPE_CHANNELS_MODEL, "options.channels");
  check_enum(given.quality, SL_PIPE_QUALITY_BEST, "options.quality");
  return {.host_rate = given.host_rate,
          .model_rate = given.model_rate,
          .host_channels = given.host_channels,
          .max_frames = given.max_frames,
          .min_latency = given.min_latency,
          .fade_frames = given.fade_frames,
          .dry = checked_dry(given.dry, "options.dry"),
          .channels = static_cast<sl::PipeChannels>(given.channels),
          .quality = static_cast<sl::ops::ConverterQuality>(given.quality)};
}

template <typename T>
T* const* checked_channels(T* const* channels, const sl::Pipe& pipe, const char* name) {
  not_null(channels, name);
  for (int64_t c = 0; c < pipe.host_channels(); ++c) not_null(channels[c], name);
  return channels;
}

}  // namespace

sl_status sl_pipe_create(const sl_layer* layer, const sl_pipe_options* options, sl_pipe** out,
                         sl_error* error) {
  return guard(error, [&] {
    not_null(out, "out");
    const sl::Model& model = *not_null(layer, "layer")->model;
    const auto given = sl::capi::read_struct(options, "options");
    const sl::Allocator allocator = sl::capi::to_allocator(given.allocator, model.allocator());
    *out = new sl_pipe{{model, to_options(given), allocator}};
  });
}

sl_status sl_pipe_process(sl_pipe* pipe, const float* const* in, float* const* out, int64_t frames,
                          sl_error* error) {
  return guard(error, [&] {
    sl::Pipe& to = not_null(pipe, "pipe")->pipe;
    to.process(checked_channels(in, to, "in"), checked_channels(out, to, "out"), frames);
  });
}

int64_t sl_pipe_flush(sl_pipe* pipe, float* const* out, int64_t frames, sl_error* error) {
  return sl::capi::guard_count(error, [&] {
    sl::Pipe& from = not_null(pipe, "pipe")->pipe;
    return from.flush(checked_channels(out, from, "out"), frames);
  });
}

sl_status sl_pipe_reset(sl_pipe* pipe, sl_error* error) {
  return guard(error, [&] { not_null(pipe, "pipe")->pipe.reset(); });
}

int64_t sl_pipe_latency(const sl_pipe* pipe) { return pipe ? pipe->pipe.latency() : 0; }

int64_t sl_pipe_host_channels(const sl_pipe* pipe) { return pipe ? pipe->pipe.host_channels() : 0; }

sl_status sl_pipe_set_dry(sl_pipe* pipe, float dry, sl_error* error) {
  return guard(error, [&] { not_null(pipe, "pipe")->pipe.set_dry(checked_dry(dry, "dry")); });
}

sl_status sl_pipe_swap(sl_pipe* pipe, sl_pipe* next, sl_error* error) {
  return guard(error, [&] { not_null(pipe, "pipe")->pipe.swap(not_null(next, "next")->pipe); });
}

int32_t sl_pipe_is_fading(const sl_pipe* pipe) { return pipe && pipe->pipe.is_fading() ? 1 : 0; }

void sl_pipe_free(sl_pipe* pipe) { delete pipe; }
