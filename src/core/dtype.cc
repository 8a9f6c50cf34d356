#include "core/dtype.h"

#include <array>

namespace sl {
namespace {

constexpr std::array<std::string_view, 7> kNames = {"float32",  "int32",   "bool", "complex64",
                                                    "bfloat16", "float16", "int8"};

// Position in the promotion chain bool < int8 < int32 < (bfloat16 | float16) < float32 < complex64.
int rank_of(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return 0;
    case DType::kInt8:
      return 1;
    case DType::kInt32:
      return 2;
    case DType::kBFloat16:
    case DType::kFloat16:
      return 3;
    case DType::kFloat32:
      return 4;
    case DType::kComplex64:
      return 5;
  }
  return 5;
}

}  // namespace

std::string_view name_of(DType dtype) { return kNames[static_cast<size_t>(dtype)]; }

std::optional<DType> dtype_named(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

bool is_half(DType dtype) { return dtype == DType::kBFloat16 || dtype == DType::kFloat16; }

bool is_float(DType dtype) { return dtype == DType::kFloat32 || is_half(dtype); }

bool is_integer(DType dtype) { return dtype == DType::kInt32 || dtype == DType::kInt8; }

bool is_inexact(DType dtype) { return is_float(dtype) || dtype == DType::kComplex64; }

DType promote(DType a, DType b) {
  if (a == b) return a;
  if (is_half(a) && is_half(b)) return DType::kFloat32;
  return rank_of(a) > rank_of(b) ? a : b;
}

DType promote_inexact(DType a, DType b) {
  const DType both = promote(a, b);
  return is_inexact(both) ? both : DType::kFloat32;
}

}  // namespace sl
