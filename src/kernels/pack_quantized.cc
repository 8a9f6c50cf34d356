// Quantization and packing of weights, at creation, in portable code.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/gemm_quantized.h"
#include "kernels/quantized_layout.h"

namespace sl::kernels {
namespace {

constexpr int kColumns = static_cast<int>(kPanelColumns);
constexpr int kGroup = static_cast<int>(kQuantizedGroup);

// Groups whose values are all smaller than this become zeros, whose scale could not be inverted.
constexpr float kNegligible = 1e-36f;

constexpr uint16_t kNan = 0x7FC0;  // bfloat16

// A group of rows of a panel.
struct Group {
  float w[kGroup][kColumns];
  int32_t q[kGroup][kColumns];
  uint16_t scale[kColumns];  // bfloat16
};

float widen(uint16_t bfloat16) { return std::bit_cast<float>(uint32_t{bfloat16} << 16); }

// Rounds to bfloat16, away from zero: largest values must not exceed the range of integers.
uint16_t round_up(float x) {
  return static_cast<uint16_t>((std::bit_cast<uint32_t>(x) + 0xFFFF) >> 16);
}

uint16_t round_to_nearest(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

// Rounds to the nearest integer, ties to even, if |x| is below 2^22. Compilers vectorize it.
float round_to_integer(float x) {
  constexpr float kMagic = 0x1.8p23f;
  return (x + kMagic) - kMagic;
}

// Loads a group of rows [begin, begin + rows) and `columns` columns, and pads it with zeros.
void load_group(const float* w, int64_t row_stride, int64_t col_stride, int64_t rows,
                int64_t columns, Group* group) {
  std::memset(group->w, 0, sizeof(group->w));
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) group->w[i][j] = w[i * row_stride + j * col_stride];
  }
}

// Finds the value of each column with the largest magnitude. A column with a value that is not
// finite is cleared, and its extreme is NaN.
void find_extremes(Group* group, float (&extremes)[kColumns]) {
  std::fill_n(extremes, kColumns, 0.0f);
  bool finite[kColumns];
  std::fill_n(finite, kColumns, true);
  for (int i = 0; i < kGroup; ++i) {
    for (int j = 0; j < kColumns; ++j) {
      const float w = group->w[i][j];
      extremes[j] = std::abs(w) > std::abs(extremes[j]) ? w : extremes[j];
      finite[j] = finite[j] && std::isfinite(w);
    }
  }
  for (int j = 0; j < kColumns; ++j) {
    if (finite[j]) continue;
    extremes[j] = std::numeric_limits<float>::quiet_NaN();
    for (int i = 0; i < kGroup; ++i) group->w[i][j] = 0.0f;
  }
}

// Sets the integers of all columns to the nearest multiples of the inverse scales within [low,
// high].
void round_group(const float (&inverse)[kColumns], float low, float high, Group* group) {
  for (int i = 0; i < kGroup; ++i) {
    for (int j = 0; j < kColumns; ++j) {
      const float scaled = std::min(std::max(group->w[i][j] * inverse[j], low), high);
      group->q[i][j] = static_cast<int32_t>(round_to_integer(scaled));
    }
  }
}

// The inverse of a scale, 0 for groups that become zeros or NaN.
float inverse_of(float scale) { return std::abs(scale) > kNegligible ? 1.0f / scale : 0.0f; }

// The largest magnitude becomes 127 or a little less, since scales are rounded up.
void quantize_int8(const float (&extremes)[kColumns], Group* group) {
  float inverse[kColumns];
  for (int j = 0; j < kColumns; ++j) {
    group->scale[j] = round_up(std::abs(extremes[j]) / 127.0f);
    inverse[j] = inverse_of(widen(group->scale[j]));
  }
  round_group(inverse, -127.0f, 127.0f, group);
}

// Tries several scales near the one with which the extreme becomes -8, and keeps the best of each
// column. The error left by the best scale for given integers is sum(w w) - sum(w q)^2 / sum(q q).
void quantize_int4(const float (&extremes)[kColumns], Group* group) {
  float best_gain[kColumns] = {}, best_scale[kColumns] = {}, inverse[kColumns];
  for (float divisor = -7.0f; divisor > -8.9f; divisor -= 0.2f) {
    for (int j = 0; j < kColumns; ++j) inverse[j] = inverse_of(extremes[j] / divisor);
    round_group(inverse, -8.0f, 7.0f, group);
    float products[kColumns] = {}, squares[kColumns] = {};
    for (int i = 0; i < kGroup; ++i) {
      for (int j = 0; j < kColumns; ++j) {
        const auto q = static_cast<float>(group->q[i][j]);
        products[j] += q * (group->w[i][j] * inverse[j]);
        squares[j] += q * q;
      }
    }
    for (int j = 0; j < kColumns; ++j) {
      if (squares[j] == 0.0f) continue;
      const float ratio = products[j] / squares[j] / divisor;  // of the scale to the extreme
      const float gain = ratio * ratio * squares[j];
      if (gain > best_gain[j]) {
        best_gain[j] = gain;
        best_scale[j] = ratio * extremes[j];
      }
    }
  }
  for (int j = 0; j < kColumns; ++j) {
    group->scale[j] = round_to_nearest(best_scale[j]);
    inverse[j] = inverse_of(widen(group->scale[j]));
  }
  round_group(inverse, -8.0f, 7.0f, group);
}

// Writes the integers in the order of packed weights.
void store_int8(const Group& group, uint8_t* out) {
  for (int i = 0; i < kGroup; ++i) {
    for (int j = 0; j < kColumns; ++j) {
      out[i / 4 * 64 + 4 * j + i % 4] = static_cast<uint8_t>(group.q[i][j] + 128);
    }
  }
}

void store_int4(const Group& group, uint8_t* out) {
  for (int i = 0; i < kGroup; ++i) {
    for (int j = 0; j < kColumns; ++j) {
      uint8_t& byte = out[i / 8 * 64 + 4 * j + i % 4];
      const int value = group.q[i][j] + 8;
      byte = static_cast<uint8_t>(i % 8 < 4 ? value : byte | value << 4);
    }
  }
}

}  // namespace

int64_t packed_quantized_bytes(Quantized type, int64_t k, int64_t n) {
  return panels_of(n) * quantized_panel_bytes(bits_of(type), quantized_groups(k));
}

namespace {

// Walks the groups of a packed matrix in the order in which they are stored. `make(column, begin,
// group)` sets the scales and integers of a group of rows from `begin` on.
template <typename Make>
void pack_groups(Quantized type, int64_t k, int64_t n, void* packed, const Make& make) {
  const int64_t group_bytes = quantized_integer_bytes(bits_of(type));
  auto* out = static_cast<uint8_t*>(packed);
  Group group;
  for (int64_t column = 0; column < n; column += kColumns) {
    uint8_t* scales = out;
    for (int64_t begin = 0; begin < k; begin += kGroup) {
      const bool odd = begin / kGroup % 2 != 0;
      if (!odd) {
        scales = out;
        std::memset(scales, 0, kQuantizedScaleBytes);
        out += kQuantizedScaleBytes;
      }
      make(column, begin, &group);
      if (type == Quantized::kInt8) {
        store_int8(group, out);
      } else {
        store_int4(group, out);
      }
      std::memcpy(scales + (odd ? kQuantizedScaleBytes / 2 : 0), group.scale, sizeof(group.scale));
      out += group_bytes;
    }
  }
}

// Sets the scales and integers that suit the weights of a group.
void quantize(Quantized type, Group* group) {
  float extremes[kColumns];
  find_extremes(group, extremes);
  if (type == Quantized::kInt8) {
    quantize_int8(extremes, group);
  } else {
    quantize_int4(extremes, group);
  }
  for (int j = 0; j < kColumns; ++j) {
    if (std::isnan(extremes[j])) group->scale[j] = kNan;
    if (widen(group->scale[j]) == 0.0f) group->scale[j] = 0;
  }
}

}  // namespace

void pack_quantized(Quantized type, const float* w, int64_t row_stride, int64_t col_stride,
                    int64_t k, int64_t n, void* packed) {
  pack_groups(type, k, n, packed, [&](int64_t column, int64_t begin, Group* group) {
    load_group(w + begin * row_stride + column * col_stride, row_stride, col_stride,
               std::min<int64_t>(kGroup, k - begin), std::min<int64_t>(kColumns, n - column),
               group);
    quantize(type, group);
  });
}

void quantized_scales(Quantized type, const float* w, int64_t row_stride, int64_t rows, int64_t n,
                      float* scales) {
  Group group;
  for (int64_t column = 0; column < n; column += kColumns) {
    const int64_t columns = std::min<int64_t>(kColumns, n - column);
    load_group(w + column, row_stride, 1, rows, columns, &group);
    quantize(type, &group);
    for (int64_t j = 0; j < columns; ++j) scales[column + j] = widen(group.scale[j]);
  }
}

void pack_rounded(Quantized type, const float* scales, const int8_t* integers, int64_t k, int64_t n,
                  void* packed) {
  pack_groups(type, k, n, packed, [&](int64_t column, int64_t begin, Group* group) {
    *group = Group{};
    for (int64_t j = 0; j < std::min<int64_t>(kColumns, n - column); ++j) {
      // Scales are bfloat16 numbers, which only lose zeros.
      group->scale[j] = round_to_nearest(scales[begin / kGroup * n + column + j]);
      for (int64_t i = 0; i < std::min<int64_t>(kGroup, k - begin); ++i)
        group->q[i][j] = integers[(begin + i) * n + column + j];
    }
  });
}

void unpack_quantized_column(Quantized type, const void* packed, int64_t k, int64_t column,
                             float* y) {
  const int bits = bits_of(type);
  const int64_t group_bytes = quantized_integer_bytes(bits), j = column % kColumns;
  const uint8_t* w = static_cast<const uint8_t*>(packed) +
                     column / kColumns * quantized_panel_bytes(bits, quantized_groups(k));
  for (int64_t begin = 0; begin < k; begin += kGroup) {
    const int64_t odd = begin / kGroup % 2;
    uint16_t scale;
    std::memcpy(&scale, w + odd * (kQuantizedScaleBytes / 2) + 2 * j, sizeof(scale));
    const uint8_t* integers = w + kQuantizedScaleBytes + odd * group_bytes + 4 * j;
    for (int64_t i = 0; i < std::min<int64_t>(kGroup, k - begin); ++i) {
      const int byte = integers[type == Quantized::kInt8 ? i / 4 * 64 + i % 4 : i / 8 * 64 + i % 4];
      const int nibble = i % 8 < 4 ? byte & 15 : byte >> 4;
      y[begin + i] =
          widen(scale) * static_cast<float>(type == Quantized::kInt8 ? byte - 128 : nibble - 8);
    }
    w += odd * (kQuantizedScaleBytes + 2 * group_bytes);
  }
}

}  // namespace sl::kernels
