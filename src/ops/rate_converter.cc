#include "ops/rate_converter.h"

#include <dlfcn.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "core/status.h"

#ifdef SL_HAS_SAMPLERATE
#include <samplerate.h>
#endif

namespace sl::ops {

#ifdef SL_HAS_SAMPLERATE
namespace {

constexpr char kFile[] = "libsamplerate.so.0";

#define SL_SAMPLERATE_FUNCTIONS(X) \
  X(src_new)                       \
  X(src_delete)                    \
  X(src_process)                   \
  X(src_reset)                     \
  X(src_strerror)

struct SampleRateFunctions {
#define SL_SAMPLERATE_POINTER(name) decltype(&::name) name = nullptr;
  SL_SAMPLERATE_FUNCTIONS(SL_SAMPLERATE_POINTER)
#undef SL_SAMPLERATE_POINTER
  std::string problem;  // why they cannot be used
};

SampleRateFunctions load() {
  SampleRateFunctions out;
  void* library = dlopen(kFile, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    out.problem = dlerror();
    return out;
  }
#define SL_SAMPLERATE_FIND(name)                                         \
  out.name = reinterpret_cast<decltype(&::name)>(dlsym(library, #name)); \
  if (!out.name) out.problem = std::string(kFile) + " has no function " #name;
  SL_SAMPLERATE_FUNCTIONS(SL_SAMPLERATE_FIND)
#undef SL_SAMPLERATE_FIND
  return out;
}

// Never unloaded, as converters may outlive static objects.
const SampleRateFunctions& functions() {
  static const auto* const kLoaded = new SampleRateFunctions(load());
  return *kLoaded;
}

SRC_STATE* state_of(void* converter) { return static_cast<SRC_STATE*>(converter); }

int type_of(ConverterQuality quality) {
  switch (quality) {
    case ConverterQuality::kFast:
      return SRC_SINC_FASTEST;
    case ConverterQuality::kBest:
      return SRC_SINC_BEST_QUALITY;
    default:
      return SRC_SINC_MEDIUM_QUALITY;
  }
}

}  // namespace

void RateConverter::Close::operator()(void* converter) const {
  functions().src_delete(state_of(converter));
}

RateConverter::RateConverter(ConverterQuality quality, int64_t channels, double ratio)
    : ratio_(ratio) {
  const SampleRateFunctions& library = functions();
  if (!library.problem.empty()) {
    fail(Code::kUnsupported, "sample rates cannot be converted without libsamplerate: {}",
         library.problem);
  }
  int error = 0;
  converter_.reset(library.src_new(type_of(quality), static_cast<int>(channels), &error));
  if (!converter_) fail(Code::kOutOfMemory, "libsamplerate: {}", library.src_strerror(error));
  // The library does not tell how far it looks ahead, so it is tried.
  const std::vector<float> silence(static_cast<size_t>(channels), 0.0f);
  std::vector<float> out(static_cast<size_t>(max_output(1) * channels));
  constexpr int64_t kMost = 1 << 20;
  while (process(silence.data(), 1, out.data()) == 0) {
    if (++lookahead_ == kMost) fail(Code::kInternal, "libsamplerate makes no output");
  }
  reset();
}

int64_t RateConverter::max_output(int64_t frames) const {
  return static_cast<int64_t>(std::ceil(static_cast<double>(frames) * ratio_)) + 2;
}

int64_t RateConverter::process(const float* in, int64_t frames, float* out) {
  SRC_DATA data{};
  data.data_in = in;
  data.data_out = out;
  data.input_frames = frames;
  data.output_frames = max_output(frames);
  data.src_ratio = ratio_;
  const int error = functions().src_process(state_of(converter_.get()), &data);
  if (error != 0) fail(Code::kInternal, "libsamplerate: {}", functions().src_strerror(error));
  if (data.input_frames_used != frames) {
    fail(Code::kInternal, "libsamplerate took {} of {} frames", data.input_frames_used, frames);
  }
  return data.output_frames_gen;
}

void RateConverter::reset() { functions().src_reset(state_of(converter_.get())); }

#else

void RateConverter::Close::operator()(void*) const {}

RateConverter::RateConverter(ConverterQuality, int64_t, double) : ratio_(1) {
  fail(Code::kUnsupported, "sample rates cannot be converted: built without libsamplerate");
}

int64_t RateConverter::max_output(int64_t) const { return 0; }

int64_t RateConverter::process(const float*, int64_t, float*) { return 0; }

void RateConverter::reset() {}

#endif

}  // namespace sl::ops
