#include "ops/pooling.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "core/ratio.h"
#include "ops/elementwise.h"

namespace sl::ops {
namespace {

// Minimum input of a tile, in elements: enough work for a thread, and it still fits into the L1
// cache.
constexpr int64_t kTileElements = 1 << 13;

constexpr int64_t kMaxElements = int64_t{1} << 48;

// Outputs of the first of two passes that the second one takes at a time.
int64_t outputs_at_once(const Slide& first) {
  return std::clamp<int64_t>(kTileElements / std::max<int64_t>(1, first.inner), 1,
                             std::max<int64_t>(1, first.count));
}

// Folds x along two dimensions, the second time while the results of the first are in the cache:
// `between` holds outputs_at_once(first) of them.
void slide_twice(Fold fold, DType dtype, const Slide& first, const Slide& second,
                 const std::byte* x, std::byte* between, std::byte* y, std::byte* scratch) {
  const auto element = static_cast<int64_t>(size_of(dtype));
  const int64_t all = first.outer * first.count;
  if (all == 0) return;
  const int64_t rows = second.outer / all;  // of the second pass for each output of the first
  const int64_t y_step = rows * second.count * second.inner * element;
  const int64_t step = outputs_at_once(first);
  Slide a = first, b = second;
  a.outer = 1;
  for (int64_t o = 0; o < first.outer; ++o, x += first.size * first.inner * element) {
    for (int64_t begin = 0; begin < first.count; begin += step, y += a.count * y_step) {
      a.count = std::min(step, first.count - begin);
      a.first = first.first + begin * first.stride;
      b.outer = rows * a.count;
      slide(fold, dtype, a, x, between, scratch);
      slide(fold, dtype, b, between, y, scratch);
    }
  }
}

// a / b rounded towards minus infinity. Division by 0 gives what XLA gives.
int64_t floor_quotient(int64_t a, int64_t b) {
  if (b == 0) return a == 0 ? -1 : -2;
  const int64_t q = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

}  // namespace

Pool::Pool(Pooling op, std::vector<Window> axes, bool masked)
    : op_(op), axes_(std::move(axes)), masked_(masked) {}

ChannelSpec Pool::output_spec(const ChannelSpec& input) const {
  const bool average = op_ == Pooling::kAverage;
  if (average ? input.dtype == DType::kBool : input.dtype == DType::kComplex64) {
    fail(Code::kUnsupported, "{} of {} is not defined", average ? "the mean" : "an order",
         name_of(input.dtype));
  }
  const int spatial = static_cast<int>(axes_.size()) - 1;
  if (input.shape.rank() < spatial) {
    fail(Code::kShape, "expected {} or more channel dimensions to pool over, got {}", spatial,
         to_string(input.shape));
  }
  // The number of elements, by which the reference divides, is an int32. That of a masked average
  // has the dtype of the input.
  const bool widens = average && !masked_ && is_integer(input.dtype);
  ChannelSpec out{widens ? DType::kInt32 : input.dtype, input.shape};
  int64_t size = 1;
  for (int i = 0; i < out.shape.rank(); ++i) {
    if (i < spatial) out.shape[i] = axes_[static_cast<size_t>(i) + 1].output_length(out.shape[i]);
    if (!fits_product(size, std::max<int64_t>(out.shape[i], 1), &size) || size > kMaxElements) {
      fail(Code::kShape, "outputs of {} per step are too large", to_string(out.shape));
    }
  }
  return out;
}

Fold Pool::fold() const {
  if (op_ == Pooling::kAverage) return Fold::kSum;
  return op_ == Pooling::kMin ? Fold::kMin : Fold::kMax;
}

ChannelSpec Pool::frame_spec(const ChannelSpec& input) {
  const int64_t size = input.shape.size();
  if (!is_inexact(input.dtype)) return {input.dtype, {size}};
  return {DType::kFloat32, {input.dtype == DType::kComplex64 ? checked_product(2, size) : size}};
}

double Pool::missing(DType frame_dtype) const { return identity(fold(), frame_dtype); }

void Pool::load(const Sequence& x, int64_t b, int64_t begin, int64_t count,
                std::byte* frames) const {
  if (count == 0) return;
  const ChannelSpec spec = frame_spec(x.spec());
  const int64_t frame = spec.shape[0];
  if (is_half(x.dtype)) {
    convert(x.frame(b, begin), x.dtype, frames, spec.dtype, count * frame);
  } else {
    std::memcpy(frames, x.frame(b, begin), static_cast<size_t>(count) * x.frame_bytes());
  }
  const uint8_t* mask = x.mask_at(b, begin);
  // A window of one step needs no masking, since its output is valid only if its input is.
  if (time().kernel == 1 || !std::memchr(mask, 0, static_cast<size_t>(count))) return;
  with_element(spec.dtype, [&](auto element) {
    using T = typename decltype(element)::Type;
    if constexpr (!std::is_same_v<T, complex64>) {
      const auto value = static_cast<T>(missing(spec.dtype));
      for (int64_t t = 0; t < count; ++t) {
        if (!mask[t]) std::fill_n(reinterpret_cast<T*>(frames) + t * frame, frame, value);
      }
    }
  });
}

Pool::Passes Pool::passes(const ChannelSpec& input, int64_t frames, int64_t first,
                          int64_t outputs) const {
  Passes out;
  const int64_t frame = frame_spec(input).shape[0];
  const auto slide = [](const Window& w, int64_t size, int64_t at, int64_t count) {
    return Slide{1, size, 1, w.kernel, w.stride, w.dilation, at, count};
  };
  const auto add = [&out](const Slide& pass) {
    const bool changes = pass.taps > 1 || pass.stride > 1 || pass.count != pass.size;
    if (changes || pass.first != 0) out.all[out.count++] = pass;
  };
  Slide along_time = slide(time(), frames, first, outputs);
  along_time.inner = frame;
  add(along_time);
  int64_t outer = outputs, inner = frame;
  for (size_t i = 1; i < axes_.size(); ++i) {
    const int64_t size = input.shape[static_cast<int>(i) - 1];
    const Pads pads = axes_[i].pads();
    if (size > 0) inner /= size;
    Slide pass = slide(axes_[i], size, -pads.before, axes_[i].output_length(size));
    pass.outer = outer;
    pass.inner = inner;
    outer = checked_product(outer, pass.count);
    add(pass);
  }
  if (out.count == 0) out.all[out.count++] = along_time;
  return out;
}

int64_t Pool::Passes::max_between() const {
  int64_t most = all[count - 1].output_size();  // which may have to be converted
  for (size_t i = 0; i + 1 < count; ++i) {
    const Slide& pass = all[i];
    most = std::max(most, i + 2 == count ? checked_product(outputs_at_once(pass), pass.inner)
                                         : pass.output_size());
  }
  return most;
}

int64_t Pool::Passes::max_scratch() const {
  int64_t most = 0;
  for (size_t i = 0; i < count; ++i) most = std::max(most, all[i].scratch_size());
  return most;
}

int64_t Pool::scratch_bytes(const ChannelSpec& input, int64_t frames, int64_t outputs) const {
  const Passes all = passes(input, frames, 0, outputs);
  const auto element = static_cast<int64_t>(size_of(frame_spec(input).dtype));
  return checked_product(
      checked_sum(checked_product(static_cast<int64_t>(all.count), all.max_between()),
                  all.max_scratch()),
      element);
}

void Pool::pool(const Input& in, const Sequence& y, int64_t b, int64_t begin, int64_t count,
                std::byte* scratch) const {
  const DType dtype = frame_spec(in.spec).dtype;
  const Passes all = passes(in.spec, in.count, in.first, count);
  const bool converts = is_half(y.dtype) || size_of(y.dtype) > size_of(in.spec.dtype);
  const auto room = static_cast<size_t>(all.max_between()) * size_of(dtype);
  const auto buffer = [&](size_t i) { return scratch + i * room; };
  std::byte* const more = buffer(all.count);
  std::byte* const to = converts ? buffer(0) : y.frame(b, begin);
  const std::byte* from = in.frames;
  size_t i = 0;
  if (all.count == kMaxRank) {
    slide(fold(), dtype, all.all[i++], from, buffer(2), more);
    from = buffer(2);
  }
  if (all.count > 1) {
    slide_twice(fold(), dtype, all.all[i], all.all[i + 1], from, buffer(1), to, more);
  } else {
    slide(fold(), dtype, all.all[i], from, to, more);
  }
  const int64_t size = count * frame_spec(y.spec()).shape[0];
  if (op_ == Pooling::kAverage) divide(in, is_half(y.dtype) ? y.dtype : dtype, to, count, size);
  if (converts) convert(to, dtype, y.frame(b, begin), y.dtype, size);
}

int64_t Pool::inputs_per_step() const {
  int64_t out = 1;
  for (size_t i = 1; i < axes_.size(); ++i) out = checked_product(out, axes_[i].kernel);
  return out;
}

int64_t Pool::flop(const Sequence& y) const {
  const int64_t parts = y.dtype == DType::kComplex64 ? 2 : 1;
  const int64_t inputs = checked_product(time().kernel, inputs_per_step());
  return checked_product(y.size(), parts, op_ == Pooling::kAverage ? inputs : inputs - 1);
}

int64_t Pool::valid_steps(const Input& in, int64_t output) const {
  int64_t at = in.first + output * time().stride, count = 0;
  for (int64_t k = 0; k < time().kernel && at < in.count; ++k, at += time().dilation) {
    count += at >= 0 && in.mask[at];
  }
  return count;
}

// Divides the `size` sums of `count` steps by the number of their inputs. Sum and quotient are
// rounded to bfloat16 and float16.
void Pool::divide(const Input& in, DType dtype, std::byte* sums, int64_t count,
                  int64_t size) const {
  const int64_t rows = masked_ ? count : 1;
  const int64_t row = rows == 0 ? 0 : size / rows;
  with_element(is_inexact(dtype) ? DType::kFloat32 : dtype, [&](auto element) {
    using T = typename decltype(element)::Type;
    auto* values = reinterpret_cast<T*>(sums);
    if constexpr (std::is_same_v<T, float>) round_to(dtype, values, size);
    for (int64_t i = 0; i < rows; ++i, values += row) {
      const int64_t steps = masked_ ? valid_steps(in, i) : time().kernel;
      const double inputs = static_cast<double>(steps) * static_cast<double>(inputs_per_step());
      if constexpr (std::is_same_v<T, float>) {
        if (steps == 0) continue;  // the mean over no valid step is 0
        kernels::binary_scalar(kernels::Binary::kDivide, values, static_cast<float>(inputs), values,
                               row);
      } else if constexpr (!std::is_same_v<T, complex64>) {
        // No sum of integers is as large as 2^62, so capping the count there changes no quotient.
        // The count wraps, as in JAX.
        const auto all = static_cast<int64_t>(std::min(inputs, 0x1p62));
        const int64_t divisor = masked_ ? static_cast<T>(all) : all;
        for (int64_t j = 0; j < row; ++j) {
          values[j] = static_cast<T>(floor_quotient(values[j], divisor));
        }
      }
    }
  });
}

Pool::Tiles Pool::tiles(const Sequence& x, const Sequence& y) const {
  const int64_t frame = std::max<int64_t>(1, frame_spec(x.spec()).shape[0]);
  const int64_t stride = time().stride, extent = time().extent();
  Tiles out;
  // Frames that windows of two tiles cover are loaded twice, so tiles are made long enough for that
  // to be rare.
  const int64_t frames = std::max(kTileElements / frame, std::min(extent, x.time));
  out.outputs = std::clamp<int64_t>(frames / stride, 1, std::max<int64_t>(1, y.time));
  out.frames = std::min(x.time, (out.outputs - 1) * stride + extent);
  out.per_item = ceil_div(y.time, out.outputs);
  return out;
}

bool Pool::is_loaded(const Sequence& x) const {
  return !is_half(x.dtype) && (time().kernel == 1 || x.all_valid());
}

void Pool::pool_tile(const Sequence& x, bool loaded, const Sequence& y, int64_t b, int64_t begin,
                     int64_t count, std::byte* scratch) const {
  // The step at which the tile's first window starts, and the steps that its windows cover.
  const int64_t start = begin * time().stride - time().pads().before;
  const int64_t end = start + (count - 1) * time().stride + time().extent();
  const int64_t from = std::clamp<int64_t>(start, 0, x.time);
  const int64_t frames = std::clamp(end, from, x.time) - from;
  Input in{x.spec(), x.frame(b, from), x.mask_at(b, from), frames, start - from};
  if (!loaded) {
    std::byte* room = scratch + scratch_bytes(in.spec, frames, count);
    load(x, b, from, frames, room);
    in.frames = room;
  }
  pool(in, y, b, begin, count, scratch);
}

void Pool::pool_all(Run& run, const Sequence& x, const Sequence& y) const {
  const Tiles tiles = this->tiles(x, y);
  const ChannelSpec frame = frame_spec(x.spec());
  const int64_t frame_bytes =
      checked_product(frame.shape[0], static_cast<int64_t>(size_of(frame.dtype)));
  // Scratch for loading is taken even if it is not needed, so that what a step uses does not depend
  // on its mask.
  const int64_t bytes = checked_sum(scratch_bytes(x.spec(), tiles.frames, tiles.outputs),
                                    checked_product(tiles.frames, frame_bytes));
  const int64_t count = x.batch * tiles.per_item;
  const int threads = run.parallel().num_threads();
  const int64_t parts = std::min<int64_t>(count, threads == 1 ? 1 : 4 * threads);
  auto* scratch = run.scratch<std::byte>(parts, bytes);
  const bool loaded = is_loaded(x);
  run.parallel().each(parts, [&](int64_t part) {
    for (int64_t i = part * count / parts; i < (part + 1) * count / parts; ++i) {
      const int64_t begin = i % tiles.per_item * tiles.outputs;
      pool_tile(x, loaded, y, i / tiles.per_item, begin, std::min(tiles.outputs, y.time - begin),
                scratch + part * bytes);
    }
  });
}

}  // namespace sl::ops
