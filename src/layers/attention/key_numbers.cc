#include "layers/attention/key_numbers.h"

#include <cmath>

#include "core/tensor.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

// The dtype that holds all values of the constant. Integers stay int32, since a segment number may
// be a hash of all 32 bits.
DType stored_dtype(const Constant& constant) {
  return is_inexact(constant.sequence.dtype) ? DType::kFloat32 : DType::kInt32;
}

// Reads the `time` numbers of item b as `dtype`. A constant with a batch of 1 serves every item.
void read(const Constant& constant, int64_t b, int64_t time, DType dtype, std::byte* out) {
  const int64_t item = constant.shape[0] == 1 ? 0 : b;
  const DType given = constant.sequence.dtype;
  ops::convert(constant.sequence.values + static_cast<size_t>(item * time) * size_of(given), given,
               out, dtype, time);
}

void widen(const std::byte* from, DType dtype, int64_t count, double* out) {
  const auto* integers = reinterpret_cast<const int32_t*>(from);
  const auto* floats = reinterpret_cast<const float*>(from);
  for (int64_t i = 0; i < count; ++i) {
    out[i] = dtype == DType::kInt32 ? integers[i] : static_cast<double>(floats[i]);
  }
}

}  // namespace

RingSpec KeyNumbers::ring(const Constant& constant, const RingSpec& keys) const {
  RingSpec ring = keys;
  ring.frame = {stored_dtype(constant), {}};
  ring.parts = 0;
  return ring;
}

std::vector<ConstantSpec> KeyNumbers::constants() const {
  if (name_.empty()) return {};
  ConstantSpec spec;
  spec.name = name_;
  spec.kind = ConstantSpec::Kind::kArray;
  spec.streamed = true;
  spec.broadcasts = true;
  spec.channels = Shape{kAnySize};
  return {spec};
}

void KeyNumbers::check(const Constant& constant, int64_t time) const {
  if (constant.shape.rank() == 2 && constant.shape[1] == time &&
      constant.sequence.dtype != DType::kComplex64) {
    return;
  }
  fail(Code::kShape,
       "constant \"{}\" is {} {}: expected real numbers [batch or 1, {}], one for each step of x",
       name_, name_of(constant.sequence.dtype), to_string(constant.shape), time);
}

void KeyNumbers::finish(double* numbers, int64_t count) const {
  if (divisor_ == 1) return;
  for (int64_t i = 0; i < count; ++i) {
    numbers[i] = std::floor(numbers[i] / static_cast<double>(divisor_));
  }
}

void KeyNumbers::declare(Declaration& declaration, const SequenceSpec& input,
                         const RingSpec& keys) const {
  if (name_.empty() || input.mode != Mode::kStep) return;
  const Constant& constant = declaration.constants().get(name_);
  check(constant, input.time);
  Ring::declare(declaration, ring(constant, keys), input.batch, input.time, input.max_length);
}

KeyNumbers::Rows KeyNumbers::layer(Run& run, const Sequence& x) const {
  if (name_.empty()) return {};
  const Constant& constant = run.constants().get(name_);
  check(constant, x.time);
  const DType dtype = stored_dtype(constant);
  auto* stored = run.scratch<std::byte>(x.time, static_cast<int64_t>(size_of(dtype)));
  auto* out = run.scratch<double>(x.steps());
  for (int64_t b = 0; b < x.batch; ++b) {
    read(constant, b, x.time, dtype, stored);
    widen(stored, dtype, x.time, out + b * x.time);
  }
  finish(out, x.steps());
  return {out, x.time};
}

KeyNumbers::Rows KeyNumbers::step(Run& run, const Sequence& x, const RingSpec& keys) const {
  if (name_.empty()) return {};
  const Constant& constant = run.constants().get(name_);
  Ring kept(run, ring(constant, keys));
  auto* counts = run.scratch<int64_t>(x.batch);
  for (int64_t b = 0; b < x.batch; ++b) {
    read(constant, b, x.time, stored_dtype(constant), kept.incoming(b));
    counts[b] = kept.count(b, x.time);
  }
  kept.push(x.batch, x.time);
  // Scratch for the maximum count, so that a rehearsal finds out how much a long stream needs.
  auto* out = run.scratch<double>(x.batch, kept.capacity());
  for (int64_t b = 0; b < x.batch; ++b) {
    double* const own = out + b * kept.capacity();
    widen(kept.newest(b, counts[b]), stored_dtype(constant), counts[b], own);
    finish(own, counts[b]);
  }
  return {out, kept.capacity()};
}

}  // namespace sl
