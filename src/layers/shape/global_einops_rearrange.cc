// GlobalEinopsRearrange: y = einops.rearrange(x, pattern) on time and channels together. An output
// step is valid if all of its elements are or, with `ceil_mode`, if any is (reference:
// simple.GlobalEinopsRearrange).
#include <algorithm>
#include <cstring>

#include "layers/builder.h"
#include "ops/einops.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

// The shape [time, channels...].
Shape with_time(int64_t time, const Shape& channels) {
  Shape out = channels;
  out.insert(0, time);
  return out;
}

class GlobalEinopsRearrange final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : einops(config, {"batch"}), ceil_mode(config.boolean("ceil_mode", false)) {
      if (einops.output_rank() == 0) config.error("pattern", "the output has no time axis");
    }
    ops::Einops einops;
    bool ceil_mode;
  };

  GlobalEinopsRearrange(Fields fields, const Init&) : fields_(std::move(fields)) {}

  bool supports_step() const override { return false; }
  std::string step_obstacle() const override {
    return "it rearranges all steps at once: run it layer-wise, before or after the stream";
  }
  // As in the reference, the layer as a whole has an infinite receptive field, but each step has
  // {0, 0}.
  ReceptiveField receptive_field() const override { return StepRange{-kInfinite, kInfinite}; }

 private:
  // The output channels must not depend on the time. As in the reference, they are those of the
  // minimum time that the given lengths allow.
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    const Shape out = output_shape(fields_.einops.given_lengths(), input.shape);
    return {input.dtype, out.slice(1, out.rank())};
  }
  int64_t do_output_length(int64_t time, const ChannelSpec& input,
                           const Constants&) const override {
    const Shape out = output_shape(time, input.shape);
    const Shape expected = do_output_spec(input, Constants()).shape;
    if (out.slice(1, out.rank()) != expected) {
      fail(Code::kShape, "{} steps give channels {}, expected {}", time,
           to_string(out.slice(1, out.rank())), to_string(expected));
    }
    return out[0];
  }
  Sequence do_layer(Run& run, const Sequence& input) const override {
    const Sequence x = ops::mask_invalid(run, input);
    const Shape dims = with_time(x.time, x.channels);
    Shape out;
    const ops::StridedView view = fields_.einops.view(dims, ops::dense_view(dims).strides, &out);
    const Sequence y = run.output({x.dtype, out.slice(1, out.rank())}, x.batch, out[0]);
    for (int64_t b = 0; b < x.batch; ++b) {
      ops::gather(view, x.frame(b, 0), size_of(x.dtype), y.frame(b, 0));
    }
    write_mask(run, x, dims, y);
    return y;
  }

  Shape output_shape(int64_t time, const Shape& channels) const {
    const Shape dims = with_time(time, channels);
    Shape out;
    fields_.einops.view(dims, ops::dense_view(dims).strides, &out);
    if (out.empty()) fail(Code::kShape, "no time axis is left");
    return out;
  }

  // Rearranges the mask like the values, with the flag of a step for each of its elements.
  void write_mask(Run& run, const Sequence& x, const Shape& dims, const Sequence& y) const {
    Shape strides = dims;
    for (int i = 0; i < strides.rank(); ++i) strides[i] = i == 0 ? 1 : 0;
    Shape out;
    const ops::StridedView view = fields_.einops.view(dims, strides, &out);
    const int64_t frame = y.frame_size();
    auto* flags = run.scratch<std::byte>(y.time, frame);
    for (int64_t b = 0; b < y.batch; ++b) {
      ops::gather(view, reinterpret_cast<const std::byte*>(x.mask_at(b, 0)), 1, flags);
      for (int64_t t = 0; t < y.time; ++t) {
        const std::byte* const first = flags + t * frame;
        const auto wanted = std::byte{fields_.ceil_mode};
        const bool found = std::find(first, first + frame, wanted) != first + frame;
        *y.mask_at(b, t) = found == fields_.ceil_mode ? 1 : 0;
      }
    }
  }

  Fields fields_;
};

SL_REGISTER_LAYER(GlobalEinopsRearrange);

}  // namespace
}  // namespace sl
