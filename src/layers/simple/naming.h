// Errors in shapes that say which layer has them.
#pragma once

#include "core/status.h"
#include "layers/layer.h"

namespace sl {

// Calls fn; what it throws gets the layer's type and name in front.
template <typename Fn>
auto naming(const Layer& layer, Fn&& fn) {
  try {
    return fn();
  } catch (const Error& error) {
    fail(error.code(), "{} \"{}\": {}", layer.type(), layer.name(), error.what());
  }
}

}  // namespace sl
