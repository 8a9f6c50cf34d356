// ResidualVectorQuantizer: vectors as codes and codes as vectors. Each codebook quantizes what
// those before it have left (magenta_rt: spectrostream.ResidualVectorQuantizer).
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "kernels/packed.h"
#include "layers/builder.h"
#include "ops/linear.h"
#include "ops/lookup_table.h"

namespace sl {
namespace {

struct QuantizerFields {
  explicit QuantizerFields(Config& config)
      : encodes(config.choice("direction", {"embeddings_to_codes", "codes_to_embeddings"}, 0) == 0),
        num_quantizers(config.integer("num_quantizers", 1)),
        num_embeddings(config.integer("num_embeddings", 1)),
        embedding_dim(config.integer("embedding_dim", 1)),
        use_unique_codes(config.boolean("use_unique_codes", false)),
        straight_through(config.boolean("use_quantizer_stopgradient", true)),
        param_dtype(config.dtype("param_dtype", DType::kFloat32)) {
    const int64_t input = read_level(config, "truncation_level");
    const int64_t output = read_level(config, "encoded_truncation_level");
    levels = encodes ? output : input;
    if (!is_float(param_dtype)) config.error("param_dtype", "expected a float dtype");
    config.ignore({"beta", "dynamic_masking", "target_num_quantizers",
                   "full_quantizer_dropout_rate", "full_quantizer_commitment", "dtype",
                   "embedding_init", "embedding_sharding"});
  }

  int64_t read_level(Config& config, const char* field) const {
    config.note(field, "integer or null", "null");
    const Json* value = config.raw(field);
    if (!value || value->is_null()) return num_quantizers;
    const int64_t level = config.integer(field, 1);
    if (level > num_quantizers) {
      config.error(
          field, fmt::format("expected at most num_quantizers, {}, got {}", num_quantizers, level));
    }
    return level;
  }

  bool encodes;
  int64_t num_quantizers;
  int64_t num_embeddings;
  int64_t embedding_dim;
  bool use_unique_codes;
  bool straight_through;
  DType param_dtype;
  int64_t levels;  // of the codes
};

class ResidualVectorQuantizer final : public StatelessLayer {
 public:
  using Fields = QuantizerFields;

  ResidualVectorQuantizer(Fields fields, const Init& init) : fields_(fields) {
    const int64_t count = fields_.num_quantizers, codes = fields_.num_embeddings;
    const Shape shape{count, codes, fields_.embedding_dim};
    if (fields_.encodes) {
      const ops::Kernel kernel = init.weights.kernel(init.weights.source("embedding", shape)).real;
      codebooks_ = pack(kernel);
      measure();
      return;
    }
    Tensor table = init.weights.get("embedding", shape);
    table.shape = {checked_product(fields_.levels, codes), fields_.embedding_dim};
    table_.emplace(table, fields_.param_dtype);
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (fields_.encodes) {
      if (input != ChannelSpec{DType::kFloat32, {fields_.embedding_dim}}) {
        fail(Code::kShape, "expected float32[{}], got {}", fields_.embedding_dim, to_string(input));
      }
      return {DType::kInt32, {fields_.levels}};
    }
    if (input.dtype != DType::kInt32 || input.shape.rank() != 1 ||
        input.shape[0] > fields_.levels) {
      fail(Code::kShape, "expected at most {} codes of int32, got {}", fields_.levels,
           to_string(input));
    }
    return {fields_.param_dtype, {fields_.embedding_dim}};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    return fields_.encodes ? encode(run, x) : decode(run, x);
  }

  // Each codebook as a matrix [dimension, codes].
  ops::Panels pack(const ops::Kernel& kernel) const {
    const int64_t codes = fields_.num_embeddings, size = fields_.embedding_dim;
    const ops::MatrixSizes sizes{fields_.levels, size, codes};
    return kernel.panels("codebooks", sizes, [&](const ops::Panels::Pack& pack) {
      std::vector<float> values = kernel.values();
      ops::round_to(fields_.param_dtype, values.data(), static_cast<int64_t>(values.size()));
      for (int64_t i = 0; i < fields_.levels; ++i)
        pack(i, values.data() + i * codes * size, 1, size);
    });
  }
  void code_vector(int64_t level, int64_t code, float* to) const {
    kernels::unpack_column(codebooks_.format(), codebooks_.data(level), fields_.embedding_dim, code,
                           to);
  }
  // Fills norms_ with the squared lengths of all code vectors, halved and negative.
  void measure() {
    std::vector<float> vector(static_cast<size_t>(fields_.embedding_dim));
    for (int64_t level = 0; level < fields_.levels; ++level) {
      for (int64_t code = 0; code < fields_.num_embeddings; ++code) {
        code_vector(level, code, vector.data());
        double sum = 0;
        for (const float v : vector) sum += double{v} * double{v};
        norms_.push_back(static_cast<float>(-sum / 2));
      }
    }
  }

  Sequence encode(Run& run, const Sequence& x) const {
    constexpr int64_t kRows = 32;  // that are encoded together, to read each codebook once for all
    const int64_t size = fields_.embedding_dim, codes = fields_.num_embeddings;
    const Sequence y = run.output_like(x, do_output_spec(x.spec(), {}));
    run.parallel().count(2 * x.steps() * fields_.levels * codes * size);
    const int64_t floats = checked_sum(checked_product(kRows, checked_sum(size, codes)), size);
    ops::for_ranges_with_scratch(
        run, x.steps(), kRows, floats, [&](int64_t begin, int64_t end, float* scratch) {
          for (; begin < end; begin += kRows) {
            encode_rows(x.floats() + begin * size, std::min(kRows, end - begin), scratch,
                        y.as<int32_t>() + begin * fields_.levels);
          }
        });
    return y;
  }
  // The nearest code vector has the largest product with the residual, less half its own square.
  void encode_rows(const float* x, int64_t rows, float* scratch, int32_t* y) const {
    const int64_t size = fields_.embedding_dim, codes = fields_.num_embeddings;
    float* const residual = scratch;
    float* const scores = residual + rows * size;
    float* const vector = scores + rows * codes;
    std::copy_n(x, rows * size, residual);
    for (int64_t level = 0; level < fields_.levels; ++level) {
      codebooks_.multiply(level, residual, size, rows, norms_.data() + level * codes, false, scores,
                          codes);
      const int64_t offset = fields_.use_unique_codes ? level * codes : 0;
      for (int64_t i = 0; i < rows; ++i) {
        const float* row = scores + i * codes;
        const int64_t code = std::max_element(row, row + codes) - row;
        y[i * fields_.levels + level] = static_cast<int32_t>(code + offset);
        code_vector(level, code, vector);
        subtract(vector, residual + i * size);
      }
    }
  }
  // In training, gradients pass by a quantizer as x + (q - x), whose rounding codes depend on.
  void subtract(const float* vector, float* residual) const {
    for (int64_t k = 0; k < fields_.embedding_dim; ++k) {
      const float difference = vector[k] - residual[k];
      const float quantized = fields_.straight_through ? residual[k] + difference : vector[k];
      residual[k] -= quantized;
    }
  }

  Sequence decode(Run& run, const Sequence& x) const {
    const int64_t size = fields_.embedding_dim, levels = x.channels[0];
    const Sequence y = run.output_like(x, do_output_spec(x.spec(), {}));
    run.parallel().count(x.size() * size);
    ops::for_ranges_with_scratch(
        run, x.steps(), ops::steps_of_work(levels * size), 2 * size,
        [&](int64_t begin, int64_t end, float* scratch) {
          float* const sum = scratch;
          float* const next = scratch + size;
          for (int64_t i = begin; i < end; ++i) {
            std::fill_n(sum, size, 0.0f);
            for (int64_t level = 0; level < levels; ++level) {
              table_->copy_floats(row_of(x.as<int32_t>()[i * levels + level], level),
                                  fields_.param_dtype, next);
              kernels::binary(kernels::Binary::kAdd, sum, next, sum, size);
              ops::round_to(fields_.param_dtype, sum, size);
            }
            ops::convert(sum, DType::kFloat32, y.frame(0, i), y.dtype, size);
          }
        });
    return y;
  }
  // The row of a code in the table; -1, which has NaN, if there is no such code. As in NumPy,
  // negative codes count from the end.
  int64_t row_of(int64_t code, int64_t level) const {
    const int64_t codes = fields_.num_embeddings;
    if (fields_.use_unique_codes) {
      code = floor_mod(code, codes);
    } else if (code < 0) {
      code += codes;
    }
    return code < 0 || code >= codes ? -1 : level * codes + code;
  }

  Fields fields_;
  ops::Panels codebooks_;                  // to encode
  std::vector<float> norms_;               // [levels, codes]
  std::optional<ops::LookupTable> table_;  // [levels * codes, dimension], to decode
};

SL_REGISTER_LAYER(ResidualVectorQuantizer);

}  // namespace
}  // namespace sl
