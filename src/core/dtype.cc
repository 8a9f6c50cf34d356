#include "core/dtype.h"

#include <algorithm>
#include <iterator>

namespace sl {

// The tables can be indexed by the dtype.
#define SL_DTYPE(Name, ...) static_assert(info_of(DType::k##Name).dtype == DType::k##Name);
#include "core/dtypes.inc"

std::string_view name_of(DType dtype) { return info_of(dtype).name; }

std::optional<DType> dtype_named(std::string_view name) {
  const auto* found = std::ranges::find(kDTypeInfos, name, &DTypeInfo::name);
  return found == std::end(kDTypeInfos) ? std::nullopt : std::optional(found->dtype);
}

bool is_half(DType dtype) { return info_of(dtype).kind == DTypeKind::kHalf; }

bool is_float(DType dtype) { return info_of(dtype).kind == DTypeKind::kFloat || is_half(dtype); }

bool is_integer(DType dtype) { return info_of(dtype).kind == DTypeKind::kInteger; }

bool is_inexact(DType dtype) { return is_float(dtype) || dtype == DType::kComplex64; }

DType promote(DType a, DType b) {
  if (a == b) return a;
  if (is_half(a) && is_half(b)) return DType::kFloat32;
  return info_of(a).rank > info_of(b).rank ? a : b;
}

DType promote_inexact(DType a, DType b) {
  const DType both = promote(a, b);
  return is_inexact(both) ? both : DType::kFloat32;
}

}  // namespace sl
