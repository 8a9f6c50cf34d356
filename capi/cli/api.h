// The C ABI with owners and exceptions: no more of it than the tool needs.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_API_H_
#define SEQUENCE_LAYERS_CAPI_CLI_API_H_

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include "sequence_layers/sequence_layers.h"

namespace sl::cli {

class Error : public std::runtime_error {
 public:
  Error(sl_status code, const std::string& message) : std::runtime_error(message), code_(code) {}
  sl_status code() const { return code_; }

 private:
  sl_status code_;
};

// Runs call(sl_error*) and throws what it reports.
template <typename Call>
void check(Call&& call) {
  sl_error error = SL_ERROR_INIT;
  const sl_status status = call(&error);
  if (status == SL_STATUS_OK) return;
  throw Error(status, error.message[0] != '\0' ? error.message : sl_status_name(status));
}

struct Deleter {
  void operator()(sl_layer* p) const { sl_layer_free(p); }
  void operator()(sl_state* p) const { sl_state_free(p); }
  void operator()(sl_weights* p) const { sl_weights_free(p); }
};
using Layer = std::unique_ptr<sl_layer, Deleter>;
using State = std::unique_ptr<sl_state, Deleter>;
using Weights = std::unique_ptr<sl_weights, Deleter>;

// Makes a handle with call(T** out, sl_error*).
template <typename T, typename Call>
std::unique_ptr<T, Deleter> make(Call&& call) {
  T* out = nullptr;
  check([&](sl_error* e) { return call(&out, e); });
  return std::unique_ptr<T, Deleter>(out);
}

// Asks for a number with call(sl_error*), which returns -1 after an error.
template <typename Call>
int64_t count(Call&& call) {
  int64_t out = 0;
  check([&](sl_error* e) {
    out = call(e);
    return out < 0 ? e->code : SL_STATUS_OK;
  });
  return out;
}

// Asks for a property with call(layer, T* out, sl_error*).
template <typename T>
T get(sl_status (*call)(const sl_layer*, T*, sl_error*), const sl_layer* layer) {
  T out{};
  check([&](sl_error* e) { return call(layer, &out, e); });
  return out;
}

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_API_H_
