// What layers say of themselves, with the reason where they say no.
#pragma once

#include <cstdint>
#include <string>

#include "layers/layer.h"

namespace sl {

// Why the layer cannot run step-wise, for all that it may be given, and what to change: "its Conv2D
// \"encoder.conv\" cannot: ...". Empty if it can.
std::string step_obstacle(const Layer& root);

// Fails, with the reason, if streams of at most `max_length` steps (0: without an end) cannot be.
void check_steppable(const Layer& root, int64_t max_length);

// The layer's receptive field. An impossible one is an error that names the layer that has it.
ReceptiveField receptive_field_of(const Layer& root);

}  // namespace sl
