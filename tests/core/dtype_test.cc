#include "core/dtype.h"

#include <array>
#include <catch2/catch.hpp>
#include <string>

namespace sl {
namespace {

constexpr auto kAll = std::to_array<DType>({
#define SL_DTYPE(Name, ...) DType::k##Name,
#include "core/dtypes.inc"
});

// jax.numpy.promote_types(row, column), recorded from JAX for the dtypes in the order of kAll.
constexpr std::string_view kPromoted[kAll.size()][kAll.size()] = {
    {"float32", "float32", "float32", "complex64", "float32", "float32", "float32"},
    {"float32", "int32", "int32", "complex64", "bfloat16", "float16", "int32"},
    {"float32", "int32", "bool", "complex64", "bfloat16", "float16", "int8"},
    {"complex64", "complex64", "complex64", "complex64", "complex64", "complex64", "complex64"},
    {"float32", "bfloat16", "bfloat16", "complex64", "bfloat16", "float32", "bfloat16"},
    {"float32", "float16", "float16", "complex64", "float32", "float16", "float16"},
    {"float32", "int32", "int8", "complex64", "bfloat16", "float16", "int8"},
};

TEST_CASE("dtypes promote as in JAX", "[dtype]") {
  for (size_t a = 0; a < kAll.size(); ++a) {
    for (size_t b = 0; b < kAll.size(); ++b) {
      INFO(name_of(kAll[a]) << " with " << name_of(kAll[b]));
      CHECK(name_of(promote(kAll[a], kAll[b])) == kPromoted[a][b]);
    }
  }
}

TEST_CASE("layers with weights compute in a floating-point dtype", "[dtype]") {
  CHECK(promote_inexact(DType::kInt32, DType::kBool) == DType::kFloat32);
  CHECK(promote_inexact(DType::kInt8, DType::kInt8) == DType::kFloat32);
  CHECK(promote_inexact(DType::kInt32, DType::kBFloat16) == DType::kBFloat16);
  CHECK(promote_inexact(DType::kComplex64, DType::kBool) == DType::kComplex64);
}

TEST_CASE("names and kinds of dtypes", "[dtype]") {
  for (const DType dtype : kAll) CHECK(dtype_named(name_of(dtype)) == dtype);
  CHECK_FALSE(dtype_named("float64"));
  CHECK_FALSE(dtype_named(""));
  CHECK(size_of(DType::kComplex64) == 8);
  CHECK(size_of(DType::kBFloat16) == 2);
  CHECK(size_of(DType::kBool) == 1);
  CHECK(is_half(DType::kFloat16));
  CHECK_FALSE(is_half(DType::kFloat32));
  CHECK(is_float(DType::kBFloat16));
  CHECK_FALSE(is_float(DType::kComplex64));
  CHECK(is_inexact(DType::kComplex64));
  CHECK_FALSE(is_inexact(DType::kInt32));
  CHECK(is_integer(DType::kInt8));
  CHECK_FALSE(is_integer(DType::kBool));
}

}  // namespace
}  // namespace sl
