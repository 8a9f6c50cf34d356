// A layer whose work is done by a caller's callbacks.
#pragma once

#include "model/registry.h"
#include "sequence_layers/sequence_layers.h"

namespace sl::capi {

// Fails if the table lacks what it must have.
TypeFactory custom_factory(const sl_layer_callbacks& callbacks);

}  // namespace sl::capi
