// Receptive fields per output step, and how they compose.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "core/ratio.h"
#include "core/status.h"

namespace sl {

constexpr int64_t kInfinite = std::numeric_limits<int64_t>::max();

// Input steps [start, end] relative to an output step's own input step; -kInfinite and kInfinite
// are unbounded.
struct StepRange {
  int64_t start = 0;
  int64_t end = 0;
  bool operator==(const StepRange&) const = default;
};

using ReceptiveField = std::optional<StepRange>;
// One receptive field for each output step of a cycle, after which they repeat.
using ReceptiveFields = std::vector<ReceptiveField>;

// Thrown when fields are composed and one starts after it ends, such as [inf, -inf].
class ImpossibleField : public Error {
 public:
  explicit ImpossibleField(const StepRange& range);
};

// The common cycle length of layers with cycles of these lengths. Fails if it is too long to list
// every step.
size_t common_cycle(size_t a, size_t b);
// The fields of a layer whose cycle has `steps` steps with the same field. Fails if the cycle is
// too long, as common_cycle does.
ReceptiveFields repeated(const ReceptiveField& field, int64_t steps);

ReceptiveField merge(const ReceptiveField& a, const ReceptiveField& b);
ReceptiveField merge_all(const ReceptiveFields& fields);

// The field of one output step in absolute input steps.
ReceptiveField receptive_field_at(const ReceptiveFields& fields, Ratio ratio, int64_t output_step);

// The fields of `previous` followed by a layer with `fields` and the accumulated `ratio`.
ReceptiveFields precede(const ReceptiveFields& fields, Ratio ratio, const ReceptiveFields& previous,
                        Ratio previous_ratio);

// The union, step by step, of the fields of layers that run side by side on the same input. As in
// the reference, cycles are not aligned.
ReceptiveFields merge_steps(std::span<const ReceptiveFields> all);

// The union of the fields of two layers of the same overall ratio, with aligned cycles.
ReceptiveFields merge_aligned(const ReceptiveFields& a, Ratio a_ratio, const ReceptiveFields& b,
                              Ratio b_ratio);

}  // namespace sl
