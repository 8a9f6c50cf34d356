#include "ops/padded_frames.h"

#include <cstring>

#include "ops/elementwise.h"

namespace sl::ops {
namespace {

void zero(float* at, int64_t count) {
  if (count > 0) std::memset(at, 0, static_cast<size_t>(count) * sizeof(float));
}

}  // namespace

FrameLayout::FrameLayout(const Shape& channels, std::span<const Pads> spatial) {
  row = size = channels.back();
  for (size_t i = spatial.size(); i > 0; --i) {
    const Pads pads = spatial[i - 1];
    const int64_t inner = channels[static_cast<int>(i) - 1];
    offset += pads.before * size;
    // The last spatial dimension is contiguous with the channels; the one before it makes rows.
    if (i == spatial.size()) {
      row *= inner;
    } else {
      rows = inner;
      pitch = size;
    }
    sizes[i] = pads.before + inner + pads.after;
    size *= sizes[i];
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
  const int64_t frames = time.before + x.time + time.after;
  const float* from = as_floats(run, x, dtype);
  ConvolutionInput in{from, x.batch, frames * layout.size, layout.sizes};
  in.sizes[0] = frames;
  const bool masked = masks && !x.all_valid();
  if (!masked && !layout.is_padded() && frames == x.time) return in;

  auto* out = run.scratch<float>(x.batch * in.batch_pitch);
  in.x = out;
  run.parallel().each(x.batch, [&](int64_t b) {
    float* item = out + b * in.batch_pitch;
    float* own = item + time.before * layout.size;
    zero(item, layout.is_padded() ? in.batch_pitch : time.before * layout.size);
    if (!layout.is_padded()) zero(own + x.time * layout.size, time.after * layout.size);
    copy_frames(layout, from + b * x.time * x.frame_size(), masked ? x.mask_at(b, 0) : nullptr,
                x.time, own);
  });
  return in;
}

ConvolutionInput push_frames(Run& run, const FrameLayout& layout, const Sequence& x, DType dtype,
                             int64_t history, Ring& ring) {
  const float* from = as_floats(run, x, dtype);
  for (int64_t b = 0; b < x.batch; ++b) {
    std::memcpy(ring.incoming_mask(b), x.mask_at(b, 0), static_cast<size_t>(x.time));
    copy_frames(layout, from + b * x.time * x.frame_size(), x.mask_at(b, 0), x.time,
                reinterpret_cast<float*>(ring.incoming(b)));
  }
  ring.push(x.batch, x.time);
  const int64_t frames = history + x.time;
  ConvolutionInput in{reinterpret_cast<const float*>(ring.newest(0, frames)), x.batch,
                      ring.batch_pitch() * layout.size, layout.sizes};
  in.sizes[0] = frames;
  return in;
}

}  // namespace sl::ops
