// OverlapAdd: y[t * frame_step + i] += x[t, i], for frames x [frame_length, C...] of any C
// (reference: dsp.OverlapAdd).
#include "layers/builder.h"
#include "layers/dsp/overlap_adding.h"

namespace sl {
namespace {

class OverlapAdd final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config) : adding(config, "padding", ops::Padding::kValid) {}
    OverlapAdding adding;
  };

  OverlapAdd(Fields fields, const Init&) : adding_(fields.adding) {}

  Ratio output_ratio() const override { return adding_.output_ratio(); }
  bool supports_step() const override { return adding_.supports_step(); }
  std::string step_obstacle() const override { return adding_.step_obstacle("padding"); }
  ReceptiveFields receptive_field_per_step() const override {
    if (adding_.is_semicausal()) {
      return {StepRange{0, ceil_div(adding_.frame_length(), adding_.frame_step()) - 1}};
    }
    return adding_.receptive_field([](int64_t) { return true; });
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.shape.empty() || input.shape[0] != adding_.frame_length()) {
      fail(Code::kShape, "expected channels of shape [{}, ...], got {}", adding_.frame_length(),
           to_string(input));
    }
    return {sum_dtype(input.dtype), input.shape.slice(1, input.shape.rank())};
  }
  int64_t do_output_length(int64_t time, const ChannelSpec&, const Constants&) const override {
    return adding_.output_length(time);
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    ChannelSpec values = do_output_spec(input.channels, {});
    if (is_half(values.dtype)) values.dtype = DType::kFloat32;
    adding_.declare(declaration, input, values);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    return with_frames(run, x, [&](auto element, auto&& frame) {
      using T = typename decltype(element)::Type;
      return adding_.layer<T>(run, x, do_output_spec(x.spec(), {}), 0, frame);
    });
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    return with_frames(run, x, [&](auto element, auto&& frame) {
      using T = typename decltype(element)::Type;
      return adding_.step<T>(run, x, do_output_spec(x.spec(), {}), 0, frame);
    });
  }

  // Booleans are counted, and small integers added without wrapping at their own range.
  static DType sum_dtype(DType input) {
    return input == DType::kBool || input == DType::kInt8 ? DType::kInt32 : input;
  }
  template <typename Fn>
  static Sequence with_frames(Run& run, const Sequence& x, Fn&& fn) {
    const void* values = x.values;
    DType dtype = x.dtype;
    if (is_half(dtype)) values = ops::as_floats(run, x, DType::kFloat32);
    if (sum_dtype(dtype) != dtype) {
      dtype = sum_dtype(dtype);
      auto* wide = run.scratch<int32_t>(x.size());
      ops::convert(x.values, x.dtype, wide, dtype, x.size());
      values = wide;
    }
    Sequence y;
    ops::with_element(dtype, [&](auto element) {
      using T = typename decltype(element)::Type;
      y = fn(element, [&](int64_t b, int64_t t, T*, float*) {
        return static_cast<const T*>(values) + (b * x.time + t) * x.frame_size();
      });
    });
    return y;
  }

  OverlapAdding adding_;
};

SL_REGISTER_LAYER(OverlapAdd);

}  // namespace
}  // namespace sl
