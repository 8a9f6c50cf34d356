// Base of all pooling layers: pools over time and up to two spatial dimensions, separately for each
// channel (reference: pooling.BasePooling).
#pragma once

#include <cstdint>

#include "core/ring.h"
#include "layers/builder.h"
#include "layers/early_windows.h"
#include "ops/pooling.h"

namespace sl {

class PoolingLayer : public Layer {
 public:
  explicit PoolingLayer(ops::Pool pool) : pool_(std::move(pool)) {}

  int64_t block_size() const final { return time().stride; }
  Ratio output_ratio() const final { return Ratio(1, time().stride); }
  bool supports_step() const final;
  std::string step_obstacle() const final;
  int64_t input_latency() const final { return supports_step() ? time().input_latency() : 0; }
  int64_t output_latency() const final {
    return time().is_by_amounts() ? time().output_latency() : Layer::output_latency();
  }
  ReceptiveFields receptive_field_per_step() const final { return time().receptive_field(); }
  // If windows do not overlap, and none begins in the padding or reaches far into it.
  InPieces in_pieces() const final {
    const ops::Window& window = time();
    const bool apart = window.extent() <= window.stride && window.pads().before == 0 &&
                       window.pads().after < window.extent() && !window.is_by_amounts();
    return apart ? InPieces::kAnywhere : InPieces::kNo;
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const final;
  int64_t do_output_length(int64_t length, const ChannelSpec&, const Constants&) const final {
    return time().output_length(length);
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const final;
  Sequence do_layer(Run& run, const Sequence& x) const final;
  Sequence do_step(Run& run, const Sequence& x) const final;

  const ops::Window& time() const { return pool_.time(); }
  StepDifference step_difference(const EarlySteps& before) const final {
    const StepDifference difference = window_difference(time(), before);
    return difference.reason.empty() ? Layer::step_difference(before) : difference;
  }
  std::string early_steps_cure(const EarlySteps& before) const final {
    return window_cure(time(), before);
  }

  RingSpec ring_of(const ChannelSpec& input) const;

  ops::Pool pool_;
};

// A pooling layer over time and `rank` - 1 spatial dimensions.
template <ops::Pooling op, size_t rank>
class PoolingOver final : public PoolingLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : axes(ops::read_windows(config, "pool_size", ops::read_paddings(config, rank))) {
      if (op == ops::Pooling::kAverage) masked_average = config.boolean("masked_average", false);
    }
    std::vector<ops::Window> axes;
    bool masked_average = false;
  };

  PoolingOver(Fields fields, const Init&)
      : PoolingLayer(ops::Pool(op, std::move(fields.axes), fields.masked_average)) {}
};

}  // namespace sl
