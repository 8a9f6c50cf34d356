// Which instruction set the kernels use on this CPU.
#pragma once

namespace sl::kernels {

// Chooses the instruction set of every kernel: the best that the CPU has, but none better than the
// environment variable SL_CPU_MAX names. The variable is read once, by the first call that
// succeeds; an unknown name throws an Error that lists the known ones. Call this before real-time
// work, so that no kernel pays for CPU detection.
void warm_dispatch();

// Name of the instruction set in use, one of those that SL_CPU_MAX takes, such as "avx2".
[[nodiscard]] const char* active_target();

}  // namespace sl::kernels
