// Dtypes of sequences and weights, and their promotion, which is that of JAX without 64-bit types.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>

namespace sl {

using complex64 = std::complex<float>;

// The values equal those of sl_dtype.
enum class DType : int32_t {
#define SL_DTYPE(Name, C_NAME, value, ...) k##Name = value,
#include "core/dtypes.inc"
};

enum class DTypeKind : uint8_t { kBool, kInteger, kHalf, kFloat, kComplex };

struct DTypeInfo {
  DType dtype;
  std::string_view name;
  DTypeKind kind;
  int rank;                 // of promotion
  std::string_view stored;  // in safetensors files; empty if they have no such type
};

// Indexed by the dtype.
inline constexpr DTypeInfo kDTypeInfos[] = {
#define SL_DTYPE(Name, C_NAME, value, name, Type, kind, rank, stored) \
  {DType::k##Name, name, DTypeKind::kind, rank, stored},
#include "core/dtypes.inc"
};
inline constexpr uint8_t kDTypeSizes[] = {
#define SL_DTYPE(Name, C_NAME, value, name, Type, ...) sizeof(Type),
#include "core/dtypes.inc"
};
// Whether a number, from outside, is that of a dtype.
constexpr bool is_dtype(int32_t value) {
  return value >= 0 && value < static_cast<int32_t>(std::size(kDTypeInfos));
}
constexpr size_t size_of(DType dtype) { return kDTypeSizes[static_cast<size_t>(dtype)]; }
constexpr DTypeInfo info_of(DType dtype) { return kDTypeInfos[static_cast<size_t>(dtype)]; }
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
