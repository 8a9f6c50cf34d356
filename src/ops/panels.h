// Constant matrices W [inputs, outputs], packed in panels in a weight format: packed here, or lying
// packed in a weights file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/allocator.h"
#include "core/shape.h"
#include "core/weight_format.h"

namespace sl::ops {

// Several matrices of one size.
struct MatrixSizes {
  int64_t count = 1;
  int64_t inputs = 0;
  int64_t outputs = 0;
  bool operator==(const MatrixSizes&) const = default;
};

class InputRecord;
struct RoundedMatrix;

// Immutable once packed; copies share the memory.
class Panels {
 public:
  // Packs the matrix of an index, W[p, j] = w[p * row_stride + j * column_stride].
  using Pack =
      std::function<void(int64_t index, const float* w, int64_t row_stride, int64_t column_stride)>;
  // Calls its argument for every matrix.
  using Fill = std::function<void(const Pack&)>;

  Panels() = default;
  // Packs what `fill` gives.
  Panels(WeightFormat format, const MatrixSizes& sizes, const Fill& fill);
  // Packs one matrix of each index, rounded before.
  Panels(WeightFormat format, const MatrixSizes& sizes, std::span<const RoundedMatrix> rounded);
  // Refers to panels [bytes(format, sizes)] that outlive this object.
  Panels(WeightFormat format, const MatrixSizes& sizes, const std::byte* stored)
      : format_(format), sizes_(sizes), pitch_(pitch(format, sizes)), data_(stored) {}

  // The size of all panels. Each matrix begins at a multiple of kAlignment.
  static size_t bytes(WeightFormat format, const MatrixSizes& sizes);

  WeightFormat format() const { return format_; }
  const MatrixSizes& sizes() const { return sizes_; }
  size_t bytes() const { return bytes(format_, sizes_); }
  const std::byte* data(int64_t index = 0) const { return data_ + index * pitch_; }
  // The panels of float32. Those of matrix `index` begin index * kernels::packed_size() floats
  // later.
  const float* floats(int64_t index = 0) const {
    return reinterpret_cast<const float*>(data(index));
  }
  // Has all products record their inputs from now on, which then take no other path than those of
  // this class. One thread at a time.
  void record(std::shared_ptr<InputRecord> record) { record_ = std::move(record); }
  bool records() const { return record_ != nullptr; }
  // Bytes of one matrix without the padding of its last panel.
  int64_t matrix_bytes() const;

  // The values of a matrix, row-major.
  std::vector<float> unpack(int64_t index) const;
  // y = x W + (accumulate ? y : bias ? bias : 0) with matrix `index`, on the calling thread.
  void multiply(int64_t index, const float* x, int64_t x_stride, int64_t rows, const float* bias,
                bool accumulate, float* y, int64_t y_stride) const;
  // Only outputs [begin, end): see Linear::apply_columns.
  void multiply_columns(int64_t index, const float* x, int64_t x_stride, int64_t rows,
                        int64_t begin, int64_t end, const float* bias, bool accumulate, float* y,
                        int64_t y_stride) const;
  // The sum of multiply_columns() with matrices `index` and behind, bit for bit, of rows of
  // kernels::pack_row(): those of each matrix begin `offsets` groups from `rows`, and are `stride`
  // groups apart.
  void multiply_packed_rows(int64_t index, const std::byte* rows, int64_t stride,
                            std::span<const int64_t> offsets, int64_t count, int64_t begin,
                            int64_t end, const float* bias, bool accumulate, float* y,
                            int64_t y_stride) const;

 private:
  static int64_t pitch(WeightFormat format, const MatrixSizes& sizes);

  WeightFormat format_ = WeightFormat::kFloat32;
  MatrixSizes sizes_;
  int64_t pitch_ = 0;  // bytes from one matrix to the next
  const std::byte* data_ = nullptr;
  std::shared_ptr<const Block> own_;     // null: stored elsewhere
  std::shared_ptr<InputRecord> record_;  // null: inputs are not recorded
};

// A real tensor from which an operation makes matrices.
struct Kernel {
  // Makes the panels of a part of the tensor, which the name tells apart from others ("" if there
  // is only one). `fill` reads values(), and is not called if the panels are stored already.
  using Maker =
      std::function<Panels(const std::string& part, const MatrixSizes&, const Panels::Fill& fill)>;

  // A tensor whose panels are float32.
  static Kernel of(const Shape& shape, std::vector<float> values);
  // The part `name` of the kernel, as a kernel of its own.
  Kernel part(const std::string& name, const Shape& part_shape,
              std::function<std::vector<float>()> part_values) const;

  Shape shape;
  // In which the panels are stored or are to be packed. An operation that multiplies without panels
  // does so only with float32.
  WeightFormat format = WeightFormat::kFloat32;
  std::function<std::vector<float>()> values;  // row-major
  Maker panels;
};

// A tensor that may be complex.
struct KernelParts {
  Kernel real;
  std::optional<Kernel> imaginary;
};

}  // namespace sl::ops
