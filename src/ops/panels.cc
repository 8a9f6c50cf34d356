#include "ops/panels.h"

#include <algorithm>
#include <utility>

#include "kernels/packed.h"
#include "ops/error_feedback.h"
#include "ops/input_record.h"

namespace sl::ops {

int64_t Panels::pitch(WeightFormat format, const MatrixSizes& sizes) {
  // Fails if the size does not fit, even with padded columns and two numbers for each element.
  checked_product(sizes.inputs + 64, checked_sum(sizes.outputs, 64), 2 * sizeof(float));
  return static_cast<int64_t>(
      align_up(static_cast<size_t>(kernels::packed_bytes(format, sizes.inputs, sizes.outputs))));
}

size_t Panels::bytes(WeightFormat format, const MatrixSizes& sizes) {
  return static_cast<size_t>(checked_product(sizes.count, pitch(format, sizes)));
}

Panels::Panels(WeightFormat format, const MatrixSizes& sizes, const Fill& fill)
    : format_(format), sizes_(sizes), pitch_(pitch(format, sizes)) {
  auto block = std::make_shared<Block>(bytes(format, sizes), Allocator());
  data_ = block->data();
  fill([&](int64_t index, const float* w, int64_t row_stride, int64_t column_stride) {
    std::byte* const to = block->data() + index * pitch_;
    const int64_t size = kernels::packed_bytes(format_, sizes_.inputs, sizes_.outputs);
    kernels::pack(format_, w, row_stride, column_stride, sizes_.inputs, sizes_.outputs, to);
    std::fill(to + size, to + pitch_, std::byte());
  });
  own_ = std::move(block);
}

Panels::Panels(WeightFormat format, const MatrixSizes& sizes,
               std::span<const RoundedMatrix> rounded)
    : format_(format), sizes_(sizes), pitch_(pitch(format, sizes)) {
  auto block = std::make_shared<Block>(bytes(format, sizes), Allocator());
  data_ = block->data();
  const int64_t size = kernels::packed_bytes(format, sizes.inputs, sizes.outputs);
  std::byte* to = block->data();
  for (const RoundedMatrix& matrix : rounded) {
    kernels::pack_rounded(format, matrix.scales.data(), matrix.integers.data(), sizes.inputs,
                          sizes.outputs, to);
    std::fill(to + size, to + pitch_, std::byte());
    to += pitch_;
  }
  own_ = std::move(block);
}

int64_t Panels::matrix_bytes() const {
  constexpr int64_t kWhole = 64;  // outputs without padding
  return kernels::packed_bytes(format_, sizes_.inputs, kWhole) * sizes_.outputs / kWhole;
}

std::vector<float> Panels::unpack(int64_t index) const {
  const auto [count, inputs, outputs] = sizes_;
  std::vector<float> w(static_cast<size_t>(inputs * outputs));
  std::vector<float> column(static_cast<size_t>(inputs));
  for (int64_t j = 0; j < outputs; ++j) {
    kernels::unpack_column(format_, data(index), inputs, j, column.data());
    for (int64_t p = 0; p < inputs; ++p)
      w[static_cast<size_t>(p * outputs + j)] = column[static_cast<size_t>(p)];
  }
  return w;
}

void Panels::multiply(int64_t index, const float* x, int64_t x_stride, int64_t rows,
                      const float* bias, bool accumulate, float* y, int64_t y_stride) const {
  if (record_) [[unlikely]]
    record_->add(index, x, x_stride, rows);
  kernels::gemm_packed(format_, x, x_stride, data(index), rows, sizes_.inputs, sizes_.outputs, bias,
                       accumulate, y, y_stride);
}

void Panels::multiply_columns(int64_t index, const float* x, int64_t x_stride, int64_t rows,
                              int64_t begin, int64_t end, const float* bias, bool accumulate,
                              float* y, int64_t y_stride) const {
  if (record_ && begin == 0) [[unlikely]]
    record_->add(index, x, x_stride, rows);
  const int64_t skipped = kernels::packed_bytes(format_, sizes_.inputs, begin);
  kernels::gemm_packed(format_, x, x_stride, data(index) + skipped, rows, sizes_.inputs,
                       end - begin, bias ? bias + begin : nullptr, accumulate, y + begin, y_stride);
}

void Panels::multiply_packed_rows(int64_t index, const std::byte* rows, int64_t stride,
                                  std::span<const int64_t> offsets, int64_t count, int64_t begin,
                                  int64_t end, const float* bias, bool accumulate, float* y,
                                  int64_t y_stride) const {
  const int64_t skipped = kernels::packed_bytes(format_, sizes_.inputs, begin);
  kernels::gemm_packed_rows(format_, rows, stride, offsets, data(index) + skipped, pitch_, count,
                            sizes_.inputs, end - begin, bias ? bias + begin : nullptr, accumulate,
                            y + begin, y_stride);
}

Kernel Kernel::of(const Shape& shape, std::vector<float> values) {
  return {shape, WeightFormat::kFloat32, [values = std::move(values)] { return values; },
          [](const std::string&, const MatrixSizes& sizes, const Panels::Fill& fill) {
            return Panels(WeightFormat::kFloat32, sizes, fill);
          }};
}

Kernel Kernel::part(const std::string& name, const Shape& part_shape,
                    std::function<std::vector<float>()> part_values) const {
  return {part_shape, format, std::move(part_values),
          [name, make = panels](const std::string& inner, const MatrixSizes& sizes,
                                const Panels::Fill& fill) {
            return make(inner.empty() ? name : name + '.' + inner, sizes, fill);
          }};
}

}  // namespace sl::ops
