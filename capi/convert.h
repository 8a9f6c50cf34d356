// Conversions between the structs of the C ABI and the library's own types, and checks of what a
// caller gives.
#pragma once

#include <string>
#include <vector>

#include "core/text.h"
#include "core/view.h"
#include "model/stream.h"
#include "structs.h"

namespace sl::capi {

// Fails if an argument that must not be null is.
template <typename T>
T* not_null(T* pointer, const char* name) {
  if (!pointer) fail(Code::kInvalidArgument, "{} is null", name);
  return pointer;
}

// The value of a field, for which zero stands for its default.
template <typename T>
T or_default(T value, T fallback) {
  return value == T{} ? fallback : value;
}

DType to_dtype(sl_dtype dtype, const char* name);
ChannelSpec to_spec(const sl_channel_spec* spec, const char* name);
void from_spec(const ChannelSpec& spec, sl_channel_spec* out, const char* name);

// The view of a caller's sequence or array; with `needs_data` it must have data.
View to_view(const sl_sequence* sequence, const char* name, bool needs_data);
// The view of what must be a sequence, not an array.
View to_sequence_view(const sl_sequence* sequence, const char* name, bool needs_data);
// Whether values and mask are contiguous.
bool is_packed(const View& view);
// Sets what shape and dtype are, and leaves the rest of the caller's struct.
void set_dims(sl_sequence* out, DType dtype, const Shape& dims, const char* name);
// The whole shape of a sequence, with batch and time.
Shape dims_of(const SequenceSpec& spec);

// Fails if what a run writes to is not of the shape that it makes.
void check_output(const View& y, const SequenceSpec& expected, const char* name);
// Number of emits that a call provides: none, or as many as the model has.
int64_t emit_count(const sl_run_options& options, size_t count);
// The view of an emit that the caller provides, empty if it is not wanted.
View wanted_emit(const sl_sequence& given, const EmitSpec& spec, const SequenceSpec& expected);

// Fails if x has another spec than the stream's input or another batch than `items`.
void check_stream_input(const StreamPlan& plan, const View& x, int64_t items);
inline void check_stream_input(const StreamPlan& plan, const View& x) {
  check_stream_input(plan, x, plan.input().batch);
}
// Fails if x is not the input of one step of so many items: whole blocks, no more than the stream
// takes at once.
void check_step_input(const StreamPlan& plan, const View& x, int64_t items);

// Gives the stream the constants of a call of `time` steps of so many items. Allocates nothing
// where all is well.
void set_constants(Stream& stream, const sl_run_options& options, int64_t time, int64_t items);
inline void set_constants(Stream& stream, const sl_run_options& options, int64_t time) {
  set_constants(stream, options, time, stream.plan().input().batch);
}

// The slots of a batch that a call names: at least one, and no more than there are.
std::span<const int64_t> to_slots(const int64_t* slots, int64_t count, int64_t batch);

// Fails if a buffer is too small for saved bytes.
void check_buffer(size_t size, size_t needed);
void check_batch(int64_t batch);
// Fails if a batch has no such item; `name` is that of the argument.
void check_item(int64_t batch, int64_t item, const char* name);
void check_max_length(int64_t max_length);

// The caller's allocator, or `fallback` if there is none, whose limit holds for both.
Allocator to_allocator(const sl_allocator* allocator, const Allocator& fallback);

// The view of a weight tensor.
void set_tensor(const Tensor& tensor, sl_sequence* out, const char* name);

// The constants of a call, in the order given.
struct ConstantViews {
  std::vector<std::string> names;
  std::vector<View> views;
};
ConstantViews to_constants(const sl_constant* constants, int64_t count, bool needs_data);
// The constants as a run takes them; the views must outlive it.
std::vector<Constant> import_constants(Stack& stack, const ConstantViews& given);

// The constants of a call as layers see them before there is data.
class ConstantSpecs {
 public:
  ConstantSpecs(const sl_constant* constants, int64_t count);
  Constants all() const { return Constants(specs_); }

 private:
  ConstantViews views_;
  std::vector<Constant> specs_;
};

Mode to_mode(sl_mode mode);

// Writes at most `capacity` bytes of text with a final zero, if there is a buffer, and the size of
// the whole text with its zero to `needed`, if that is given.
inline void write_text(const std::string& text, char* buffer, size_t capacity,
                       size_t* needed = nullptr) {
  if (needed) *needed = text.size() + 1;
  if (buffer) sl::copy_text(text, buffer, capacity);
}

}  // namespace sl::capi
