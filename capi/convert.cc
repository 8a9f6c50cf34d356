#include "convert.h"

#include <algorithm>
#include <array>
#include <span>

namespace sl::capi {

DType to_dtype(sl_dtype dtype, const char* name) {
  if (!is_dtype(dtype)) fail(Code::kInvalidArgument, "{}: unknown dtype {}", name, dtype);
  return static_cast<DType>(dtype);
}

namespace {

// Maximum number of elements in a view, and of items in a batch, which layers go through one by one
// even if they are empty.
constexpr int64_t kMaxElements = int64_t{1} << 48;
constexpr int64_t kMaxItems = int64_t{1} << 24;

// Keeps the number of elements, and with it every size in bytes, within 64 bits.
void check_dim(int64_t dim, int32_t axis, const char* name, int64_t* elements) {
  // Neither factor is more than 2^48 where the product is made.
  const bool fits = dim >= 0 && dim <= kMaxElements &&
                    fits_product(*elements, std::max<int64_t>(dim, 1), elements) &&
                    *elements <= kMaxElements;
  if (fits) return;
  fail(Code::kInvalidArgument, "{}.dims[{}] is {}: expected 0 or more, and 2^48 elements at most",
       name, axis, dim);
}

void check_items(const View& view, const char* name) {
  const int64_t batch = view.dims[0], steps = view.dims[1];
  const bool empty = std::ranges::find(view.dims, 0) != view.dims.end();
  if (batch <= kMaxItems && (!empty || std::max<int64_t>(batch, 1) * steps <= kMaxItems)) return;
  fail(Code::kInvalidArgument,
       "{} has a batch of {} and {} steps: expected a batch of at most 2^24, and no more steps if "
       "they are empty",
       name, batch, steps);
}

// Fails if 64 bits cannot count the bytes between the elements of a view.
void check_strides(const Shape& dims, const int64_t* strides, const char* name, const char* field) {
  int64_t low = 0, high = 0;
  for (int i = 0; i < dims.rank(); ++i) {
    int64_t extent = 0;
    int64_t& end = strides[i] < 0 ? low : high;
    if (dims[i] > 1 &&
        !(fits_product(dims[i] - 1, strides[i], &extent) && fits_sum(end, extent, &end))) {
      fail(Code::kInvalidArgument, "{}.{}[{}] is {}: too large for {}", name, field, i, strides[i],
           to_string(dims));
    }
  }
}

}  // namespace

ChannelSpec to_spec(const sl_channel_spec* given, const char* name) {
  const sl_channel_spec spec = read_struct(not_null(given, name), name);
  if (spec.rank < 0 || spec.rank > SL_MAX_CHANNEL_RANK) {
    fail(Code::kInvalidArgument, "{}.rank is {}: expected 0 to {}", name, spec.rank,
         SL_MAX_CHANNEL_RANK);
  }
  ChannelSpec out;
  out.dtype = to_dtype(spec.dtype, name);
  int64_t elements = 1;
  for (int32_t i = 0; i < spec.rank; ++i) {
    check_dim(spec.dims[i], i, name, &elements);
    out.shape.push_back(spec.dims[i]);
  }
  return out;
}

void from_spec(const ChannelSpec& spec, sl_channel_spec* out, const char* name) {
  if (spec.shape.rank() > SL_MAX_CHANNEL_RANK) {
    fail(Code::kShape, "channel shape {} has more than {} dimensions", to_string(spec.shape),
         SL_MAX_CHANNEL_RANK);
  }
  sl_channel_spec value = SL_CHANNEL_SPEC_INIT;
  value.dtype = static_cast<sl_dtype>(spec.dtype);
  value.rank = spec.shape.rank();
  for (int i = 0; i < spec.shape.rank(); ++i) value.dims[i] = spec.shape[i];
  write_struct(value, out, name);
}

View to_view(const sl_sequence* given, const char* name, bool needs_data) {
  checked_size(*not_null(given, name), name);
  View view;
  view.dtype = to_dtype(given->dtype, name);
  view.is_array = given->is_array != 0;
  const int32_t min_rank = view.is_array ? 0 : 2;
  if (given->rank < min_rank || given->rank > SL_MAX_RANK) {
    fail(Code::kInvalidArgument, "{}.rank is {}: expected {} to {}", name, given->rank, min_rank,
         SL_MAX_RANK);
  }
  bool strided = false;
  int64_t elements = 1;
  for (int32_t i = 0; i < given->rank; ++i) {
    check_dim(given->dims[i], i, name, &elements);
    strided = strided || given->strides[i] != 0;
  }
  view.dims = Shape(std::span(given->dims, static_cast<size_t>(given->rank)));
  view.packed = !strided;
  if (!view.is_array) check_items(view, name);
  if (strided) {
    check_strides(view.dims, given->strides, name, "strides");
    std::copy(given->strides, given->strides + given->rank, view.strides.begin());
  }
  view.data = static_cast<std::byte*>(given->data);
  view.mask = view.is_array ? nullptr : given->mask;
  if (needs_data && !view.data && view.dims.size() > 0)
    fail(Code::kInvalidArgument, "{}.data is null", name);
  const bool mask_strided = given->mask_strides[0] != 0 || given->mask_strides[1] != 0;
  view.mask_strides[0] = mask_strided ? given->mask_strides[0] : (view.is_array ? 0 : view.dims[1]);
  view.mask_strides[1] = mask_strided ? given->mask_strides[1] : 1;
  if (mask_strided && view.mask)
    check_strides(view.dims.slice(0, 2), view.mask_strides, name, "mask_strides");
  return view;
}

View to_sequence_view(const sl_sequence* given, const char* name, bool needs_data) {
  const View view = to_view(given, name, needs_data);
  if (view.is_array)
    fail(Code::kInvalidArgument, "{}.is_array is {}: expected a sequence", name, given->is_array);
  return view;
}

bool is_packed(const View& view) {
  return view.contiguous() && view.mask_strides[1] == 1 && view.mask_strides[0] == view.dims[1];
}

void set_dims(sl_sequence* out, DType dtype, const Shape& dims, const char* name) {
  checked_size(*not_null(out, name), name);
  if (dims.rank() > SL_MAX_RANK)
    fail(Code::kShape, "{} has more than {} dimensions", to_string(dims), SL_MAX_RANK);
  out->dtype = static_cast<sl_dtype>(dtype);
  out->rank = dims.rank();
  for (int i = 0; i < dims.rank(); ++i) out->dims[i] = dims[i];
}

Shape dims_of(const SequenceSpec& spec) {
  Shape dims{spec.batch, spec.time};
  for (int64_t dim : spec.channels.shape) dims.push_back(dim);
  return dims;
}

void check_output(const View& y, const SequenceSpec& expected, const char* name) {
  if (y.has_channels(expected.channels) && y.dims[0] == expected.batch &&
      y.dims[1] == expected.time)
    return;
  fail(Code::kShape, "{} is {} {}: expected {} {}", name, name_of(y.dtype), to_string(y.dims),
       name_of(expected.channels.dtype), to_string(dims_of(expected)));
}

int64_t emit_count(const sl_run_options& options, size_t count) {
  if (options.num_emits == 0) return 0;
  if (options.num_emits != static_cast<int64_t>(count)) {
    fail(Code::kInvalidArgument, "num_emits is {}: the model has {}", options.num_emits, count);
  }
  not_null(options.emits, "emits");
  return options.num_emits;
}

View wanted_emit(const sl_sequence& given, const EmitSpec& spec, const SequenceSpec& expected) {
  if (!given.data) return {};
  const View view = to_sequence_view(&given, "emit", /*needs_data=*/true);
  check_output(view, expected, spec.path.empty() ? "emit" : spec.path.c_str());
  if (!is_packed(view)) {
    fail(Code::kInvalidArgument, "emit \"{}\" is not contiguous", spec.path);
  }
  return view;
}

Allocator to_allocator(const sl_allocator* given, const Allocator& fallback) {
  const sl_allocator allocator = read_struct(given, "allocator");
  if (!allocator.allocate && !allocator.deallocate) return fallback;
  if (!allocator.allocate || !allocator.deallocate) {
    fail(Code::kInvalidArgument, "allocator: allocate and deallocate are both needed");
  }
  return {allocator.user_data, allocator.allocate, allocator.deallocate, fallback.max_bytes};
}

ConstantViews to_constants(const sl_constant* constants, int64_t count, bool needs_data) {
  ConstantViews out;
  if (count < 0 || count > static_cast<int64_t>(Stream::kMaxConstants)) {
    fail(Code::kInvalidArgument, "num_constants is {}: expected 0 to {}", count,
         Stream::kMaxConstants);
  }
  if (count > 0) not_null(constants, "constants");
  for (int64_t i = 0; i < count; ++i) {
    const char* name = not_null(constants[i].name, "constant.name");
    if (std::ranges::find(out.names, name) != out.names.end())
      fail(Code::kInvalidArgument, "constant \"{}\" is given twice", name);
    out.names.emplace_back(name);
    out.views.push_back(to_view(&constants[i].value, "constant.value", needs_data));
  }
  return out;
}

std::vector<Constant> import_constants(Stack& stack, const ConstantViews& given) {
  std::vector<Constant> out;
  for (size_t i = 0; i < given.views.size(); ++i)
    out.push_back(import_constant(stack, given.names[i], given.views[i]));
  return out;
}

void check_stream_input(const StreamPlan& plan, const View& x, int64_t items) {
  const SequenceSpec& input = plan.input();
  if (!x.has_channels(input.channels)) {
    fail(Code::kShape, "x is of {}: the stream was made for {}", to_string(x.channels()),
         to_string(input.channels));
  }
  if (x.dims[0] != items) {
    fail(Code::kShape, "x is of batch {}: {} {}", x.dims[0],
         items == input.batch ? "the stream was made for" : "the call steps", items);
  }
}

void check_step_input(const StreamPlan& plan, const View& x, int64_t items) {
  check_stream_input(plan, x, items);
  const int64_t max_steps = plan.input().time;
  if (x.dims[1] % plan.block_size() != 0 || x.dims[1] > max_steps) {
    fail(Code::kShape, "x has {} steps: expected a multiple of the block size {}, at most {}",
         x.dims[1], plan.block_size(), max_steps);
  }
}

void set_constants(Stream& stream, const sl_run_options& options, int64_t time, int64_t items) {
  const StreamPlan& plan = stream.plan();
  if (options.num_constants != static_cast<int64_t>(plan.constant_count())) {
    fail(Code::kInvalidArgument, "num_constants is {}: the stream was made for {}",
         options.num_constants, plan.constant_count());
  }
  for (size_t i = 0; i < plan.constant_count(); ++i) {
    const sl_constant& constant = not_null(options.constants, "constants")[i];
    const View view = to_view(&constant.value, "constant.value", /*needs_data=*/true);
    plan.check_constant(i, not_null(constant.name, "constant.name"), view, time, items);
    stream.constants()[i] = view;
  }
}

std::span<const int64_t> to_slots(const int64_t* slots, int64_t count, int64_t batch) {
  if (count < 1 || count > batch) {
    fail(Code::kInvalidArgument, "count is {}: expected 1 to {}, as the batch is {}", count, batch,
         batch);
  }
  return {not_null(slots, "slots"), static_cast<size_t>(count)};
}

void check_buffer(size_t size, size_t needed) {
  if (size < needed) fail(Code::kInvalidArgument, "buffer has {} bytes: expected {}", size, needed);
}

void check_batch(int64_t batch) {
  if (batch < 1 || batch > (int64_t{1} << 24)) {
    fail(Code::kInvalidArgument, "options.batch is {}: expected 1 to 2^24", batch);
  }
}

void check_item(int64_t batch, int64_t item, const char* name) {
  if (item >= 0 && item < batch) return;
  fail(Code::kInvalidArgument, "{} is {}: expected 0 to {}, as the batch is {}", name, item,
       batch - 1, batch);
}

void check_max_length(int64_t max_length) {
  if (max_length < 0 || max_length > INT32_MAX) {
    fail(Code::kInvalidArgument, "options.max_length is {}: expected 0 to 2^31 - 1", max_length);
  }
}

void set_tensor(const Tensor& tensor, sl_sequence* out, const char* name) {
  sl_sequence value = SL_SEQUENCE_INIT;
  value.is_array = 1;
  set_dims(&value, tensor.dtype, tensor.shape, name);
  value.data = const_cast<std::byte*>(tensor.data);
  write_struct(value, out, name);
}

Mode to_mode(sl_mode mode) {
  if (mode != SL_MODE_LAYER && mode != SL_MODE_STEP)
    fail(Code::kInvalidArgument, "mode is {}: expected SL_MODE_LAYER or SL_MODE_STEP", mode);
  return static_cast<Mode>(mode);
}

ConstantSpecs::ConstantSpecs(const sl_constant* constants, int64_t count)
    : views_(to_constants(constants, count, /*needs_data=*/false)) {
  for (size_t i = 0; i < views_.views.size(); ++i) {
    const View& view = views_.views[i];
    Constant constant;
    constant.name = views_.names[i];
    constant.is_array = view.is_array;
    constant.shape = view.dims;
    constant.sequence.dtype = view.dtype;
    constant.sequence.channels = view.is_array ? view.dims : view.channels().shape;
    if (!view.is_array) {
      constant.sequence.batch = view.dims[0];
      constant.sequence.time = view.dims[1];
    }
    specs_.push_back(constant);
  }
}

}  // namespace sl::capi
