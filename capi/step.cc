#include <span>

#include "convert.h"
#include "handles.h"

namespace {

using sl::Code;
using sl::capi::guard;
using sl::capi::not_null;

// Memory behind x often holds the next block, as in a recording: it is prefetched in this step.
// Inline, for the compiler drops calls of functions that only prefetch.
[[gnu::always_inline]] inline void prefetch_next(const sl::View& x) {
  constexpr size_t kLine = 64, kMost = 4096;
  const size_t bytes = static_cast<size_t>(x.dims.size()) * sl::size_of(x.dtype);
  const uintptr_t next = reinterpret_cast<uintptr_t>(x.data) + bytes;
  for (size_t at = 0; at < std::min(bytes, kMost); at += kLine)
    __builtin_prefetch(reinterpret_cast<const void*>(next + at));
}

// Whether values and mask lie packed in memory: without strides, or with those of their dims, which
// other languages' arrays have.
bool has_packed_strides(const sl_sequence& given, size_t element) {
  const bool packed_mask = given.mask_strides[0] == given.dims[1] && given.mask_strides[1] == 1;
  if (given.mask && !packed_mask && (given.mask_strides[0] | given.mask_strides[1]) != 0)
    return false;
  int64_t strides = 0;
  for (int32_t i = 0; i < given.rank; ++i) strides |= given.strides[i];
  if (strides == 0) return true;
  // It wraps around where dims are too large, which is found out later.
  uint64_t packed = element;
  for (int32_t i = given.rank - 1; i >= 0; --i) {
    if (given.dims[i] != 1 && static_cast<uint64_t>(given.strides[i]) != packed) return false;
    packed *= static_cast<uint64_t>(given.dims[i]);
  }
  return true;
}

// Reads a packed sequence of that spec and batch. Returns false for any other one, which may be
// right too. Sizes that equal those of the plan need no further checks.
bool read_plain(const sl_sequence* given, const sl::ChannelSpec& channels, int64_t batch,
                sl::View* view) {
  if (!given || !given->data || given->is_array != 0 || given->dims[0] != batch ||
      given->rank != channels.shape.rank() + 2 ||
      given->dtype != static_cast<sl_dtype>(channels.dtype) ||
      (given->struct_size != sizeof(sl_sequence) && given->struct_size != 0))
    return false;
  if (!has_packed_strides(*given, sl::size_of(channels.dtype))) return false;
  for (int i = 0; i < channels.shape.rank(); ++i) {
    if (given->dims[i + 2] != channels.shape[i]) return false;
  }
  view->dtype = channels.dtype;
  // In place: copying a shape waits for the stores that have just made it.
  for (int32_t i = 0; i < given->rank; ++i) view->dims.push_back(given->dims[i]);
  view->data = static_cast<std::byte*>(given->data);
  view->mask = given->mask;
  view->mask_strides[0] = given->dims[1];
  view->mask_strides[1] = 1;
  view->packed = true;
  return true;
}

// Reads x and y of a step as nearly all calls give them, in few instructions. Returns false if the
// call may be in error.
bool read_plain(const sl::StreamPlan& plan, int64_t items, const sl_sequence* x,
                const sl_sequence* y, sl::View* in, sl::View* out) {
  if (!read_plain(x, plan.input().channels, items, in) || !read_plain(y, plan.output(), items, out))
    return false;
  const int64_t time = in->dims[1];
  return time >= 0 && time <= plan.input().time && time % plan.block_size() == 0 &&
         out->dims[1] == plan.output_time(time);
}

// Reads x and y of any step, or fails.
void read_any(const sl::StreamPlan& plan, int64_t items, const sl_sequence* x, const sl_sequence* y,
              sl::View* in, sl::View* out) {
  *in = sl::capi::to_sequence_view(x, "x", /*needs_data=*/true);
  *out = sl::capi::to_sequence_view(y, "y", /*needs_data=*/true);
  sl::capi::check_step_input(plan, *in, items);
  sl::capi::check_output(
      *out, {plan.output(), in->dims[0], plan.output_time(in->dims[1]), sl::Mode::kStep}, "y");
}

// Where the step's emits go. False if none are asked for.
bool set_emits(sl::Stream& stream, const sl_run_options& options, int64_t time, int64_t items) {
  const sl::StreamPlan& plan = stream.plan();
  const int64_t count = sl::capi::emit_count(options, plan.emits().size());
  for (int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    const sl::View place =
        sl::capi::wanted_emit(options.emits[i], plan.emits()[at], plan.emit(at, time, items));
    stream.emits()[at] = {.channels = {}, .values = place.data, .mask = place.mask};
  }
  return count != 0;
}

// The stream of the state, if it is one of the layer.
sl::Stream& stream_of(const sl_layer* layer, sl_state* state) {
  not_null(state, "state");
  if (state->layer != not_null(layer, "layer"))
    sl::fail(Code::kInvalidArgument, "the state is of another layer");
  return *state->stream;
}

// Runs a block of each of the slots, whose items are in x and y.
void step(sl::Stream& stream, const sl::Slots& slots, const sl_sequence* x, const sl_sequence* y,
          const sl_run_options* options) {
  const sl::StreamPlan& plan = stream.plan();
  // The weights of the step before may have displaced it from the cache.
  __builtin_prefetch(&plan.model().root());
  sl::View in, out;
  if (!read_plain(plan, slots.count, x, y, &in, &out)) read_any(plan, slots.count, x, y, &in, &out);
  bool with_emits = false;
  const sl::Parallel* recording = nullptr;
  if (options || plan.constant_count() != 0) {
    const auto run = sl::capi::read_struct(options, "options");
    with_emits = set_emits(stream, run, in.dims[1], slots.count);
    sl::capi::set_constants(stream, run, in.dims[1], slots.count);
    recording = sl::capi::recording(run);
  }
  prefetch_next(in);
  if (in.dims[1] > 0) stream.step(slots, in, out, with_emits, recording);
}

}  // namespace

sl_status sl_layer_step(const sl_layer* layer, sl_state* state, const sl_sequence* x,
                        sl_sequence* y, const sl_run_options* options, sl_error* error) {
  return guard(error, [&] {
    sl::Stream& stream = stream_of(layer, state);
    step(stream, stream.plan().all_slots(), x, y, options);
  });
}

sl_status sl_layer_step_slots(const sl_layer* layer, sl_state* state, const int64_t* slots,
                              int64_t count, const sl_sequence* x, sl_sequence* y,
                              const sl_run_options* options, sl_error* error) {
  return guard(error, [&] {
    sl::Stream& stream = stream_of(layer, state);
    const auto given = sl::capi::to_slots(slots, count, stream.plan().input().batch);
    step(stream, stream.check_slots(given), x, y, options);
  });
}
