#include "ops/padded_frames.h"

#include <algorithm>
#include <cstring>

#include "ops/elementwise.h"

namespace sl::ops {
namespace {

void zero(float* at, int64_t count) {
  if (count > 0) std::memset(at, 0, static_cast<size_t>(count) * sizeof(float));
}

// x's real parts and, if they are wanted and x has some, imaginary parts as float sequences.
struct Parts {
  std::array<Sequence, 2> parts;
  size_t count = 1;
  DType dtype;  // in which frames are computed with
};
Parts parts_of(Run& run, const Sequence& x, DType dtype) {
  if (dtype != DType::kComplex64) return {{x}, 1, dtype};
  Parts out{{x, x}, x.dtype == DType::kComplex64 ? size_t{2} : size_t{1}, DType::kFloat32};
  if (out.count == 1) return out;
  const float* values = real_parts(run, x);
  for (size_t i = 0; i < 2; ++i, values += x.size()) {
    out.parts[i].dtype = DType::kFloat32;
    out.parts[i].values = reinterpret_cast<std::byte*>(const_cast<float*>(values));
  }
  return out;
}

}  // namespace

FrameLayout::FrameLayout(const Shape& channels, std::span<const Pads> spatial) {
  row = size = channels.back();
  for (size_t i = spatial.size(); i > 0; --i) {
    const Pads pads = spatial[i - 1];
    const int64_t inner = channels[static_cast<int>(i) - 1];
    offset = checked_sum(offset, checked_product(pads.before, size));
    // The last spatial dimension is contiguous with the channels; the one before it makes rows.
    if (i == spatial.size()) {
      row = checked_product(row, inner);
    } else {
      rows = inner;
      pitch = size;
    }
    sizes[i] = checked_sum(pads.before, inner, pads.after);
    size = checked_product(size, sizes[i]);
  }
  // Rows without padding between them are one.
  if (rows > 1 && pitch == row) {
    row *= rows;
    rows = 1;
  }
}

void copy_frames(const FrameLayout& layout, const float* x, const uint8_t* mask, int64_t count,
                 float* out) {
  const auto row_bytes = static_cast<size_t>(layout.row) * sizeof(float);
  if (!layout.is_padded() &&
      (!mask || std::memchr(mask, 0, static_cast<size_t>(count)) == nullptr)) {
    std::memcpy(out, x, static_cast<size_t>(count) * row_bytes);
    return;
  }
  out += layout.offset;
  for (int64_t i = 0; i < count; ++i, out += layout.size) {
    for (int64_t r = 0; r < layout.rows; ++r, x += layout.row) {
      if (mask && !mask[i]) {
        zero(out + r * layout.pitch, layout.row);
      } else {
        std::memcpy(out + r * layout.pitch, x, row_bytes);
      }
    }
  }
}

ConvolutionInput pad_frames(Run& run, const FrameLayout& layout, const Sequence& x, DType dtype,
                            Pads time, bool masks) {
  const int64_t frames = checked_sum(time.before, x.time, time.after);
  const float* from = as_floats(run, x, dtype);
  ConvolutionInput in{from, x.batch, checked_product(frames, layout.size), layout.sizes};
  in.sizes[0] = frames;
  const bool pads = layout.is_padded() || frames != x.time;
  if (!masks && !pads) return in;
  // Taken even if not needed: what a step allocates must not depend on a mask.
  auto* out = run.scratch<float>(x.batch, in.batch_pitch);
  const bool masked = masks && !x.all_valid();
  if (!masked && !pads) return in;
  in.x = out;
  for_steps(run, x.steps(), layout.size, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t b = begin / x.time, t = begin % x.time;
      const int64_t count = std::min(end - begin, x.time - t);
      float* item = out + b * in.batch_pitch;
      float* own = item + (time.before + t) * layout.size;
      if (t == 0) zero(item, time.before * layout.size);
      if (t + count == x.time) zero(own + count * layout.size, time.after * layout.size);
      if (layout.is_padded()) zero(own, count * layout.size);
      copy_frames(layout, from + begin * x.frame_size(), masked ? x.mask + begin : nullptr, count,
                  own);
      begin += count;
    }
  });
  if (x.time == 0) zero(out, x.batch * in.batch_pitch);
  return in;
}

FrameParts pad_parts(Run& run, const FrameLayout& layout, const Sequence& x, DType dtype, Pads time,
                     bool masks) {
  const Parts parts = parts_of(run, x, dtype);
  FrameParts out;
  for (out.count = 0; out.count < parts.count; ++out.count) {
    out.parts[out.count] =
        pad_frames(run, layout, parts.parts[out.count], parts.dtype, time, masks);
  }
  return out;
}

FrameParts bare_parts(Run& run, const Sequence& x, DType dtype, std::span<const Pads> pads,
                      bool masks) {
  const Parts parts = parts_of(run, x, dtype);
  FrameParts out;
  out.count = parts.count;
  for (size_t i = 0; i < parts.count; ++i) {
    ConvolutionInput& in = out.parts[i];
    in.x = as_floats(run, parts.parts[i], parts.dtype);
    in.batch = x.batch;
    in.batch_pitch = x.time * x.frame_size();
    in.sizes[0] = x.time;
    for (size_t k = 1; k < pads.size(); ++k) in.sizes[k] = x.channels[static_cast<int>(k) - 1];
    std::ranges::copy(pads, in.pads.begin());
    if (masks && !x.all_valid()) in.mask = x.mask;
  }
  return out;
}

void FrameHistory::declare(Declaration& declaration, const RingSpec& ring,
                           const SequenceSpec& input, DType dtype) {
  Ring::declare(declaration, ring, input.batch, input.time);
  if (dtype != DType::kComplex64 || input.channels.dtype != DType::kComplex64) return;
  declaration.within("imaginary", "imaginary",
                     [&] { Ring::declare(declaration, ring, input.batch, input.time); });
}

FrameHistory::FrameHistory(Run& run, const FrameLayout& layout, const Sequence& x, DType dtype,
                           const RingSpec& spec)
    : layout_(layout),
      batch_(x.batch),
      frames_(spec.history + x.time),
      first_(run, spec),
      second_(first_) {
  const Parts parts = parts_of(run, x, dtype);
  count_ = parts.count;
  push(run, parts.parts[0], parts.dtype, first_);
  if (count_ == 1) return;
  second_ = Ring(run, spec);
  push(run, parts.parts[1], parts.dtype, second_);
}

void FrameHistory::push(Run& run, const Sequence& x, DType dtype, Ring& ring) const {
  const float* from = as_floats(run, x, dtype);
  for (int64_t b = 0; b < x.batch; ++b) {
    std::memcpy(ring.incoming_mask(b), x.mask_at(b, 0), static_cast<size_t>(x.time));
    copy_frames(layout_, from + b * x.time * x.frame_size(), x.mask_at(b, 0), x.time,
                reinterpret_cast<float*>(ring.incoming(b)));
  }
  ring.push(x.batch, x.time);
}

FrameParts FrameHistory::frames(int64_t first, int64_t count) const {
  FrameParts out;
  out.count = count_;
  for (size_t i = 0; i < count_; ++i) {
    const Ring& ring = i == 0 ? first_ : second_;
    out.parts[i] = {reinterpret_cast<const float*>(ring.newest(first, frames_)), count,
                    ring.rows() * layout_.size, layout_.sizes};
    out.parts[i].sizes[0] = frames_;
  }
  return out;
}

FrameParts FrameHistory::gather(float* out) const {
  const int64_t item = frames_ * layout_.size;
  FrameParts all = frames(0, batch_);
  for (size_t i = 0; i < count_; ++i) {
    all.parts[i].x = out;
    all.parts[i].batch_pitch = item;
    for (int64_t b = 0; b < batch_; ++b, out += item)
      std::copy_n(frames(b, 1).parts[i].x, item, out);
  }
  return all;
}

}  // namespace sl::ops
