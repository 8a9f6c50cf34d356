// Y = A B for square complex matrices [n, n] in double precision; not in place.
#pragma once

#include <cstdint>

namespace sl::kernels {

// A row-major complex matrix, with its real and imaginary parts in separate arrays.
struct ComplexMatrix {
  const double* re;
  const double* im;
};

// re + i im = A B, for matrices [n, n]. The result must not overlap A or B.
void multiply_matrices(ComplexMatrix a, ComplexMatrix b, int64_t n, double* re, double* im);

namespace reference {

void multiply_matrices(ComplexMatrix a, ComplexMatrix b, int64_t n, double* re, double* im);

}  // namespace reference
}  // namespace sl::kernels
