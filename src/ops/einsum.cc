#include "ops/einsum.h"

#include "core/status.h"
#include "core/tensor.h"
#include "kernels/pointwise.h"
#include "ops/elementwise.h"

namespace sl::ops {
namespace {

bool contains(std::string_view letters, char letter) {
  return letters.find(letter) != std::string_view::npos;
}

// Row-major strides, by letter.
int64_t stride_of(std::string_view letters, const Shape& shape, char letter) {
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    if (letters[static_cast<size_t>(i)] == letter) return stride;
    stride *= shape[i];
  }
  return 0;
}

// A view of an array whose axes are `letters`, with axes in the order of `wanted`.
StridedView reordered(std::string_view letters, const Shape& shape, std::string_view wanted) {
  StridedView view;
  for (const char letter : wanted) {
    view.push_back(shape[static_cast<int>(letters.find(letter))],
                   stride_of(letters, shape, letter));
  }
  return view;
}

int64_t size_of_axes(std::string_view letters, const Shape& shape, std::string_view wanted) {
  int64_t size = 1;
  for (const char letter : wanted) size *= shape[static_cast<int>(letters.find(letter))];
  return size;
}

// y += the view of b, over y's elements in order.
void add_view(const StridedView& view, const float* b, float* y) {
  const Shape& dims = view.dims;
  const int64_t inner = dims.empty() ? 1 : dims.back();
  const int64_t inner_stride = dims.empty() ? 0 : view.strides.back();
  for (int64_t outer = 0; outer < dims.size() / std::max<int64_t>(inner, 1); ++outer) {
    int64_t rest = outer, at = view.offset;
    for (int i = dims.rank() - 2; i >= 0; --i) {
      at += rest % dims[i] * view.strides[i];
      rest /= dims[i];
    }
    float* row = y + outer * inner;
    if (inner_stride == 1) {
      kernels::binary(kernels::Binary::kAdd, row, b + at, row, inner);
    } else {
      for (int64_t i = 0; i < inner; ++i) row[i] += b[at + i * inner_stride];
    }
  }
}

}  // namespace

void check(const EinsumSpec& spec) {
  for (const std::string* letters : {&spec.input, &spec.kernel, &spec.output}) {
    for (size_t i = 0; i < letters->size(); ++i) {
      if (contains(letters->substr(i + 1), (*letters)[i])) {
        fail(Code::kConfig, "axis '{}' is twice in \"{}\"", (*letters)[i], *letters);
      }
    }
  }
  for (const char letter : spec.kernel) {
    if (!contains(spec.input, letter) && !contains(spec.output, letter)) {
      fail(Code::kConfig, "axis '{}' of the kernel is neither in the input nor in the output",
           letter);
    }
  }
  for (const char letter : spec.output) {
    if (!contains(spec.input, letter) && !contains(spec.kernel, letter)) {
      fail(Code::kConfig, "axis '{}' of the output is neither in the input nor in the kernel",
           letter);
    }
  }
}

// Sizes of one call: the input's axes and the output's.
struct Einsum::Axes {
  Shape input;
  Shape output;
  Shape arranged_output;  // batch, free, fresh
  int64_t batch = 1, contracted = 1, free = 1, fresh = 1;
  StridedView to_arranged;    // of the input, summed over lone axes: batch, free, contracted
  StridedView lone;           // offsets of what is summed
  StridedView from_arranged;  // of the product: the output's order
};

Einsum::Einsum(EinsumSpec spec, const std::vector<float>& kernel, const Shape& kernel_shape,
               std::vector<float> bias, Shape bias_shape, std::optional<Activation> activation,
               DType param_dtype, std::optional<DType> compute_dtype)
    : spec_(std::move(spec)),
      kernel_shape_(kernel_shape),
      bias_(std::move(bias)),
      bias_shape_(bias_shape),
      activation_(activation),
      param_dtype_(param_dtype),
      compute_dtype_(compute_dtype) {
  check(spec_);
  for (const char letter : spec_.input) {
    const bool in_kernel = contains(spec_.kernel, letter),
               in_output = contains(spec_.output, letter);
    (in_kernel ? (in_output ? batch_ : contracted_) : (in_output ? free_ : lone_)) += letter;
  }
  for (const char letter : spec_.output) {
    if (!contains(spec_.input, letter)) fresh_ += letter;
  }
  // Halves compute on weights of their precision.
  std::vector<float> values = kernel;
  if (compute_dtype_) {
    round_to(*compute_dtype_, values.data(), static_cast<int64_t>(values.size()));
    round_to(*compute_dtype_, bias_.data(), static_cast<int64_t>(bias_.size()));
  }
  const StridedView view = reordered(spec_.kernel, kernel_shape, batch_ + contracted_ + fresh_);
  std::vector<float> arranged(values.size());
  gather(view, reinterpret_cast<const std::byte*>(values.data()), sizeof(float),
         reinterpret_cast<std::byte*>(arranged.data()));
  const int64_t items = size_of_axes(spec_.kernel, kernel_shape, batch_);
  const int64_t rows = size_of_axes(spec_.kernel, kernel_shape, contracted_);
  const int64_t columns = size_of_axes(spec_.kernel, kernel_shape, fresh_);
  for (int64_t i = 0; i < items; ++i) {
    products_.emplace_back(arranged.data() + i * rows * columns, columns, 1, rows, columns);
  }
}

int64_t Einsum::kernel_dim(char letter) const {
  return kernel_shape_[static_cast<int>(spec_.kernel.find(letter))];
}

DType Einsum::compute_dtype(DType input) const {
  return compute_dtype_ ? *compute_dtype_ : promote_inexact(input, param_dtype_);
}

ChannelSpec Einsum::output_spec(const ChannelSpec& input) const {
  const DType dtype = compute_dtype(input.dtype);
  if (!is_float(dtype) || input.dtype == DType::kComplex64) {
    fail(Code::kShape, "cannot compute on {} in {}: expected float32, float16 or bfloat16",
         name_of(input.dtype), name_of(dtype));
  }
  const int leading = leading_rank(input.shape);
  Shape expected;
  bool fits = leading >= 0 && input.shape.rank() - leading == static_cast<int>(spec_.input.size());
  for (size_t i = 0; i < spec_.input.size(); ++i) {
    const bool known = contains(spec_.kernel, spec_.input[i]);
    expected.push_back(known ? kernel_dim(spec_.input[i]) : kAnySize);
    fits = fits && (!known || input.shape[static_cast<int>(i) + leading] == expected.back());
  }
  if (!fits) {
    fail(Code::kShape, "input channels are {}: the kernel {} takes {}{} (-1: any)",
         to_string(input.shape), to_string(kernel_shape_),
         spec_.leading_axes ? "any axes and then " : "", to_string(expected));
  }
  Shape output = input.shape.slice(0, leading);
  for (const char letter : spec_.output) {
    output.push_back(contains(spec_.kernel, letter)
                         ? kernel_dim(letter)
                         : input.shape[static_cast<int>(spec_.input.find(letter)) + leading]);
  }
  if (!bias_.empty() && broadcast(bias_shape_, output) != output) {
    fail(Code::kShape, "the bias {} does not fit the output {}", to_string(bias_shape_),
         to_string(output));
  }
  return {dtype, output};
}

std::optional<Shape> Einsum::implied_input() const {
  if (!free_.empty() || !lone_.empty()) return std::nullopt;
  Shape shape;
  for (const char letter : spec_.input) shape.push_back(kernel_dim(letter));
  return shape;
}

Einsum::Axes Einsum::axes_of(const Shape& input) const {
  Axes axes;
  axes.input = input;
  const auto add_axes = [&](std::string_view letters, int64_t* size) {
    for (const char letter : letters) {
      const int64_t dim = contains(spec_.kernel, letter)
                              ? kernel_dim(letter)
                              : input[static_cast<int>(spec_.input.find(letter))];
      *size *= dim;
      if (size != &axes.contracted) axes.arranged_output.push_back(dim);
      if (contains(spec_.input, letter)) {
        axes.to_arranged.push_back(dim, stride_of(spec_.input, input, letter));
      }
    }
  };
  add_axes(batch_, &axes.batch);
  add_axes(free_, &axes.free);
  add_axes(contracted_, &axes.contracted);
  add_axes(fresh_, &axes.fresh);
  for (const char letter : lone_) {
    axes.lone.push_back(input[static_cast<int>(spec_.input.find(letter))],
                        stride_of(spec_.input, input, letter));
  }
  // Letters of the arranged output, with which its axes are found.
  char letters[Shape::kMaxRank];
  size_t count = 0;
  for (const std::string* part : {&batch_, &free_, &fresh_}) {
    for (const char letter : *part) letters[count++] = letter;
  }
  axes.from_arranged =
      reordered(std::string_view(letters, count), axes.arranged_output, spec_.output);
  axes.output = axes.from_arranged.dims;
  return axes;
}

// x with its axes in the products' order, lone ones summed: one after the other, as halves round at
// every sum.
const float* Einsum::arranged_input(Run& run, const Axes& axes, const float* x, int64_t steps,
                                    DType compute) const {
  const int64_t frame = axes.input.size();
  const int64_t arranged_frame = axes.batch * axes.free * axes.contracted;
  if (lone_.empty() && is_whole(axes.to_arranged, frame)) return x;
  float* out = run.scratch<float>(steps * arranged_frame);
  float* part = run.scratch<float>(arranged_frame);
  for (int64_t t = 0; t < steps; ++t) {
    float* to = out + t * arranged_frame;
    std::fill(to, to + arranged_frame, 0.0f);
    const int64_t terms = axes.lone.dims.size();
    for (int64_t term = 0; term < terms; ++term) {
      StridedView view = axes.to_arranged;
      int64_t rest = term;
      for (int i = axes.lone.dims.rank() - 1; i >= 0; --i) {
        view.offset += rest % axes.lone.dims[i] * axes.lone.strides[i];
        rest /= axes.lone.dims[i];
      }
      gather(view, reinterpret_cast<const std::byte*>(x + t * frame), sizeof(float),
             reinterpret_cast<std::byte*>(part));
      kernels::binary(kernels::Binary::kAdd, to, part, to, arranged_frame);
      round_to(compute, to, arranged_frame);
    }
  }
  return out;
}

// Bias and activation, rounding where a computation in `compute` does.
void Einsum::finish(const Axes& axes, float* y, int64_t steps, DType compute,
                    bool bias_added) const {
  const int64_t frame = axes.output.size();
  round_to(compute, y, steps * frame);
  if (!bias_.empty() && !bias_added) {
    const StridedView view = broadcast_view(bias_shape_, axes.output);
    for (int64_t t = 0; t < steps; ++t) add_view(view, bias_.data(), y + t * frame);
    round_to(compute, y, steps * frame);
  }
  if (activation_) activate(y, steps * frame, *activation_, compute);
}

Sequence Einsum::apply(Run& run, const Sequence& x) const {
  const ChannelSpec spec = output_spec(x.spec());
  const int leading = leading_rank(x.channels);
  const Axes axes = axes_of(x.channels.slice(leading, x.channels.rank()));
  // Leading axes are as further steps.
  const int64_t steps = x.steps() * x.channels.slice(0, leading).size(), frame = axes.output.size();
  const Sequence out = run.output_like(x, spec);
  const float* in = arranged_input(run, axes, as_floats(run, x, spec.dtype), steps, spec.dtype);
  float* y = spec.dtype == DType::kFloat32 ? out.floats() : run.scratch<float>(steps * frame);
  const bool in_order = is_whole(axes.from_arranged, frame);
  float* product = in_order ? y : run.scratch<float>(steps * frame);

  // A bias of the product's own columns goes in with it.
  const bool bias_fits = spec.dtype == DType::kFloat32 && in_order &&
                         bias_shape_.rank() == static_cast<int>(fresh_.size()) &&
                         bias_shape_.size() == axes.fresh && axes.batch == 1 && !bias_.empty();
  const int64_t rows = axes.free, in_item = rows * axes.contracted, out_item = rows * axes.fresh;
  if (axes.batch == 1) {
    products_[0].apply(run, in, axes.contracted, steps * rows, bias_fits ? bias_.data() : nullptr,
                       false, product, axes.fresh);
  } else {
    for (int64_t g = 0; g < axes.batch; ++g) {
      for (int64_t r = 0; r < rows; ++r) {
        products_[static_cast<size_t>(g)].apply(
            run, in + g * in_item + r * axes.contracted, axes.batch * in_item, steps, nullptr,
            false, product + g * out_item + r * axes.fresh, axes.batch * out_item);
      }
    }
  }
  if (!in_order) {
    for (int64_t t = 0; t < steps; ++t) {
      gather(axes.from_arranged, reinterpret_cast<const std::byte*>(product + t * frame),
             sizeof(float), reinterpret_cast<std::byte*>(y + t * frame));
    }
  }
  finish(axes, y, steps, spec.dtype, bias_fits);
  if (spec.dtype != DType::kFloat32)
    convert(y, DType::kFloat32, out.values, spec.dtype, steps * frame);
  return out;
}

}  // namespace sl::ops
