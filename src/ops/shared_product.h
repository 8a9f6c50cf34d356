// Products of steps with large matrices, whose columns the threads of a step share.
#pragma once

#include <cstdint>

#include "core/step_team.h"
#include "ops/linear.h"

namespace sl::ops {

// Whether the run has a team and the matrix is so large that sharing it pays.
bool may_share(const Run& run, const Linear& linear);

// Computes what linear.apply computes, bit for bit, with the team's help. False if it is busy or
// asleep; y is then unchanged. The matrix must be one that may be shared.
bool share_product(const StepTeam& team, const Linear& linear, const float* x, int64_t x_stride,
                   int64_t rows, const float* bias, bool accumulate, float* y, int64_t y_stride);

}  // namespace sl::ops
