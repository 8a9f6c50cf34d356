#include "core/ring.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/status.h"

namespace sl {
namespace {

// How often a frame is written.
int64_t copies_of(bool keeps_all) { return keeps_all ? 1 : 2; }

}  // namespace

void Ring::declare(Declaration& declaration, const RingSpec& spec, int64_t batch, int64_t max_steps,
                   int64_t max_length) {
  const int64_t steps = spec.keeps_all ? max_length : max_steps;
  int64_t capacity = 0;
  if (!fits_sum(spec.history, steps, &capacity) || capacity > std::numeric_limits<int32_t>::max()) {
    fail(Code::kUnsupported,
         "state \"values\" of a history of {} steps and {} steps {} is too long: expected at most "
         "2^31 - 1 together",
         spec.history, steps, spec.keeps_all ? "in all" : "per call");
  }
  const int64_t rows = copies_of(spec.keeps_all) * capacity;
  Shape values{batch};
  if (spec.parts > 0) values.push_back(spec.parts);
  values.push_back(rows);
  for (int64_t d : spec.frame.shape) values.push_back(d);
  declaration.ring(std::max<int64_t>(spec.parts, 1), spec.history, [&] {
    declaration.state("values", spec.frame.dtype, values, spec.fill);
    declaration.state("mask", DType::kBool, {batch, rows}, spec.mask_fill ? 1 : 0);
    if (spec.keeps_all) {
      declaration.position("cursor", batch, spec.history, capacity);
    } else {
      declaration.index("cursor", {batch}, 0, capacity - 1);
    }
  });
}

Ring::Ring(Run& run, size_t frame_bytes, int64_t history, bool keeps_all, int64_t parts)
    : frame_bytes_(frame_bytes),
      parts_(parts > 0 ? parts : 1),
      history_(history),
      keeps_all_(keeps_all),
      slots_(run.slots()),
      values_(run.state_of_slots<std::byte>("values")) {
  const StateTensor mask = run.state_tensor("mask");
  mask_ = reinterpret_cast<uint8_t*>(mask.data);
  rows_ = mask.spec.shape[1];
  capacity_ = rows_ / copies_of(keeps_all);
  cursor_ = run.state_of_slots<int32_t>("cursor");
}

void Ring::push(int64_t batch, int64_t steps) {
  for (int64_t b = 0; b < batch; ++b) {
    if (!keeps_all_) {
      // Frames before and after the middle have their doubles on the other side of it.
      const int64_t low = std::min(steps, capacity_ - cursor(b));
      copy(b, cursor(b), cursor(b) + capacity_, low);
      if (low < steps) copy(b, capacity_, 0, steps - low);
    }
    advance(b, steps);
  }
}

void Ring::push(const Sequence& x) {
  for (int64_t b = 0; b < x.batch; ++b) {
    put(b, cursor(b), x, 0, x.time);
    if (!keeps_all_) {
      const int64_t low = std::min(x.time, capacity_ - cursor(b));
      put(b, cursor(b) + capacity_, x, 0, low);
      if (low < x.time) put(b, 0, x, low, x.time - low);
    }
    advance(b, x.time);
  }
}

void Ring::copy_item(const StateTensors& to, int64_t item, const StateTensors& from,
                     int64_t from_item) {
  if (to.specs[0].shape.slice(1, to.specs[0].shape.rank()) ==
      from.specs[0].shape.slice(1, from.specs[0].shape.rank())) {
    for (size_t i = 0; i < kTensors; ++i)
      std::memmove(to[i].item(item), from[i].item(from_item), to.specs[i].item_bytes());
    return;
  }
  copy_history(to, item, from, from_item);
}

void Ring::copy_history(const StateTensors& to, int64_t item, const StateTensors& from,
                        int64_t from_item) {
  const bool keeps_all = to.specs[2].is_position;
  const int64_t copies = copies_of(keeps_all), parts = to.specs[0].ring_parts;
  const int64_t rows = to.specs[1].shape[1], from_rows = from.specs[1].shape[1];
  const int64_t capacity = rows / copies, from_capacity = from_rows / copies;
  int32_t cursor = 0;
  std::memcpy(&cursor, from[2].item(from_item), sizeof(cursor));
  const int64_t frames = keeps_all ? cursor : to.specs[0].ring_history;
  const int64_t start = cursor >= frames ? cursor - frames : cursor - frames + from_capacity;
  const auto copy_rows = [&](size_t tensor, int64_t runs) {
    if (rows == 0) return;
    const size_t frame = to.specs[tensor].item_bytes() / static_cast<size_t>(runs * rows);
    for (int64_t run = 0; run < runs; ++run) {
      const std::byte* source =
          from[tensor].item(from_item) + static_cast<size_t>(run * from_rows + start) * frame;
      std::byte* target = to[tensor].item(item) + static_cast<size_t>(run * rows) * frame;
      std::memcpy(target, source, static_cast<size_t>(frames) * frame);
    }
  };
  copy_rows(0, parts);
  copy_rows(1, 1);
  cursor = static_cast<int32_t>(keeps_all || capacity == 0 ? frames : frames % capacity);
  std::memcpy(to[2].item(item), &cursor, sizeof(cursor));
}

}  // namespace sl
