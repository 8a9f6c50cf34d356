// AdditiveAttention: y[t] = sum over j of softmax_j(v . tanh(W x[t] + U source[j])) source[j]
// (reference: tensorflow attention.AdditiveAttention).
#include "layers/attention/additive_scores.h"
#include "layers/attention/source_attention.h"

namespace sl {
namespace {

class AdditiveAttention final : public SourceAttention {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : source(read_source_name(config)),
          heads(config.integer("num_heads", 1)),
          units(config.integer("units_per_head", 1)) {}

    std::string source;
    int64_t heads, units;
  };

  AdditiveAttention(const Fields& fields, const Init& init)
      : SourceAttention(fields.source, fields.heads, "probabilities"),
        scores_(fields.heads, fields.units, init.weights) {}

 private:
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    declare_kept(declaration, input, scores_.width());
    declare_emit(declaration, input);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const int64_t width = scores_.width();
    const Source source =
        keyed_source(run, width, [&](const float* values, int64_t rows, float* keys) {
          scores_.make_keys(run, values, rows, keys);
        });
    const float* queries = scores_.queries(run, masked(run, x), x.steps());
    auto* hidden = run.scratch<float>(width);
    return attend(run, x, source, [&](int64_t b, int64_t t, float* weights) {
      if (!*x.mask_at(b, t)) return;
      scores_.weigh(queries + (b * x.time + t) * width, source.item_keys(b, width),
                    source.item_mask(b), source.time, hidden, weights);
    });
  }
  Sequence do_step(Run& run, const Sequence& x) const override { return do_layer(run, x); }

  int64_t inputs() const override { return scores_.inputs(); }
  int64_t source_channels() const override { return scores_.source_channels(); }

  AdditiveScores scores_;
};

SL_REGISTER_LAYER(AdditiveAttention);

}  // namespace
}  // namespace sl
