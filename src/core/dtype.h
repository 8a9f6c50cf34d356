// Dtypes of sequences and weights, and their promotion, which is that of JAX without 64-bit types.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sl {

// The values equal those of sl_dtype.
enum class DType : int32_t {
  kFloat32 = 0,
  kInt32 = 1,
  kBool = 2,
  kComplex64 = 3,
  kBFloat16 = 4,
  kFloat16 = 5,
  kInt8 = 6,
};

using complex64 = std::complex<float>;

inline constexpr uint8_t kDTypeSizes[] = {4, 4, 1, 8, 2, 2, 1};
constexpr size_t size_of(DType dtype) { return kDTypeSizes[static_cast<size_t>(dtype)]; }
std::string_view name_of(DType dtype);
std::optional<DType> dtype_named(std::string_view name);

// float32, float16 or bfloat16.
bool is_float(DType dtype);
bool is_half(DType dtype);
bool is_integer(DType dtype);
// A float or complex type.
bool is_inexact(DType dtype);

DType promote(DType a, DType b);
// promote(a, b), or float32 if neither is inexact: the dtype in which layers with weights compute.
DType promote_inexact(DType a, DType b);

}  // namespace sl
