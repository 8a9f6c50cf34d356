// How the elements of a matrix are stored once it is packed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>

namespace sl {

enum class WeightFormat : uint8_t { kFloat32, kBFloat16, kInt8, kInt4 };

constexpr std::string_view kWeightFormatNames[] = {"float32", "bfloat16", "int8", "int4"};

constexpr std::string_view name_of(WeightFormat format) {
  return kWeightFormatNames[static_cast<size_t>(format)];
}

// Bytes of weights by their format.
using WeightBytes = std::array<int64_t, std::size(kWeightFormatNames)>;

constexpr std::optional<WeightFormat> weight_format_named(std::string_view name) {
  for (size_t i = 0; i < std::size(kWeightFormatNames); ++i) {
    if (kWeightFormatNames[i] == name) return static_cast<WeightFormat>(i);
  }
  return std::nullopt;
}

}  // namespace sl
