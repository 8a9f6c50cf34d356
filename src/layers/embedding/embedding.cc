// Embedding: y = table[x] for integers x (reference: simple.Embedding).
#include "layers/builder.h"
#include "layers/embedding/embedding_fields.h"
#include "layers/token_table.h"
#include "ops/lookup_table.h"

namespace sl {
namespace {

class Embedding final : public StatelessLayer, public TokenTable {
 public:
  using Fields = EmbeddingFields;

  Embedding(Fields fields, const Init& init)
      : dimension_(fields.dimension),
        dtype_(fields.compute_dtype.value_or(fields.param_dtype)),
        table_(init.weights.get(fields.param_name, fields.table_shape()), dtype_) {}

  int64_t token_count() const override { return table_.rows(); }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    return row_spec(input, dtype_, dimension_);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output_like(x, row_spec(x.spec(), dtype_, dimension_));
    ops::for_steps(run, x.size(), dimension_, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) look_up(x, i, y);
    });
    return y;
  }

  // Negative indices count from the end.
  void look_up(const Sequence& x, int64_t i, const Sequence& y) const {
    const int64_t index = ops::integer_at(x, i);
    table_.copy_row(index < 0 ? index + table_.rows() : index,
                    y.values + static_cast<size_t>(i * dimension_) * size_of(dtype_));
  }

  int64_t dimension_;
  DType dtype_;
  ops::LookupTable table_;
};

SL_REGISTER_LAYER(Embedding);

}  // namespace
}  // namespace sl
