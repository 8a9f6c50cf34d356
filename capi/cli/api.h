// Short names for the parts of the public C++ wrapper that the tool's code uses.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_API_H_
#define SEQUENCE_LAYERS_CAPI_CLI_API_H_

#include <utility>

#include "sequence_layers/sequence_layers.hpp"

namespace sl::cli {

using sequence_layers::check;
using sequence_layers::check_count;
using sequence_layers::Error;

// Handles that free what they own. The tool and the tests make the C calls themselves.
using Layer = sequence_layers::Handle<sl_layer>;
using State = sequence_layers::Handle<sl_state>;
using Weights = sequence_layers::Handle<sl_weights>;

// Creates a handle with call(T** out, sl_error*).
template <typename T, typename Call>
sequence_layers::Handle<T> make(Call&& call) {
  return sequence_layers::make_handle<T>(std::forward<Call>(call));
}

// Reads a property of the layer with call(layer, T* out, sl_error*).
template <typename T>
T get(sl_status (*call)(const sl_layer*, T*, sl_error*), const sl_layer* layer) {
  T out{};
  check([&](sl_error* e) { return call(layer, &out, e); });
  return out;
}

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_API_H_
