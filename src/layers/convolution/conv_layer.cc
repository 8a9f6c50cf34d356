#include "layers/convolution/conv_layer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "ops/elementwise.h"

namespace sl {
namespace {

// What one thread activates at a time, in floats.
constexpr int64_t kEpilogueFloats = 1 << 14;

std::optional<DType> read_float_dtype(Config& config, const char* field) {
  const auto dtype = config.optional_dtype(field);
  if (dtype && !is_float(*dtype)) {
    config.error(
        field,
        "expected \"float32\", \"bfloat16\" or \"float16\": convolutions compute in these only");
  }
  return dtype;
}

}  // namespace

ConvFields::ConvFields(Config& config)
    : kernel(config),
      use_bias(config.boolean("use_bias", true)),
      activation(read_activation(config, "activation")),
      compute_dtype(read_float_dtype(config, "compute_dtype")),
      param_dtype(read_float_dtype(config, "param_dtype").value_or(DType::kFloat32)) {
  config.ignore({"precision", "kernel_init", "kernel_sharding", "bias_init", "bias_sharding"});
}

void ConvFields::read_axes(Config& config, size_t rank) {
  axes = ops::read_windows(config, "kernel_size", ops::read_paddings(config, rank));
}

void ConvFields::read_filters(Config& config) {
  filters = config.integer("filters", 1);
  groups = config.integer("groups", 1, 1);
  if (filters % groups != 0) {
    config.error("groups",
                 fmt::format("{} filters cannot be divided into {} groups", filters, groups));
  }
}

ConvLayer::Weights ConvLayer::read_weights(const ConvFields& fields, const Init& init) {
  Shape expected;
  for (const ops::Window& axis : fields.axes) expected.push_back(axis.kernel);
  const bool depthwise = fields.filters == 0;
  expected.push_back(depthwise ? 1 : kAnySize);
  expected.push_back(depthwise ? kAnySize : fields.filters);
  const DType dtype = fields.compute_dtype.value_or(fields.param_dtype);
  const Kernel kernel = read_kernel(fields.kernel, init.weights, expected, dtype);
  const int64_t filters = kernel.shape.back();
  if (filters % fields.multiplier != 0) {
    fail(Code::kWeights, "the kernel {} has {} filters: expected a multiple of depth_multiplier {}",
         to_string(kernel.shape), filters, fields.multiplier);
  }
  std::vector<float> bias;
  if (fields.use_bias) bias = init.weights.floats("bias", {filters});
  ops::round_to(dtype, bias.data(), static_cast<int64_t>(bias.size()));
  const int64_t groups = depthwise ? filters / fields.multiplier : fields.groups;
  return {ops::Convolution(fields.axes, groups, kernel.shape, kernel.values, bias), bias};
}

ConvLayer::ConvLayer(const ConvFields& fields, const Init& init)
    : axes_(fields.axes),
      activation_(fields.activation),
      compute_dtype_(fields.compute_dtype),
      param_dtype_(fields.param_dtype),
      weights_(read_weights(fields, init)) {}

ChannelSpec ConvLayer::output_spec_of(const ChannelSpec& input) const {
  ChannelSpec out{compute_dtype_.value_or(promote_inexact(input.dtype, param_dtype_)), {}};
  for (size_t i = 1; i < axes_.size(); ++i) {
    out.shape.push_back(axes_[i].output_length(input.shape[static_cast<int>(i) - 1]));
  }
  out.shape.push_back(weights_.convolution.filters());
  return out;
}

ChannelSpec ConvLayer::output_spec(const ChannelSpec& input, const Constants&) const {
  const int rank = static_cast<int>(axes_.size());
  const int64_t channels = weights_.convolution.channels();
  if (input.shape.rank() != rank || input.shape.back() != channels) {
    constexpr const char* kForms[] = {"[", "[width, ", "[height, width, "};
    fail(Code::kShape, "{} \"{}\": its kernel expects input of {}{}] per step, got {}", type(),
         name(), kForms[rank - 1], channels, to_string(input.shape));
  }
  const ChannelSpec out = output_spec_of(input);
  if (input.dtype == DType::kComplex64 || !is_float(out.dtype)) {
    fail(Code::kUnsupported, "{} \"{}\": convolution of {} is not supported", type(), name(),
         name_of(input.dtype));
  }
  return out;
}

std::optional<ChannelSpec> ConvLayer::implied_input() const {
  if (axes_.size() > 1) return std::nullopt;
  return ChannelSpec{DType::kFloat32, {weights_.convolution.channels()}};
}

ConvLayer::Frame ConvLayer::frame_of(const Shape& channels) const {
  Frame out;
  out.row = out.size = channels.back();
  for (size_t i = axes_.size() - 1; i > 0; --i) {
    const ops::Pads pads = axes_[i].pads();
    const int64_t size = channels[static_cast<int>(i) - 1];
    out.offset += pads.before * out.size;
    // The last spatial dimension is contiguous with the channels; the one before it makes rows.
    if (i + 1 == axes_.size()) {
      out.row *= size;
    } else {
      out.rows = size;
      out.pitch = out.size;
    }
    out.sizes[i] = pads.before + size + pads.after;
    out.size *= out.sizes[i];
  }
  // Rows without padding between them are one.
  if (out.rows > 1 && out.pitch == out.row) {
    out.row *= out.rows;
    out.rows = 1;
  }
  return out;
}

RingSpec ConvLayer::ring_of(const Frame& frame) const {
  RingSpec out;
  out.frame = {DType::kFloat32, {frame.size}};
  out.history = time().history();
  out.mask_fill = time().history_is_valid();
  return out;
}

void ConvLayer::declare(Declaration& declaration, const SequenceSpec& input) const {
  if (!supports_step() || time().history() == 0) return;
  Ring::declare(declaration, ring_of(frame_of(input.channels.shape)), input.batch, input.time);
}

// Leaves the padding within frames alone. Without a mask, all steps are copied as they are.
void ConvLayer::copy_frames(const Frame& frame, const float* x, const uint8_t* mask, int64_t count,
                            float* out) const {
  const auto row_bytes = static_cast<size_t>(frame.row) * sizeof(float);
  if (!frame.is_padded() &&
      (!mask || std::memchr(mask, 0, static_cast<size_t>(count)) == nullptr)) {
    std::memcpy(out, x, static_cast<size_t>(count) * row_bytes);
    return;
  }
  out += frame.offset;
  for (int64_t i = 0; i < count; ++i, out += frame.size) {
    for (int64_t r = 0; r < frame.rows; ++r, x += frame.row) {
      if (mask && !mask[i]) {
        std::memset(out + r * frame.pitch, 0, row_bytes);
      } else {
        std::memcpy(out + r * frame.pitch, x, row_bytes);
      }
    }
  }
}

// x as convolutions take it: masked and padded, in scratch unless it is so already.
ops::ConvolutionInput ConvLayer::pad(Run& run, const Sequence& x, DType dtype,
                                     ops::Pads pads) const {
  const Frame frame = frame_of(x.channels);
  const int64_t frames = pads.before + x.time + pads.after;
  const float* from = ops::as_floats(run, x, dtype);
  ops::ConvolutionInput in{from, x.batch, frames * frame.size, frame.sizes};
  in.sizes[0] = frames;
  const bool masked = masks_input() && !x.all_valid();
  if (!masked && !frame.is_padded() && frames == x.time) return in;

  auto* out = run.scratch<float>(x.batch * in.batch_pitch);
  in.x = out;
  const auto zero = [](float* at, int64_t count) {
    if (count > 0) std::memset(at, 0, static_cast<size_t>(count) * sizeof(float));
  };
  run.parallel().each(x.batch, [&](int64_t b) {
    float* item = out + b * in.batch_pitch;
    float* own = item + pads.before * frame.size;
    zero(item, frame.is_padded() ? in.batch_pitch : pads.before * frame.size);
    if (!frame.is_padded()) zero(own + x.time * frame.size, pads.after * frame.size);
    copy_frames(frame, from + b * x.time * x.frame_size(), masked ? x.mask_at(b, 0) : nullptr,
                x.time, own);
  });
  return in;
}

void ConvLayer::compute(Run& run, const ops::ConvolutionInput& in, const Sequence& y) const {
  const Parallel& parallel = run.parallel();
  const int64_t filters = weights_.convolution.filters();
  if (y.dtype == DType::kFloat32) {
    weights_.convolution.convolve(in, true, parallel, y.floats());
    if (!activation_) return;
    const int64_t size = y.size();
    parallel.each(ceil_div(size, kEpilogueFloats), [&](int64_t i) {
      const int64_t begin = i * kEpilogueFloats;
      ops::activate(y.floats() + begin, std::min(kEpilogueFloats, size - begin), *activation_,
                    y.dtype);
    });
    return;
  }
  // Each operation rounds its result.
  auto* rows = run.scratch<float>(y.size());
  weights_.convolution.convolve(in, false, parallel, rows);
  ops::round_to(y.dtype, rows, y.size());
  if (!weights_.bias.empty()) {
    for (int64_t i = 0; i < y.size(); i += filters) {
      for (int64_t f = 0; f < filters; ++f) rows[i + f] += weights_.bias[static_cast<size_t>(f)];
    }
    ops::round_to(y.dtype, rows, y.size());
  }
  if (activation_) ops::activate(rows, y.size(), *activation_, y.dtype);
  ops::convert(rows, DType::kFloat32, y.values, y.dtype, y.size());
}

Sequence ConvLayer::layer(Run& run, const Sequence& x) const {
  const ChannelSpec spec = output_spec_of(x.spec());
  const Sequence y = run.output(spec, x.batch, time().output_length(x.time));
  for (int64_t b = 0; b < x.batch; ++b) {
    time().layer_mask(x.mask_at(b, 0), x.time, y.mask_at(b, 0));
  }
  compute(run, pad(run, x, spec.dtype, time().pads()), y);
  return y;
}

Sequence ConvLayer::step(Run& run, const Sequence& x) const {
  const ChannelSpec spec = output_spec_of(x.spec());
  const Sequence y = run.output(spec, x.batch, x.time / time().stride);
  const int64_t history = time().history();
  if (history == 0) {
    for (int64_t b = 0; b < x.batch; ++b) {
      time().step_mask(x.mask_at(b, 0), x.time, y.mask_at(b, 0));
    }
    compute(run, pad(run, x, spec.dtype, {0, 0}), y);
    return y;
  }
  const Frame frame = frame_of(x.channels);
  const float* from = ops::as_floats(run, x, spec.dtype);
  Ring ring(run, ring_of(frame));
  for (int64_t b = 0; b < x.batch; ++b) {
    std::memcpy(ring.incoming_mask(b), x.mask_at(b, 0), static_cast<size_t>(x.time));
    copy_frames(frame, from + b * x.time * x.frame_size(), x.mask_at(b, 0), x.time,
                reinterpret_cast<float*>(ring.incoming(b)));
  }
  ring.push(x.batch, x.time);
  const int64_t frames = history + x.time;
  for (int64_t b = 0; b < x.batch; ++b) {
    time().step_mask(ring.newest_mask(b, frames), frames, y.mask_at(b, 0));
  }
  ops::ConvolutionInput in{reinterpret_cast<const float*>(ring.newest(0, frames)), x.batch,
                           ring.batch_pitch() * frame.size, frame.sizes};
  in.sizes[0] = frames;
  compute(run, in, y);
  return y;
}

}  // namespace sl
