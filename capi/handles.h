// What the opaque handles are, and how calls turn exceptions into status and error.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/status.h"
#include "core/view.h"
#include "model/decoder.h"
#include "model/model.h"
#include "model/stream.h"
#include "sequence_layers/sequence_layers.h"
#include "structs.h"

struct sl_weights {
  std::shared_ptr<sl::TensorStore> store;
};

struct sl_registry {
  sl::Registry registry;
};

struct sl_layer {
  std::unique_ptr<sl::Model> model;
};

struct sl_state {
  const sl_layer* layer;
  sl::Block block;  // empty in the caller's memory
  std::optional<sl::Stream> stream;
};

struct sl_decoder {
  const sl_layer* layer;
  sl::Decoder decoder;
};

struct sl_weight_source {
  sl::WeightScope scope;
};

namespace sl::capi {

sl_status report(sl_error* error, Code code, const char* message) noexcept;

// Runs fn, a call's body; no exception passes.
template <typename Fn>
sl_status guard(sl_error* error, Fn&& fn) noexcept {
  try {
    fn();
    return SL_STATUS_OK;
  } catch (const Error& e) {
    return report(error, e.code(), e.what());
  } catch (const std::bad_alloc&) {
    return report(error, Code::kOutOfMemory, "out of memory");
  } catch (const std::length_error&) {
    return report(error, Code::kOutOfMemory, "out of memory");
  } catch (const std::exception& e) {
    return report(error, Code::kInternal, e.what());
  } catch (...) {
    return report(error, Code::kInternal, "unknown exception");
  }
}

// Runs fn, the body of a call that returns a number: -1 after an error.
template <typename Fn>
int64_t guard_count(sl_error* error, Fn&& fn) noexcept {
  int64_t count = -1;
  guard(error, [&] { count = fn(); });
  return count;
}

// Fails if an argument that must not be null is.
template <typename T>
T* not_null(T* pointer, const char* name) {
  if (!pointer) fail(Code::kInvalidArgument, "{} is null", name);
  return pointer;
}

// Bytes that a caller's struct has, which must be more than a part of struct_size.
template <typename T>
size_t checked_size(const T& given, const char* name) {
  const uint32_t size = size_of_struct(given);
  if (size < sizeof(uint32_t)) {
    fail(Code::kInvalidArgument,
         "{}.struct_size is {}: expected 0, or the struct's size as its _INIT macro sets it", name,
         size);
  }
  return size;
}

// Copies the part of a caller's struct that its struct_size covers over the defaults.
template <typename T>
T read_struct(const T* given, const T& defaults, const char* name) {
  T out = defaults;
  if (!given) return out;
  memcpy(static_cast<void*>(&out), given, std::min(checked_size(*given, name), sizeof(T)));
  out.struct_size = sizeof(T);
  return out;
}

// Copies to a caller's struct the part that its struct_size covers.
template <typename T>
void write_struct(T value, T* out, const char* name) {
  const size_t size = checked_size(*not_null(out, name), name);
  value.struct_size = out->struct_size;
  memcpy(static_cast<void*>(out), &value, std::min(size, sizeof(T)));
}

// What a field means: zero is its default.
template <typename T>
T or_default(T value, T fallback) {
  return value == T{} ? fallback : value;
}

DType to_dtype(sl_dtype dtype, const char* name);
ChannelSpec to_spec(const sl_channel_spec* spec, const char* name);
void from_spec(const ChannelSpec& spec, sl_channel_spec* out, const char* name);

// Dims and dtype of a view; with `needs_data`, its data too.
View to_view(const sl_sequence* sequence, const char* name, bool needs_data);
// The same of what must be a sequence, not an array.
View to_sequence_view(const sl_sequence* sequence, const char* name, bool needs_data);
// Whether values and mask are contiguous.
bool is_packed(const View& view);
void set_dims(sl_sequence* out, DType dtype, const Shape& dims);
// The shape of a sequence in full.
Shape dims_of(const SequenceSpec& spec);

// Fails if what a run writes to is not of the shape that it makes.
void check_output(const View& y, const SequenceSpec& expected, const char* name);
// How many emits a call gives places for: none, or as many as the model has.
int64_t emit_count(const sl_run_options& options, size_t count);
// The caller's place for one; without data it is not wanted.
View wanted_emit(const sl_sequence& given, const EmitSpec& spec, const SequenceSpec& expected);

// Fails if x is not of the batch and spec of the stream's input.
void check_stream_input(const StreamPlan& plan, const View& x);
// The same of one step: whole blocks, no more than the stream takes at once.
void check_step_input(const StreamPlan& plan, const View& x);

// Gives the stream the constants of a call of `time` steps. Allocates nothing where all is well.
void set_constants(Stream& stream, const sl_run_options& options, int64_t time);

void check_batch(int64_t batch);
void check_max_length(int64_t max_length);

// `fallback` stands for none, and its limit holds for the given one too.
Allocator to_allocator(const sl_allocator* allocator, const Allocator& fallback);

// The view of a weight tensor.
void set_tensor(const Tensor& tensor, sl_sequence* out, const char* name);

// The constants of a call, in the order given.
struct ConstantViews {
  std::vector<std::string> names;
  std::vector<View> views;
};
ConstantViews to_constants(const sl_constant* constants, int64_t count, bool needs_data);
// As a run takes them; the views must outlive it.
std::vector<Constant> import_constants(Stack& stack, const ConstantViews& given);

// The same as layers see them, without data.
class ConstantSpecs {
 public:
  ConstantSpecs(const sl_constant* constants, int64_t count);
  Constants all() const { return Constants(specs_); }

 private:
  ConstantViews views_;
  std::vector<Constant> specs_;
};

}  // namespace sl::capi
