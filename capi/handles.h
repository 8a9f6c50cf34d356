// The contents of the opaque handles, and how calls turn exceptions into status and error.
#pragma once

#include <memory>
#include <new>
#include <optional>
#include <stdexcept>

#include "core/profile.h"
#include "core/status.h"
#include "model/calibration.h"
#include "model/decoder.h"
#include "model/model.h"
#include "model/pipe.h"
#include "model/stream.h"
#include "sequence_layers/sequence_layers.h"

struct sl_weights {
  std::shared_ptr<sl::TensorStore> store;
};

struct sl_registry {
  sl::Registry registry;
};

struct sl_layer {
  std::unique_ptr<sl::Model> model;
};

struct sl_state {
  const sl_layer* layer;
  sl::Block block;  // empty in the caller's memory
  std::optional<sl::Stream> stream;
};

struct sl_profile {
  sl::Profile recorded;
  sl::Parallel parallel{&recorded};
};

struct sl_calibration {
  sl::Calibration calibration;
};

struct sl_decoder {
  const sl_layer* layer;
  sl::Decoder decoder;
};

struct sl_pipe {
  sl::Pipe pipe;
};

struct sl_weight_source {
  sl::WeightScope scope;
};

namespace sl::capi {

// Fails if an option is impossible.
ModelOptions to_model_options(const sl_layer_options* given);

// Where a recorded run takes place; null if it is not recorded.
inline const Parallel* recording(const sl_run_options& options) {
  return options.profile ? &options.profile->parallel : nullptr;
}

sl_status report(sl_error* error, Code code, const char* message) noexcept;

// Runs fn, a call's body; no exception passes.
template <typename Fn>
sl_status guard(sl_error* error, Fn&& fn) noexcept {
  try {
    fn();
    return SL_STATUS_OK;
  } catch (const Error& e) {
    return report(error, e.code(), e.what());
  } catch (const std::bad_alloc&) {
    return report(error, Code::kOutOfMemory, "out of memory");
  } catch (const std::length_error&) {
    return report(error, Code::kOutOfMemory, "out of memory");
  } catch (const std::exception& e) {
    return report(error, Code::kInternal, e.what());
  } catch (...) {
    return report(error, Code::kInternal, "unknown exception");
  }
}

// Runs fn, the body of a call that returns a number: -1 after an error.
template <typename Fn>
int64_t guard_count(sl_error* error, Fn&& fn) noexcept {
  int64_t count = -1;
  guard(error, [&] { count = fn(); });
  return count;
}

}  // namespace sl::capi
