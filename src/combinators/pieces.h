// Runs consecutive layers piece by piece over time, so that what lies between them stays in the
// cache and threads meet once for all of them.
#pragma once

#include <cstddef>
#include <span>

#include "layers/layer.h"

namespace sl {

// Number of the layers at the beginning of the list that can run in pieces together.
size_t count_in_pieces(std::span<const Layer* const> layers);

// Whether pieces pay for layers that count_in_pieces has counted: not in steps, in runs that are
// recorded, or if all results fit into the cache.
bool pay_in_pieces(const Run& run, std::span<const Layer* const> layers, const Sequence& x);

// The output of these layers for x, on the run's side.
Sequence run_in_pieces(Run& run, std::span<const Layer* const> layers, const Sequence& x);

}  // namespace sl
