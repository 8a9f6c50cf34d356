// Delay: y[t] = x[t - length], with invalid steps before x[0]. With "delay_layer_output": false a
// layer-wise run returns x unchanged (reference: dsp.Delay).
#include <algorithm>
#include <cstring>

#include "layers/builder.h"

namespace sl {
namespace {

// Consecutive steps of one batch item with their mask.
struct Steps {
  std::byte* values;
  uint8_t* mask;
  size_t frame;

  Steps at(int64_t t) const { return {values + static_cast<size_t>(t) * frame, mask + t, frame}; }
};

void copy(const Steps& from, int64_t count, const Steps& to) {
  std::memcpy(to.values, from.values, static_cast<size_t>(count) * from.frame);
  std::memcpy(to.mask, from.mask, static_cast<size_t>(count));
}

class Delay final : public PointwiseLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : length(config.integer("length", 0)),
          delay_layer_output(config.boolean("delay_layer_output", true)) {}
    int64_t length;
    bool delay_layer_output;
  };

  Delay(Fields fields, const Init&)
      : length_(fields.length), delays_layer_(fields.delay_layer_output) {}

  int64_t input_latency() const override { return length_; }
  int64_t output_latency() const override { return delays_layer_ ? 0 : length_; }
  ReceptiveFields receptive_field_per_step() const override {
    const int64_t at = delays_layer_ ? -length_ : 0;
    return {StepRange{at, at}};
  }
  bool returns_view() const override { return length_ == 0; }
  EarlySteps follow(const EarlySteps& before, StepDifferences& differences) const override {
    EarlySteps after = Layer::follow(before, differences);
    after.begins_invalid = after.begins_invalid || (delays_layer_ && length_ > 0);
    return after;
  }

 private:
  int64_t do_output_length(int64_t time, const ChannelSpec&, const Constants&) const override {
    return delays_layer_ ? checked_sum(time, length_) : time;
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    if (length_ == 0 || input.mode != Mode::kStep) return;
    Shape shape = input.channels.shape;
    shape.insert(0, length_);
    shape.insert(0, input.batch);
    declaration.state("values", input.channels.dtype, shape);
    declaration.state("mask", DType::kBool, {input.batch, length_});
    declaration.index("position", {input.batch}, 0, length_ - 1);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    if (length_ == 0 || !delays_layer_) return x;
    const Sequence y = run.output(x.spec(), x.batch, x.time + length_);
    for (int64_t b = 0; b < x.batch; ++b) {
      const Steps out = steps(y, b);
      std::memset(out.values, 0, static_cast<size_t>(length_) * out.frame);
      std::memset(out.mask, 0, static_cast<size_t>(length_));
      copy(steps(x, b), x.time, out.at(length_));
    }
    return y;
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    if (length_ == 0) return x;
    const auto values = run.state<std::byte>("values");
    const auto mask = run.state<uint8_t>("mask");
    const auto position = run.state<int32_t>("position");
    const Sequence y = run.output(x.spec(), x.batch, x.time);
    const size_t frame = x.frame_bytes();
    for (int64_t b = 0; b < x.batch; ++b) {
      const Steps ring = Steps{values, mask, frame}.at(b * length_);
      step_item(ring, position[b], steps(x, b), x.time, steps(y, b));
      position[b] = static_cast<int32_t>((position[b] + std::min(x.time, length_)) % length_);
    }
    return y;
  }

  static Steps steps(const Sequence& x, int64_t b) {
    return {x.frame(b, 0), x.mask_at(b, 0), x.frame_bytes()};
  }

  // Outputs the oldest steps of the ring, which begin at `position`, and then the steps of x that
  // exceed the length of the ring. The last steps of x replace those that left the ring.
  void step_item(const Steps& ring, int64_t position, const Steps& x, int64_t time,
                 const Steps& y) const {
    const int64_t count = std::min(time, length_);
    const int64_t first = std::min(count, length_ - position);
    copy(ring.at(position), first, y);
    copy(ring, count - first, y.at(first));
    copy(x, time - count, y.at(count));
    copy(x.at(time - count), first, ring.at(position));
    copy(x.at(time - count + first), count - first, ring);
  }

  int64_t length_;
  bool delays_layer_;
};

SL_REGISTER_LAYER(Delay);

}  // namespace
}  // namespace sl
