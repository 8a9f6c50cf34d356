#include "core/declaration.h"

#include <limits>
#include <utility>

#include "core/status.h"

namespace sl {

void Declaration::append(std::string& path, std::string_view name) {
  if (name.empty()) return;
  if (!path.empty()) path += '.';
  path += name;
}

void Declaration::state(std::string_view name, DType dtype, const Shape& shape, double fill) {
  StateSpec spec;
  spec.name = name;
  spec.dtype = dtype;
  spec.shape = shape;
  spec.fill = fill;
  state(std::move(spec));
}

void Declaration::state(StateSpec spec) {
  std::string path = state_path_;
  append(path, spec.name);
  spec.name = std::move(path);
  try {
    spec.bytes();
  } catch (const SizeError& error) {
    fail(error.code(), "state \"{}\" of {}: {}", spec.name, to_string(spec.shape), error.what());
  }
  states_.push_back(std::move(spec));
}

void Declaration::index(std::string_view name, const Shape& shape, int64_t minimum, int64_t maximum,
                        double fill) {
  state(name, DType::kInt32, shape, fill);
  states_.back().minimum = minimum;
  states_.back().maximum = maximum;
}

void Declaration::position(std::string_view name, int64_t batch, int64_t minimum, int64_t maximum) {
  if (maximum > std::numeric_limits<int32_t>::max()) {
    fail(Code::kUnsupported, "a stream of {} steps is too long: expected at most 2^31 - 1",
         maximum);
  }
  index(name, {batch}, minimum, maximum, static_cast<double>(minimum));
  states_.back().is_position = true;
}

void Declaration::emit(std::string_view name, const SequenceSpec& sequence) {
  std::string path = emit_path_;
  append(path, name);
  emits_.push_back({std::move(path), sequence});
}

void Declaration::check_count() {
  // Groups within groups can be more than anyone waits for.
  constexpr int64_t kMaximum = int64_t{1} << 20;
  if (++count_ > kMaximum) fail(Code::kUnsupported, "the model runs more than {} layers", kMaximum);
}

}  // namespace sl
