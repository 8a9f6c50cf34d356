#pragma once

namespace sl::ops {

// Modified Bessel function of the first kind, of order 0, by its power series. That of libstdc++
// (std::cyl_bessel_i) is not in every standard library.
inline double bessel_i0(double x) {
  double sum = 1, term = 1;
  for (double k = 1; term > 1e-17 * sum && k < 1000; ++k) sum += term *= (x / 2 / k) * (x / 2 / k);
  return sum;
}

}  // namespace sl::ops
