#include "core/view.h"

#include <algorithm>

namespace sl {
namespace {

// Copies between strided and packed elements, outermost axis first.
void copy_strided(const std::byte* from, const int64_t* from_strides, std::byte* to,
                  const int64_t* to_strides, const int64_t* dims, int rank, size_t element) {
  if (rank == 0) {
    std::memcpy(to, from, element);
    return;
  }
  const bool packed = rank == 1 && from_strides[0] == static_cast<int64_t>(element) &&
                      to_strides[0] == from_strides[0];
  if (packed) {
    std::memcpy(to, from, static_cast<size_t>(dims[0]) * element);
    return;
  }
  for (int64_t i = 0; i < dims[0]; ++i) {
    copy_strided(from + i * from_strides[0], from_strides + 1, to + i * to_strides[0],
                 to_strides + 1, dims + 1, rank - 1, element);
  }
}

bool aligned(const View& view) {
  // Sizes of dtypes are powers of two.
  return (reinterpret_cast<uintptr_t>(view.data) & (size_of(view.dtype) - 1)) == 0;
}

std::byte* import_values(Stack& stack, const View& view, bool copy) {
  if (view.packed && !copy && view.data && aligned(view)) return view.data;
  if (view.dims.size() == 0) return stack.allocate(0);  // the caller's data may be null
  const bool contiguous = view.contiguous();
  if (!copy && contiguous && aligned(view)) return view.data;
  const size_t element = size_of(view.dtype);
  const size_t bytes = checked_bytes(view.dims.size(), element);
  std::byte* values = stack.allocate(bytes);
  if (contiguous) {
    std::memcpy(values, view.data, bytes);
    return values;
  }
  const Strides strides = contiguous_strides(view.dims, view.dtype);
  copy_strided(view.data, view.strides.data(), values, strides.data(), view.dims.begin(),
               view.dims.rank(), element);
  return values;
}

// Calls fn(begin, end) for parts of so many bytes, on threads if there are many.
template <typename Fn>
void for_bytes(const Parallel* parallel, size_t bytes, Fn&& fn) {
  constexpr size_t kPart = size_t{256} << 10;
  if (!parallel || parallel->num_threads() == 1 || bytes < 2 * kPart) return fn(size_t{0}, bytes);
  const size_t parts = std::min(static_cast<size_t>(parallel->num_threads()), bytes / kPart);
  parallel->each(static_cast<int64_t>(parts), [&](int64_t part) {
    const auto i = static_cast<size_t>(part);
    fn(bytes * i / parts, bytes * (i + 1) / parts);
  });
}

// Copies the mask. The loops are simple enough for the compiler to vectorise, since every step
// imports whole constants.
void import_mask(const View& view, const Sequence& out, const Parallel* parallel) {
  if (out.steps() == 1) {
    *out.mask = !view.mask || *view.mask != 0 ? 1 : 0;
    return;
  }
  if (!view.mask) {
    for_bytes(parallel, static_cast<size_t>(out.steps()),
              [&](size_t begin, size_t end) { std::memset(out.mask + begin, 1, end - begin); });
    return;
  }
  const int64_t stride = view.mask_strides[1];
  const int64_t steps = out.time;  // a local, since writes of bytes may alias out.time
  for (int64_t b = 0; b < out.batch; ++b) {
    const uint8_t* from = view.mask + b * view.mask_strides[0];
    uint8_t* to = out.mask_at(b, 0);
    if (stride == 1) {
      for (int64_t t = 0; t < steps; ++t) to[t] = from[t] != 0 ? 1 : 0;
    } else {
      for (int64_t t = 0; t < steps; ++t) to[t] = from[t * stride] != 0 ? 1 : 0;
    }
  }
}

}  // namespace

Strides contiguous_strides(const Shape& dims, DType dtype) {
  Strides strides{};
  auto stride = static_cast<int64_t>(size_of(dtype));
  for (int i = dims.rank() - 1; i >= 0; --i) {
    strides[static_cast<size_t>(i)] = stride;
    stride = checked_product(stride, dims[i]);
  }
  return strides;
}

bool View::contiguous() const {
  if (packed) return true;
  const Strides expected = contiguous_strides(dims, dtype);
  for (int i = 0; i < dims.rank(); ++i) {
    if (dims[i] > 1 && strides[static_cast<size_t>(i)] != expected[static_cast<size_t>(i)])
      return false;
  }
  return true;
}

View View::slice(int64_t first, int64_t count) const {
  View out = *this;
  if (packed) out.strides = contiguous_strides(dims, dtype);
  out.packed = false;
  out.dims[1] = count;
  if (data) out.data += first * out.strides[1];
  if (mask) out.mask += first * mask_strides[1];
  return out;
}

Sequence import_sequence(Stack& stack, const View& view, bool copy, const Parallel* parallel) {
  Sequence out;
  out.dtype = view.dtype;
  for (int i = 2; i < view.dims.rank(); ++i) out.channels.push_back(view.dims[i]);
  out.batch = view.dims[0];
  // Not in one load with the batch, which would wait for the two stores that have just made them.
  int64_t time = view.dims[1];
  __asm__("" : "+r"(time));
  out.time = time;
  out.values = import_values(stack, view, copy);
  out.mask = reinterpret_cast<uint8_t*>(stack.allocate(static_cast<size_t>(out.steps())));
  import_mask(view, out, parallel);
  return out;
}

Constant import_constant(Stack& stack, std::string_view name, const View& view, bool copy) {
  Constant out;
  out.name = name;
  out.is_array = view.is_array;
  out.shape = view.dims;
  if (!view.is_array) {
    out.sequence = import_sequence(stack, view, copy);
    return out;
  }
  out.sequence.dtype = view.dtype;
  out.sequence.channels = view.dims;
  out.sequence.values = import_values(stack, view, copy);
  return out;
}

void export_sequence(const Sequence& sequence, const View& view, const Parallel* parallel) {
  if (sequence.size() == 0) {
    // An empty sequence writes nothing, since the caller's data may be null.
  } else if (view.contiguous()) {
    for_bytes(parallel, sequence.bytes(), [&](size_t begin, size_t end) {
      std::memcpy(view.data + begin, sequence.values + begin, end - begin);
    });
  } else {
    const Strides strides = contiguous_strides(view.dims, sequence.dtype);
    copy_strided(sequence.values, strides.data(), view.data, view.strides.data(), view.dims.begin(),
                 view.dims.rank(), size_of(sequence.dtype));
  }
  if (!view.mask) return;
  for (int64_t b = 0; b < sequence.batch; ++b) {
    for (int64_t t = 0; t < sequence.time; ++t) {
      view.mask[b * view.mask_strides[0] + t * view.mask_strides[1]] = *sequence.mask_at(b, t);
    }
  }
}

}  // namespace sl
