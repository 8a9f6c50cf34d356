#include "convert.h"
#include "handles.h"

namespace {

using sl::Code;
using sl::capi::guard;
using sl::capi::not_null;

struct StateOptions {
  sl_state_options given;
  sl::capi::ConstantViews constants;
  sl::Allocator allocator;

  StateOptions(const sl_layer* layer, const sl_state_options* options)
      : given(sl::capi::read_struct(not_null(options, "options"), "options")),
        constants(
            sl::capi::to_constants(given.constants, given.num_constants, /*needs_data=*/false)),
        allocator(
            sl::capi::to_allocator(given.allocator, not_null(layer, "layer")->model->allocator())) {
    given.batch = sl::capi::or_default<int64_t>(given.batch, 1);
    sl::capi::check_batch(given.batch);
    sl::capi::check_max_length(given.max_length);
    if (given.max_steps < 0 || given.max_steps > (int64_t{1} << 31)) {
      sl::fail(Code::kInvalidArgument, "options.max_steps is {}: expected 0 to 2^31",
               given.max_steps);
    }
  }

  sl::StreamPlan plan(const sl_layer* layer) const {
    return sl::StreamPlan(
        *not_null(layer, "layer")->model,
        {given.batch, given.max_steps, sl::capi::to_spec(&given.input, "options.input"),
         constants.views, constants.names, /*rehearse=*/true, given.max_length});
  }
};

// A state in the caller's memory: the handle first, the stream's own memory after it.
constexpr size_t kHandleBytes = sl::align_up(sizeof(sl_state));

bool in_callers_memory(const sl_state* state) { return state->block.data() == nullptr; }

void check_item(const sl_state* state, int64_t item, const char* name) {
  sl::capi::check_item(state->stream->plan().input().batch, item, name);
}

}  // namespace

sl_status sl_state_alloc(const sl_layer* layer, const sl_state_options* options, sl_state** out,
                         sl_error* error) {
  return guard(error, [&] {
    not_null(out, "out");
    const StateOptions parsed(layer, options);
    sl::StreamPlan plan = parsed.plan(layer);
    auto state = std::make_unique<sl_state>();
    state->layer = layer;
    // Never empty: an empty block marks the caller's memory.
    state->block = sl::Block(std::max(plan.bytes(), sl::kAlignment), parsed.allocator);
    state->stream.emplace(std::move(plan), state->block.data());
    *out = state.release();
  });
}

sl_status sl_state_size(const sl_layer* layer, const sl_state_options* options, size_t* size,
                        size_t* alignment, sl_error* error) {
  return guard(error, [&] {
    not_null(size, "size");
    *size = sl::checked_add(kHandleBytes, StateOptions(layer, options).plan(layer).bytes());
    if (alignment) *alignment = sl::kAlignment;
  });
}

sl_status sl_state_alloc_in(const sl_layer* layer, const sl_state_options* options, void* memory,
                            size_t size, sl_state** out, sl_error* error) {
  return guard(error, [&] {
    not_null(out, "out");
    not_null(memory, "memory");
    if (reinterpret_cast<uintptr_t>(memory) % sl::kAlignment != 0) {
      sl::fail(Code::kInvalidArgument, "memory is not aligned to {} bytes", sl::kAlignment);
    }
    sl::StreamPlan plan = StateOptions(layer, options).plan(layer);
    if (size < kHandleBytes + plan.bytes()) {
      sl::fail(Code::kInvalidArgument, "memory has {} bytes: expected {}", size,
               kHandleBytes + plan.bytes());
    }
    auto* state = new (memory) sl_state;
    state->layer = layer;
    state->stream.emplace(std::move(plan), static_cast<std::byte*>(memory) + kHandleBytes);
    *out = state;
  });
}

sl_status sl_state_prepare(sl_state* state, const sl_constant* constants, int64_t num_constants,
                           sl_error* error) {
  return guard(error, [&] {
    sl::Stream& stream = *not_null(state, "state")->stream;
    sl_run_options options = SL_RUN_OPTIONS_INIT;
    options.constants = constants;
    options.num_constants = num_constants;
    sl::capi::set_constants(stream, options, stream.plan().block_size());
    stream.prepare();
  });
}

sl_status sl_state_reset(sl_state* state, sl_error* error) {
  return guard(error, [&] { not_null(state, "state")->stream->reset(); });
}

sl_status sl_state_copy(sl_state* target, const sl_state* source, sl_error* error) {
  return guard(error, [&] {
    not_null(target, "target")->stream->copy_from(*not_null(source, "source")->stream);
  });
}

sl_status sl_state_reset_item(sl_state* state, int64_t item, sl_error* error) {
  return guard(error, [&] {
    check_item(not_null(state, "state"), item, "item");
    state->stream->reset_item(item);
  });
}

sl_status sl_state_copy_item(sl_state* target, int64_t target_item, const sl_state* source,
                             int64_t source_item, sl_error* error) {
  return guard(error, [&] {
    check_item(not_null(target, "target"), target_item, "target_item");
    check_item(not_null(source, "source"), source_item, "source_item");
    target->stream->copy_item(target_item, *source->stream, source_item);
  });
}

size_t sl_state_save_size(const sl_state* state) { return state ? state->stream->save_bytes() : 0; }

sl_status sl_state_save(const sl_state* state, void* buffer, size_t size, sl_error* error) {
  return guard(error, [&] {
    not_null(state, "state");
    sl::capi::check_buffer(size, state->stream->save_bytes());
    state->stream->save(static_cast<std::byte*>(not_null(buffer, "buffer")));
  });
}

sl_status sl_state_load(sl_state* state, const void* buffer, size_t size, sl_error* error) {
  return guard(error, [&] {
    not_null(state, "state")
        ->stream->load(static_cast<const std::byte*>(not_null(buffer, "buffer")), size);
  });
}

size_t sl_state_save_item_size(const sl_state* state) {
  return state ? state->stream->save_item_bytes() : 0;
}

sl_status sl_state_save_item(const sl_state* state, int64_t item, void* buffer, size_t size,
                             sl_error* error) {
  return guard(error, [&] {
    check_item(not_null(state, "state"), item, "item");
    sl::capi::check_buffer(size, state->stream->save_item_bytes());
    state->stream->save_item(item, static_cast<std::byte*>(not_null(buffer, "buffer")));
  });
}

sl_status sl_state_load_item(sl_state* state, int64_t item, const void* buffer, size_t size,
                             sl_error* error) {
  return guard(error, [&] {
    check_item(not_null(state, "state"), item, "item");
    state->stream->load_item(item, static_cast<const std::byte*>(not_null(buffer, "buffer")), size);
  });
}

int64_t sl_state_tensor_count(const sl_state* state) {
  return state ? static_cast<int64_t>(state->stream->plan().state().size()) : 0;
}

sl_status sl_state_tensor(const sl_state* state, int64_t index, const char** name,
                          sl_sequence* tensor, sl_error* error) {
  return guard(error, [&] {
    not_null(state, "state");
    if (index < 0 || index >= sl_state_tensor_count(state)) {
      sl::fail(Code::kInvalidArgument, "state tensor {} of {}", index,
               sl_state_tensor_count(state));
    }
    const auto i = static_cast<size_t>(index);
    const sl::StateSpec& spec = state->stream->plan().state()[i];
    if (name) *name = spec.name.c_str();
    if (!tensor) return;
    sl::capi::set_tensor({spec.dtype, spec.shape, state->stream->tensor(i).data}, tensor, "tensor");
  });
}

void sl_state_free(sl_state* state) {
  if (!state) return;
  if (in_callers_memory(state)) {
    state->~sl_state();
  } else {
    delete state;
  }
}
