// MultiChannelEmbedding: y = reduce(table[x[c] + offset of channel c]) for integers x, each channel
// of which has its own part of the table (magenta_rt: transformer.MultiChannelEmbedding).
#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <vector>

#include "kernels/pointwise.h"
#include "layers/builder.h"
#include "layers/token_table.h"
#include "ops/lookup_table.h"

namespace sl {
namespace {

enum class ChannelReduction { kNone, kMean, kSum, kMax, kMin };

struct MultiChannelFields {
  explicit MultiChannelFields(Config& config)
      : dimension(config.integer("dimension", 1)),
        num_channels(config.integer("num_channels", 1)),
        reserved(config.integer("num_reserved_embeddings", 0, 0)),
        reduction(read_reduction(config)),
        param_dtype(config.dtype("param_dtype", DType::kFloat32)),
        compute_dtype(config.optional_dtype("compute_dtype").value_or(param_dtype)) {
    if (!is_float(param_dtype)) config.error("param_dtype", "expected a float dtype");
    if (!is_float(compute_dtype)) config.error("compute_dtype", "expected a float dtype");
    read_counts(config);
    for (const int64_t count : counts) rows = checked_sum(rows, count);
    rows = checked_sum(rows, reserved);
    if (config.boolean("round_num_embeddings_to_multiple_of_128", true)) rows = round_up(rows, 128);
    if (rows < 1) config.error("num_embeddings_per_channel", "expected at least one embedding");
    config.ignore({"embedding_init", "embedding_sharding"});
  }

  static ChannelReduction read_reduction(Config& config) {
    config.note("reduction_fn", R"("mean", "sum", "max", "min" or null)", "null");
    const Json* value = config.raw("reduction_fn");
    if (!value || value->is_null()) return ChannelReduction::kNone;
    const size_t choice = config.choice("reduction_fn", {"mean", "sum", "max", "min"}, 0);
    return static_cast<ChannelReduction>(choice + 1);
  }

  // Reads one number for all channels, or a list with one for each.
  void read_counts(Config& config) {
    const char* field = "num_embeddings_per_channel";
    config.note(field, "integer or list of integers", "");
    const Json* value = config.raw(field);
    if (value && value->is_array()) {
      counts = config.integers(field);
    } else {
      constexpr int64_t kMaxChannels = int64_t{1} << 20;
      if (num_channels > kMaxChannels)
        config.error("num_channels", fmt::format("expected at most {}", kMaxChannels));
      counts.assign(static_cast<size_t>(num_channels), config.integer(field, 1));
    }
    if (static_cast<int64_t>(counts.size()) != num_channels) {
      config.error(field, fmt::format("expected {} numbers, one for each of num_channels, got {}",
                                      num_channels, counts.size()));
    }
    for (const int64_t count : counts) {
      if (count < 0) config.error(field, fmt::format("expected at least 0, got {}", count));
    }
  }

  int64_t dimension;
  int64_t num_channels;
  int64_t reserved;
  ChannelReduction reduction;
  DType param_dtype;
  DType compute_dtype;
  std::vector<int64_t> counts;  // of each channel
  int64_t rows = 0;
};

class MultiChannelEmbedding final : public StatelessLayer, public TokenTable {
 public:
  using Fields = MultiChannelFields;

  MultiChannelEmbedding(Fields fields, const Init& init)
      : fields_(std::move(fields)),
        offsets_(fields_.counts.size()),
        table_(init.weights.get("embedding", {fields_.rows, fields_.dimension}),
               fields_.compute_dtype) {
    std::exclusive_scan(fields_.counts.begin(), fields_.counts.end(), offsets_.begin(), int64_t{0});
  }

  // The maximum over all channels.
  int64_t token_count() const override { return std::ranges::max(fields_.counts); }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.shape != Shape{fields_.num_channels}) {
      fail(Code::kShape, "expected {} channels of integers, got {}", fields_.num_channels,
           to_string(input));
    }
    ChannelSpec out = row_spec(input, fields_.compute_dtype, fields_.dimension);
    if (fields_.reduction != ChannelReduction::kNone) out.shape.erase(0);
    return out;
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output_like(x, do_output_spec(x.spec(), {}));
    if (fields_.reduction == ChannelReduction::kNone) {
      ops::for_steps(run, x.steps(), y.frame_size(), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin * fields_.num_channels; i < end * fields_.num_channels; ++i)
          table_.copy_row(row_of(x, i), y.values + static_cast<size_t>(i) * row_bytes());
      });
      return y;
    }
    run.parallel().count(x.size() * fields_.dimension);
    ops::for_ranges_with_scratch(
        run, x.steps(), ops::steps_of_work(x.frame_size() * y.frame_size()), 2 * fields_.dimension,
        [&](int64_t begin, int64_t end, float* scratch) {
          for (int64_t i = begin; i < end; ++i) reduce(x, i, scratch, y.frame(0, i));
        });
    return y;
  }

  size_t row_bytes() const {
    return static_cast<size_t>(fields_.dimension) * size_of(fields_.compute_dtype);
  }
  // The row of element i of x. As in NumPy, negative numbers count from the end of the table.
  int64_t row_of(const Sequence& x, int64_t i) const {
    const int64_t token = ops::integer_at(x, i);
    const bool is_reserved = fields_.reserved > 0 && token < fields_.reserved;
    const int64_t row =
        token + (is_reserved ? 0 : offsets_[static_cast<size_t>(i % fields_.num_channels)]);
    return row < 0 ? row + fields_.rows : row;
  }

  // Reduces the rows of step `step` in float32. `scratch` holds two rows.
  void reduce(const Sequence& x, int64_t step, float* scratch, std::byte* y) const {
    const int64_t size = fields_.dimension, channels = fields_.num_channels;
    float* const total = scratch;
    float* const next = scratch + size;
    for (int64_t c = 0; c < channels; ++c) {
      auto* to = c == 0 ? total : next;
      table_.copy_floats(row_of(x, step * channels + c), fields_.compute_dtype, to);
      if (c > 0) kernels::binary(operation(), total, next, total, size);
    }
    if (fields_.reduction == ChannelReduction::kMean) {
      kernels::binary_scalar(kernels::Binary::kDivide, total, static_cast<float>(channels), total,
                             size);
    }
    ops::convert(total, DType::kFloat32, y, fields_.compute_dtype, size);
  }
  kernels::Binary operation() const {
    switch (fields_.reduction) {
      case ChannelReduction::kMax:
        return kernels::Binary::kMaximum;
      case ChannelReduction::kMin:
        return kernels::Binary::kMinimum;
      default:
        return kernels::Binary::kAdd;
    }
  }

  Fields fields_;
  std::vector<int64_t> offsets_;  // of each channel
  ops::LookupTable table_;
};

SL_REGISTER_LAYER(MultiChannelEmbedding);

}  // namespace
}  // namespace sl
