// Embedding: y = table[x] for integers x (reference: simple.Embedding).
#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "kernels/packed.h"
#include "layers/builder.h"
#include "layers/embedding/embedding_fields.h"
#include "layers/embedding/packed_table.h"
#include "layers/token_table.h"
#include "ops/lookup_table.h"

namespace sl {
namespace {

class Embedding final : public StatelessLayer, public TokenTable {
 public:
  using Fields = EmbeddingFields;

  Embedding(Fields fields, const Init& init)
      : dimension_(fields.dimension),
        count_(fields.num_embeddings),
        dtype_(fields.compute_dtype.value_or(fields.param_dtype)) {
    const Shape shape = fields.table_shape();
    const WeightSource source = init.weights.source(fields.param_name, shape);
    const ops::Kernel table = init.weights.kernel(source).real;
    const bool is_packed = !source.tensor.data;  // in the file
    if (table.format == WeightFormat::kFloat32 && !is_packed) {
      table_.emplace(init.weights.get(fields.param_name, shape), dtype_);
    } else {
      packed_ = pack(transposed_table(table, fields.param_dtype, fields.compute_dtype),
                     fields.compute_dtype);
    }
  }

  int64_t token_count() const override { return count_; }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    return row_spec(input, dtype_, dimension_);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output_like(x, row_spec(x.spec(), dtype_, dimension_));
    if (!table_) {
      unpack_rows(run, x, y);
      return y;
    }
    ops::for_steps(run, x.size(), dimension_, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) look_up(x, i, y);
    });
    return y;
  }

  static ops::Panels pack(const ops::Kernel& table, std::optional<DType> compute_dtype) {
    const int64_t count = table.shape[0], dimension = table.shape[1];
    return table.panels("", {1, dimension, count}, [&](const ops::Panels::Pack& pack) {
      std::vector<float> values = table.values();
      if (compute_dtype) ops::round_to(*compute_dtype, values.data(), count * dimension);
      pack(0, values.data(), 1, dimension);
    });
  }

  // Negative indices count from the end.
  int64_t index_at(const Sequence& x, int64_t i) const {
    const int64_t index = ops::integer_at(x, i);
    return index < 0 ? index + count_ : index;
  }
  void look_up(const Sequence& x, int64_t i, const Sequence& y) const {
    table_->copy_row(index_at(x, i),
                     y.values + static_cast<size_t>(i * dimension_) * size_of(dtype_));
  }

  void unpack_rows(Run& run, const Sequence& x, const Sequence& y) const {
    const bool direct = dtype_ == DType::kFloat32;
    float* const rows = direct ? y.floats() : run.scratch<float>(x.size(), dimension_);
    ops::for_steps(run, x.size(), dimension_, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t index = index_at(x, i);
        float* const row = rows + i * dimension_;
        if (index >= 0 && index < count_) {
          kernels::unpack_column(packed_.format(), packed_.data(), dimension_, index, row);
        } else {
          std::fill_n(row, dimension_, std::numeric_limits<float>::quiet_NaN());
        }
      }
    });
    if (!direct) ops::convert(rows, DType::kFloat32, y.values, dtype_, y.size());
  }

  int64_t dimension_;
  int64_t count_;
  DType dtype_;
  std::optional<ops::LookupTable> table_;
  // In weight formats other than float32 instead: the table as a matrix [dimension, count], so that
  // an EmbeddingTranspose can share it.
  ops::Panels packed_;
};

SL_REGISTER_LAYER(Embedding);

}  // namespace
}  // namespace sl
