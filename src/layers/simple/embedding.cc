// Embedding: rows of a table, looked up by integer inputs (reference: simple.Embedding).
#include <cstring>
#include <limits>
#include <vector>

#include "layers/builder.h"
#include "layers/simple/embedding_fields.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

class Embedding final : public StatelessLayer {
 public:
  using Fields = EmbeddingFields;

  Embedding(Fields fields, const Init& init)
      : dimension_(fields.dimension),
        rows_(fields.num_embeddings),
        dtype_(fields.compute_dtype.value_or(fields.param_dtype)) {
    const Tensor table = init.weights.get(fields.param_name, fields.table_shape());
    // A copy, in the dtype of the output: a step must not wait for pages of a mapped file.
    table_.resize(static_cast<size_t>((rows_ + 1) * dimension_) * size_of(dtype_));
    ops::convert(table.data, table.dtype, table_.data(), dtype_, table.shape.size());
    const std::vector<float> missing(static_cast<size_t>(dimension_),
                                     std::numeric_limits<float>::quiet_NaN());
    ops::convert(missing.data(), DType::kFloat32, row(rows_), dtype_, dimension_);
  }

  ChannelSpec output_spec(const ChannelSpec& input, const Constants&) const override {
    if (!is_integer(input.dtype)) {
      fail(Code::kShape, "{} \"{}\": expected int32 or int8 inputs, got {}", type(), name(),
           name_of(input.dtype));
    }
    ChannelSpec out{dtype_, input.shape};
    out.shape.push_back(dimension_);
    return out;
  }
  Sequence layer(Run& run, const Sequence& x) const override {
    Shape channels = x.channels;
    channels.push_back(dimension_);
    const Sequence y = run.output_like(x, {dtype_, channels});
    ops::for_steps(run, x.size(), dimension_, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) look_up(x, i, y);
    });
    return y;
  }

 private:
  std::byte* row(int64_t i) { return table_.data() + static_cast<size_t>(i) * row_bytes(); }
  size_t row_bytes() const { return static_cast<size_t>(dimension_) * size_of(dtype_); }

  // Negative indices count from the end; a row of NaN follows the table, for those beyond it.
  void look_up(const Sequence& x, int64_t i, const Sequence& y) const {
    int64_t index = x.dtype == DType::kInt32 ? x.as<int32_t>()[i] : x.as<int8_t>()[i];
    if (index < 0) index += rows_;
    if (index < 0 || index >= rows_) index = rows_;
    const size_t bytes = row_bytes();
    std::memcpy(y.values + static_cast<size_t>(i) * bytes,
                table_.data() + static_cast<size_t>(index) * bytes, bytes);
  }

  int64_t dimension_;
  int64_t rows_;
  DType dtype_;
  std::vector<std::byte> table_;
};

SL_REGISTER_LAYER(Embedding);

}  // namespace
}  // namespace sl
