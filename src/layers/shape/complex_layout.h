// How a real array holds complex numbers, for the layers that convert between both.
#pragma once

#include "core/config.h"

namespace sl {

enum class ComplexLayout {
  kInterleaved,  // on the last axis, each real part followed by its imaginary part
  kPair,         // on a last axis of 2
  kHalves        // on the last axis, all real parts before all imaginary parts
};

inline ComplexLayout read_complex_layout(Config& config) {
  return static_cast<ComplexLayout>(config.choice("layout", {"interleaved", "pair", "halves"}, 0));
}

}  // namespace sl
