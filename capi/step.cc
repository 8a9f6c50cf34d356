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

// Where the step's emits go. False if none are asked for.
bool set_emits(sl::Stream& stream, const sl_run_options& options, int64_t time) {
  const sl::StreamPlan& plan = stream.plan();
  const int64_t count = sl::capi::emit_count(options, plan.emits().size());
  for (int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    const sl::View place =
        sl::capi::wanted_emit(options.emits[i], plan.emits()[at], plan.emit(at, time));
    stream.emits()[at] = {.channels = {}, .values = place.data, .mask = place.mask};
  }
  return count != 0;
}

}  // namespace

sl_status sl_layer_step(const sl_layer* layer, sl_state* state, const sl_sequence* x,
                        sl_sequence* y, const sl_run_options* options, sl_error* error) {
  return guard(error, [&] {
    not_null(state, "state");
    if (state->layer != not_null(layer, "layer")) {
      sl::fail(Code::kInvalidArgument, "the state is of another layer");
    }
    sl::Stream& stream = *state->stream;
    const sl::StreamPlan& plan = stream.plan();
    const sl::View in = sl::capi::to_sequence_view(x, "x", /*needs_data=*/true);
    const sl::View out = sl::capi::to_sequence_view(y, "y", /*needs_data=*/true);
    sl::capi::check_step_input(plan, in);
    sl::capi::check_output(
        out, {plan.output(), in.dims[0], plan.output_time(in.dims[1]), sl::Mode::kStep}, "y");
    const auto run = sl::capi::read_struct(options, "options");
    const bool with_emits = set_emits(stream, run, in.dims[1]);
    sl::capi::set_constants(stream, run, in.dims[1]);
    prefetch_next(in);
    const sl::Parallel* parallel = run.profile ? &run.profile->parallel : nullptr;
    if (in.dims[1] > 0) stream.step(in, out, with_emits, parallel);
  });
}
