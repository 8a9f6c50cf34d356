// ConcatPositionEmbedding: y[t] = concat(x[t], embedding[position of t]) on the last channel axis.
// Steps after the last position get NaN (reference: tensorflow position.ConcatPositionEmbedding).
#include <algorithm>
#include <limits>
#include <vector>

#include "layers/builder.h"
#include "layers/position/appended_channels.h"
#include "layers/position/step_counter.h"

namespace sl {
namespace {

class ConcatPositionEmbedding final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : timesteps(config.integer("timesteps", 1)), channels(config.integer("channels", 1)) {
      config.ignore({"embeddings_initializer"});
    }
    int64_t timesteps, channels;
  };

  ConcatPositionEmbedding(Fields fields, const Init& init)
      : channels_(fields.channels),
        embeddings_(init.weights.floats("embeddings", {fields.timesteps, fields.channels})),
        counter_(false) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    return appended_spec(input, channels_);
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    counter_.declare(declaration, input);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output_like(x, {x.dtype, with_appended(x.channels, channels_)});
    const Positions positions = counter_.count(run, x);
    auto* vectors = run.scratch<float>(positions.max_items, x.time, channels_);
    for (int64_t i = 0; i < positions.items * x.time; ++i) {
      // A position too large to be exact in float32 is also too large for the table.
      const auto position = static_cast<int64_t>(positions.values[i]);
      float* to = vectors + i * channels_;
      if (position >= 0 && (position + 1) * channels_ <= size()) {
        std::copy_n(embeddings_.data() + position * channels_, channels_, to);
      } else {
        std::fill_n(to, channels_, std::numeric_limits<float>::quiet_NaN());
      }
    }
    append_to_rows(run, x, positions, vectors, channels_, y);
    return y;
  }
  Sequence do_step(Run& run, const Sequence& x) const override { return do_layer(run, x); }

  StepDifference step_difference(const EarlySteps& before) const override {
    return counter_.step_difference(before, Layer::step_difference(before), "");
  }
  int64_t size() const { return static_cast<int64_t>(embeddings_.size()); }

  int64_t channels_;
  std::vector<float> embeddings_;
  StepCounter counter_;
};

SL_REGISTER_LAYER(ConcatPositionEmbedding);

}  // namespace
}  // namespace sl
