#include "ops/einsum.h"

#include "core/status.h"
#include "core/tensor.h"
#include "kernels/pointwise.h"
#include "ops/rows.h"

namespace sl::ops {
namespace {

bool contains(std::string_view letters, char letter) {
  return letters.find(letter) != std::string_view::npos;
}

// Stride of the axis `letter` in a row-major array whose axes are `letters`; 0 if it has none.
int64_t stride_of(std::string_view letters, const Shape& shape, char letter) {
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    if (letters[static_cast<size_t>(i)] == letter) return stride;
    stride *= shape[i];
  }
  return 0;
}

// A view with axes in the order of `wanted` of an array whose axes are `letters`.
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

// y[i] += element i of the view of b.
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

// Shapes, sizes and views of one call.
struct Einsum::Axes {
  Shape input;
  Shape output;
  Shape arranged_output;  // batch, free, fresh
  int64_t batch = 1, contracted = 1, free = 1, fresh = 1;
  StridedView to_arranged;                 // view of the input in the order batch, free, contracted
  StridedView lone;                        // offsets of the elements to sum over lone axes
  StridedView from_arranged;               // view of the product in the order of the output
  const Activation* activation = nullptr;  // if it is applied to each row
};

Einsum::Einsum(EinsumSpec spec, const KernelParts& kernel, TensorParts bias,
               std::optional<Activation> activation, DType param_dtype,
               std::optional<DType> compute_dtype)
    : spec_(std::move(spec)),
      kernel_shape_(kernel.real.shape),
      bias_(std::move(bias)),
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
  if (compute_dtype_)
    round_to(*compute_dtype_, bias_.real.data(), static_cast<int64_t>(bias_.real.size()));
  products_ = pack(kernel.real);
  if (kernel.imaginary) imaginary_ = pack(*kernel.imaginary);
}

std::vector<Linear> Einsum::pack(const Kernel& kernel) const {
  const int64_t items = size_of_axes(spec_.kernel, kernel_shape_, batch_);
  const int64_t rows = size_of_axes(spec_.kernel, kernel_shape_, contracted_);
  const int64_t columns = size_of_axes(spec_.kernel, kernel_shape_, fresh_);
  const Panels panels = kernel.panels("", {items, rows, columns}, [&](const Panels::Pack& pack) {
    std::vector<float> values = kernel.values();
    // A computation in bfloat16 or float16 takes weights that are rounded to that dtype.
    if (compute_dtype_)
      round_to(*compute_dtype_, values.data(), static_cast<int64_t>(values.size()));
    const StridedView view = reordered(spec_.kernel, kernel_shape_, batch_ + contracted_ + fresh_);
    std::vector<float> arranged(values.size());
    gather(view, reinterpret_cast<const std::byte*>(values.data()), sizeof(float),
           reinterpret_cast<std::byte*>(arranged.data()));
    for (int64_t i = 0; i < items; ++i) pack(i, arranged.data() + i * rows * columns, columns, 1);
  });
  std::vector<Linear> products;
  for (int64_t i = 0; i < items; ++i) products.emplace_back(panels, i);
  return products;
}

int64_t Einsum::kernel_dim(char letter) const {
  return kernel_shape_[static_cast<int>(spec_.kernel.find(letter))];
}

DType Einsum::compute_dtype(DType input) const {
  return compute_dtype_ ? *compute_dtype_ : promote_inexact(input, param_dtype_);
}

ChannelSpec Einsum::output_spec(const ChannelSpec& input) const {
  const DType dtype = compute_dtype(input.dtype);
  if (!is_inexact(dtype)) {
    fail(Code::kShape, "cannot compute on {} in {}: expected a float or complex dtype",
         name_of(input.dtype), name_of(dtype));
  }
  if (dtype == DType::kComplex64 && activation_ && !takes_complex(*activation_)) {
    fail(Code::kShape, "the activation takes no complex numbers, as {} input makes them",
         name_of(input.dtype));
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
  if (!bias_.real.empty() && broadcast(bias_.shape, output) != output) {
    fail(Code::kShape, "the bias {} does not fit the output {}", to_string(bias_.shape),
         to_string(output));
  }
  if (activation_ && !activation_->is_elementwise()) row_axes(activation_->axes, output.rank());
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
      *size = checked_product(*size, dim);
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
  // The letters of the arranged output's axes, in their order.
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

// x with its axes in the order of the products and lone axes summed, one element after the other,
// because bfloat16 and float16 round at every sum.
const float* Einsum::arranged_input(Run& run, const Axes& axes, const float* x, int64_t steps,
                                    DType compute) const {
  const int64_t frame = axes.input.size();
  const int64_t arranged_frame = checked_product(axes.batch, axes.free, axes.contracted);
  if (lone_.empty() && is_whole(axes.to_arranged, frame)) return x;
  float* out = run.scratch<float>(steps, arranged_frame);
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

void Einsum::add_bias(const Axes& axes, const std::vector<float>& bias, float* y,
                      int64_t steps) const {
  if (bias.empty()) return;
  const StridedView view = broadcast_view(bias_.shape, axes.output);
  for (int64_t t = 0; t < steps; ++t) add_view(view, bias.data(), y + t * axes.output.size());
}

// Adds the bias and applies the activation, rounding wherever a computation in `compute` does.
void Einsum::finish(const Axes& axes, float* y, int64_t steps, DType compute,
                    bool bias_added) const {
  const int64_t size = steps * axes.output.size();
  round_to(compute, y, size);
  if (!bias_.real.empty() && !bias_added) {
    add_bias(axes, bias_.real, y, steps);
    round_to(compute, y, size);
  }
  if (!axes.activation || size == 0) return;
  const int64_t row = axes.output.empty() ? 1 : axes.output.back();
  activate_rows(y, size / row, row, *axes.activation, compute);
}

// Multiplies x, whose axes are in the order of the products, and writes y in the order of the
// output. `bias` may be given only if there is one product and its columns are those of the output.
void Einsum::multiply(Run& run, const std::vector<Linear>& products, const Axes& axes,
                      const float* x, int64_t steps, const float* bias, float* y) const {
  const int64_t frame = axes.output.size();
  const bool in_order = is_whole(axes.from_arranged, frame);
  float* product = in_order ? y : run.scratch<float>(steps, frame);
  const int64_t rows = axes.free, in_item = rows * axes.contracted, out_item = rows * axes.fresh;
  if (axes.batch == 1) {
    products[0].apply(run, x, axes.contracted, steps * rows, bias, false, product, axes.fresh);
  } else {
    for (int64_t g = 0; g < axes.batch; ++g) {
      for (int64_t r = 0; r < rows; ++r) {
        products[static_cast<size_t>(g)].apply(
            run, x + g * in_item + r * axes.contracted, axes.batch * in_item, steps, nullptr, false,
            product + g * out_item + r * axes.fresh, axes.batch * out_item);
      }
    }
  }
  if (in_order) return;
  for (int64_t t = 0; t < steps; ++t) {
    gather(axes.from_arranged, reinterpret_cast<const std::byte*>(product + t * frame),
           sizeof(float), reinterpret_cast<std::byte*>(y + t * frame));
  }
}

void Einsum::apply_floats(Run& run, const Axes& axes, const Sequence& x, int64_t steps,
                          const Sequence& y) const {
  const int64_t frame = axes.output.size();
  const float* in = arranged_input(run, axes, as_floats(run, x, y.dtype), steps, y.dtype);
  const bool direct = y.dtype == DType::kFloat32;
  float* out = direct ? y.floats() : run.scratch<float>(steps, frame);
  // A bias that has one value per column of the product is added by the product.
  const bool bias_fits = direct && is_whole(axes.from_arranged, frame) &&
                         bias_.shape.rank() == static_cast<int>(fresh_.size()) &&
                         bias_.shape.size() == axes.fresh && axes.batch == 1 && !bias_.real.empty();
  multiply(run, products_, axes, in, steps, bias_fits ? bias_.real.data() : nullptr, out);
  finish(axes, out, steps, y.dtype, bias_fits);
  if (!direct) convert(out, DType::kFloat32, y.values, y.dtype, steps * frame);
}

// Multiplies real and imaginary parts as if they were separate steps, since each product has a real
// kernel.
void Einsum::apply_complex(Run& run, const Axes& axes, const Sequence& x, int64_t steps,
                           const Sequence& y) const {
  const int64_t size = steps * axes.output.size();
  const int64_t parts = x.dtype == DType::kComplex64 ? 2 : 1;
  const float* in = arranged_input(run, axes, real_parts(run, x), parts * steps, DType::kFloat32);
  float* real = run.scratch<float>(2, size);
  float* imaginary = real + size;
  multiply(run, products_, axes, in, parts * steps, nullptr, real);
  if (parts == 1) std::fill_n(imaginary, size, 0.0f);
  if (!imaginary_.empty()) {
    float* turned = run.scratch<float>(parts, size);
    multiply(run, imaginary_, axes, in, parts * steps, nullptr, turned);
    kernels::binary(kernels::Binary::kAdd, imaginary, turned, imaginary, size);
    if (parts == 2) {
      kernels::binary(kernels::Binary::kSubtract, real, turned + size, real, size);
    }
  }
  add_bias(axes, bias_.real, real, steps);
  add_bias(axes, bias_.imaginary, imaginary, steps);
  auto* out = y.as<complex64>();
  for (int64_t i = 0; i < size; ++i) out[i] = {real[i], imaginary[i]};
  if (!axes.activation || size == 0) return;
  const int64_t row = axes.output.empty() ? 1 : axes.output.back();
  for (int64_t i = 0; i < size; i += row) activate(out + i, row, *axes.activation);
}

Sequence Einsum::apply(Run& run, const Sequence& x) const {
  const ChannelSpec spec = output_spec(x.spec());
  const int leading = leading_rank(x.channels);
  Axes axes = axes_of(x.channels.slice(leading, x.channels.rank()));
  const bool by_rows = activation_ && keeps_to_rows(*activation_, spec.shape.rank());
  if (by_rows) axes.activation = &*activation_;
  // Leading axes are treated as further steps.
  const int64_t steps = checked_product(x.steps(), x.channels.slice(0, leading).size());
  const Sequence y = run.output_like(x, spec);
  if (activation_) run.parallel().count(y.size());
  if (!bias_.real.empty()) run.parallel().count(y.size());
  if (spec.dtype == DType::kComplex64) {
    apply_complex(run, axes, x, steps, y);
  } else {
    apply_floats(run, axes, x, steps, y);
  }
  if (activation_ && !by_rows) activate_along(run, y, *activation_);
  return y;
}

}  // namespace sl::ops
