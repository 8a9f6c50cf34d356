// Which instruction set the kernels use on this CPU.
#pragma once

namespace sl::kernels {

// Selects the instruction set for every kernel. Call once before real-time work, so that no
// kernel call pays for CPU detection.
void warm_dispatch();

// Name of the instruction set in use, e.g. "AVX2".
[[nodiscard]] const char* active_target();

}  // namespace sl::kernels
