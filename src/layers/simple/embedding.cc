// Embedding: rows of a table, looked up by integer inputs (reference: simple.Embedding).
#include <string>

#include "layers/builder.h"
#include "ops/lookup_table.h"

namespace sl {
namespace {

class Embedding final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : dimension(config.integer("dimension", 1)),
          num_embeddings(config.integer("num_embeddings", 1)),
          param_dtype(config.dtype("param_dtype", DType::kFloat32)),
          compute_dtype(config.optional_dtype("compute_dtype").value_or(param_dtype)),
          param_name(config.string("embedding_param_name", "embedding")) {
      if (!is_float(param_dtype)) config.error("param_dtype", "expected a float dtype");
      if (!is_float(compute_dtype)) config.error("compute_dtype", "expected a float dtype");
      config.ignore({"embedding_init", "embedding_sharding"});
    }
    int64_t dimension;
    int64_t num_embeddings;
    DType param_dtype;
    DType compute_dtype;
    std::string param_name;
  };

  Embedding(Fields fields, const Init& init)
      : dimension_(fields.dimension),
        dtype_(fields.compute_dtype),
        table_(init.weights.get(fields.param_name, {fields.num_embeddings, dimension_}), dtype_) {}

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
