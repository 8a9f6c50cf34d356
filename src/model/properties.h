// Queries of a layer tree that name the layer which is the reason for a negative answer.
#pragma once

#include <cstdint>
#include <string>

#include "layers/layer.h"

namespace sl {

// Why the layer cannot run step-wise without options, and what to change, such as: its Conv2D
// "encoder.conv" cannot: ... Empty if it can.
std::string step_obstacle(const Layer& root);

// Fails, with the reason, if the layer cannot run in streams of at most `max_length` steps (0:
// without an end).
void check_steppable(const Layer& root, int64_t max_length);

// The layer's receptive field. Fails and names the layer if no input step reaches the output.
ReceptiveField receptive_field_of(const Layer& root);

}  // namespace sl
