#include "core/receptive_field.h"

#include <algorithm>
#include <numeric>
#include <string>

namespace sl {
namespace {

// Maximum length of a cycle: more than any real model has, and a limit for hostile ones.
constexpr size_t kMaxCycle = size_t{1} << 20;

std::string to_text(int64_t step) {
  if (step == kInfinite) return "inf";
  return step == -kInfinite ? "-inf" : std::to_string(step);
}

void check(const ReceptiveField& field) {
  if (field && field->start > field->end) throw ImpossibleField(*field);
}

size_t checked_cycle(size_t steps) {
  if (steps <= kMaxCycle) return steps;
  fail(Code::kUnsupported, "the receptive field per step has a cycle of {} steps: at most {}",
       steps, kMaxCycle);
}

// The step moved by `by`; an infinite step stays infinite.
int64_t shifted(int64_t step, int64_t by) {
  return step == kInfinite || step == -kInfinite ? step : checked_sum(step, by);
}

StepRange shifted(const StepRange& range, int64_t by) {
  return {shifted(range.start, by), shifted(range.end, by)};
}

// The union of the fields of the previous layer's output steps in `range`, in absolute input steps.
ReceptiveField seen_through(const StepRange& range, const ReceptiveFields& previous, Ratio ratio) {
  if (range.start == -kInfinite && range.end == kInfinite) return range;
  ReceptiveField seen;
  if (range.start == -kInfinite) seen = merge(seen, StepRange{-kInfinite, -kInfinite});
  if (range.end == kInfinite) seen = merge(seen, StepRange{kInfinite, kInfinite});
  if (range.start == range.end && seen) return seen;  // the range has no finite step
  const int64_t start = range.start == -kInfinite ? range.end : range.start;
  const int64_t end = range.end == kInfinite ? start : range.end;
  // Steps at the same position of a cycle have fields that move with the step, so the first and the
  // last cycle of the range contain every extreme.
  const auto cycle = static_cast<int64_t>(previous.size());
  for (int64_t step = start; step <= std::min(end, start + cycle - 1); ++step)
    seen = merge(seen, receptive_field_at(previous, ratio, step));
  for (int64_t step = std::max(start + cycle, end - cycle + 1); step <= end; ++step)
    seen = merge(seen, receptive_field_at(previous, ratio, step));
  return seen;
}

// Limits the work: each step of a cycle may see up to two cycles of the previous layer.
void check_work(const ReceptiveFields& fields, const ReceptiveFields& previous) {
  constexpr int64_t kMax = int64_t{1} << 26;
  int64_t work = 0;
  for (const ReceptiveField& field : fields) {
    if (!field || field->start == -kInfinite || field->end == kInfinite) continue;
    const auto cycles = static_cast<int64_t>(2 * previous.size());
    work += std::min(cycles, checked_sum(checked_sum(field->end, 1), -field->start));
  }
  if (work > kMax) {
    fail(Code::kUnsupported,
         "the receptive field per step takes too long to tell: cycles of {} "
         "and {} steps",
         fields.size(), previous.size());
  }
}

}  // namespace

ImpossibleField::ImpossibleField(const StepRange& range)
    : Error(Code::kUnsupported, fmt::format("the receptive field [{}, {}] starts after it ends",
                                            to_text(range.start), to_text(range.end))) {}

size_t common_cycle(size_t a, size_t b) {
  // The least common multiple fits into 64 bits, since both lengths are checked first.
  return checked_cycle(std::lcm(checked_cycle(a), checked_cycle(b)));
}

ReceptiveFields repeated(const ReceptiveField& field, int64_t steps) {
  return ReceptiveFields(checked_cycle(static_cast<size_t>(steps)), field);
}

ReceptiveField merge(const ReceptiveField& a, const ReceptiveField& b) {
  check(a);
  check(b);
  if (!a) return b;
  if (!b) return a;
  return StepRange{std::min(a->start, b->start), std::max(a->end, b->end)};
}

ReceptiveField merge_all(const ReceptiveFields& fields) {
  ReceptiveField all;
  for (const ReceptiveField& field : fields) all = merge(all, field);
  return all;
}

ReceptiveField receptive_field_at(const ReceptiveFields& fields, Ratio ratio, int64_t output_step) {
  const ReceptiveField& field =
      fields[static_cast<size_t>(floor_mod(output_step, static_cast<int64_t>(fields.size())))];
  if (!field) return field;
  check(field);
  return shifted(*field, ratio.inverse().floor_times(output_step));
}

ReceptiveFields precede(const ReceptiveFields& fields, Ratio ratio, const ReceptiveFields& previous,
                        Ratio previous_ratio) {
  const Ratio composed = ratio * previous_ratio;
  check_work(fields, previous);
  ReceptiveFields out;
  for (size_t i = 0; i < fields.size(); ++i) {
    const auto step = static_cast<int64_t>(i);
    ReceptiveField seen;
    if (fields[i]) {
      check(fields[i]);
      seen = seen_through(shifted(*fields[i], ratio.inverse().floor_times(step)), previous,
                          previous_ratio);
    }
    if (seen) seen = shifted(*seen, -composed.inverse().floor_times(step));
    out.push_back(seen);
  }
  return out;
}

ReceptiveFields merge_steps(std::span<const ReceptiveFields> all) {
  ReceptiveFields out;
  for (const ReceptiveFields& fields : all) {
    if (fields.size() > out.size()) out.resize(fields.size());
    for (size_t i = 0; i < fields.size(); ++i) out[i] = merge(out[i], fields[i]);
  }
  return out;
}

ReceptiveFields merge_aligned(const ReceptiveFields& a, Ratio a_ratio, const ReceptiveFields& b,
                              Ratio b_ratio) {
  const size_t cycle = common_cycle(a.size(), b.size());
  ReceptiveFields out;
  for (size_t i = 0; i < cycle; ++i) {
    const auto step = static_cast<int64_t>(i);
    ReceptiveField field =
        merge(receptive_field_at(a, a_ratio, step), receptive_field_at(b, b_ratio, step));
    if (field) field = shifted(*field, -a_ratio.inverse().floor_times(step));
    out.push_back(field);
  }
  return out;
}

}  // namespace sl
