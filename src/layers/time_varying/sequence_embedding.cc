// SequenceEmbedding: y[t] = table[t][x[t]] for integers x, with a part of the table for each step
// (reference: time_varying.SequenceEmbedding).
#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "layers/builder.h"
#include "layers/stream_position.h"
#include "layers/token_table.h"
#include "ops/lookup_table.h"

namespace sl {
namespace {

class SequenceEmbedding final : public Layer, public TokenTable {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : dimension(config.integer("dimension", 1)),
          num_steps(config.integer("num_steps", 1)),
          param_dtype(config.dtype("param_dtype", DType::kFloat32)),
          compute_dtype(config.optional_dtype("compute_dtype").value_or(param_dtype)) {
      if (!is_float(param_dtype)) config.error("param_dtype", "expected a float dtype");
      if (!is_float(compute_dtype)) config.error("compute_dtype", "expected a float dtype");
      read_counts(config);
      config.note("round_num_embeddings_to_multiple_of", "integer or null", "null");
      const Json* multiple = config.raw("round_num_embeddings_to_multiple_of");
      if (multiple && !multiple->is_null()) {
        const int64_t of = config.integer("round_num_embeddings_to_multiple_of", 0);
        if (of > 0) rows = ceil_div(rows, of) * of;
      }
      config.ignore({"embedding_init", "embedding_sharding"});
    }

    // Reads one number for all steps, or a list with one for each step.
    void read_counts(Config& config) {
      const char* field = "num_embeddings_per_step";
      config.note(field, "integer or list of integers", "");
      const Json* value = config.raw(field);
      if (value && value->is_array()) {
        counts = config.integers(field);
        if (static_cast<int64_t>(counts.size()) != num_steps) {
          config.error(field, fmt::format("expected {} numbers, one for each of num_steps, got {}",
                                          num_steps, counts.size()));
        }
        for (const int64_t count : counts) {
          if (count < 0) config.error(field, fmt::format("expected at least 0, got {}", count));
        }
        rows = std::accumulate(counts.begin(), counts.end(), int64_t{0});
      } else {
        common_count = config.integer(field, 1);
        rows = common_count * num_steps;
      }
      if (rows < 1) config.error(field, "expected at least one embedding");
    }

    int64_t dimension;
    int64_t num_steps;
    DType param_dtype;
    DType compute_dtype;
    std::vector<int64_t> counts;  // one for each step; empty: common_count for all
    int64_t common_count = 0;
    int64_t rows = 0;
  };

  SequenceEmbedding(Fields fields, const Init& init)
      : fields_(std::move(fields)),
        starts_(fields_.counts.size()),
        table_(init.weights.get("embedding", {fields_.rows, fields_.dimension}),
               fields_.compute_dtype) {
    std::exclusive_scan(fields_.counts.begin(), fields_.counts.end(), starts_.begin(), int64_t{0});
  }

  // The maximum over all steps.
  int64_t token_count() const override {
    return fields_.counts.empty() ? fields_.common_count : std::ranges::max(fields_.counts);
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    return row_spec(input, fields_.compute_dtype, fields_.dimension);
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    if (input.mode == Mode::kStep) declare_positions(declaration, input.batch, fields_.num_steps);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    return steps_from(run, x, StreamPositions());
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    return steps_from(run, x, take_positions(run, x.batch, x.time, fields_.num_steps));
  }

  StepDifference step_difference(const EarlySteps& before) const override {
    return minds_early_steps(before, "counts invalid steps too");
  }
  // The rows of a step; empty after the last step.
  struct Part {
    int64_t start = 0;
    int64_t count = 0;
  };
  Part part_of(int64_t step) const {
    if (step >= fields_.num_steps) return {};
    if (fields_.counts.empty()) return {step * fields_.common_count, fields_.common_count};
    const auto i = static_cast<size_t>(step);
    return {starts_[i], fields_.counts[i]};
  }

  Sequence steps_from(Run& run, const Sequence& x, const StreamPositions& positions) const {
    const Sequence y =
        run.output_like(x, row_spec(x.spec(), fields_.compute_dtype, fields_.dimension));
    const int64_t frame = x.frame_size();
    const size_t row_bytes =
        static_cast<size_t>(fields_.dimension) * size_of(fields_.compute_dtype);
    ops::for_steps(run, x.steps(), y.frame_size(), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const Part part = part_of(positions.of(i / x.time) + i % x.time);
        for (int64_t k = i * frame; k < (i + 1) * frame; ++k) {
          const int64_t index = ops::integer_at(x, k);
          const bool valid = index >= 0 && index < part.count;
          table_.copy_row(valid ? part.start + index : -1,
                          y.values + static_cast<size_t>(k) * row_bytes);
        }
      }
    });
    return y;
  }

  Fields fields_;
  std::vector<int64_t> starts_;
  ops::LookupTable table_;
};

SL_REGISTER_LAYER(SequenceEmbedding);

}  // namespace
}  // namespace sl
