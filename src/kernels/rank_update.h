// Products of matrices of doubles, for factorizations at creation.
#pragma once

#include <cstdint>

namespace sl::kernels {

// c[i * c_stride + j] += factor * sum_q a[q * a_stride + i] * b[q * b_stride + j] for i in [0, m),
// j in [0, n) and q in [0, count). c overlaps neither a nor b.
void rank_update(double factor, const double* a, int64_t a_stride, const double* b,
                 int64_t b_stride, int64_t count, int64_t m, int64_t n, double* c,
                 int64_t c_stride);

}  // namespace sl::kernels
