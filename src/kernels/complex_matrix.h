#pragma once

#include <cstdint>

namespace sl::kernels {

// A row-major matrix of complex values in double precision, their parts apart.
struct ComplexMatrix {
  const double* re;
  const double* im;
};

// Y = A B, square of n rows. The result must not overlap A or B.
void multiply_matrices(ComplexMatrix a, ComplexMatrix b, int64_t n, double* re, double* im);

namespace reference {

void multiply_matrices(ComplexMatrix a, ComplexMatrix b, int64_t n, double* re, double* im);

}  // namespace reference
}  // namespace sl::kernels
