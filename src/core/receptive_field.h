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
// One entry for each output step of a cycle.
using ReceptiveFields = std::vector<ReceptiveField>;

// A field that starts after it ends, such as [inf, -inf]: whoever composes fields refuses it.
class ImpossibleField : public Error {
 public:
  explicit ImpossibleField(const StepRange& range);
};

// The cycle's length for layers with cycles of these lengths. Fails if it is too long to be told
// step by step.
size_t common_cycle(size_t a, size_t b);
// The field of a layer whose `steps` steps of a cycle all see the same. Fails as `common_cycle`.
ReceptiveFields repeated(const ReceptiveField& field, int64_t steps);

ReceptiveField merge(const ReceptiveField& a, const ReceptiveField& b);
ReceptiveField merge_all(const ReceptiveFields& fields);

// Field of any output step, as absolute input steps.
ReceptiveField receptive_field_at(const ReceptiveFields& fields, Ratio ratio, int64_t output_step);

// Field of `previous` followed by a layer of `fields` and (accumulated) `ratio`.
ReceptiveFields precede(const ReceptiveFields& fields, Ratio ratio, const ReceptiveFields& previous,
                        Ratio previous_ratio);

// Union, step by step, of layers that run side by side on the same input; as the reference, cycles
// are not aligned.
ReceptiveFields merge_steps(std::span<const ReceptiveFields> all);

// Union of two layers of the same overall ratio, with cycles aligned and each at its own pace.
ReceptiveFields merge_aligned(const ReceptiveFields& a, Ratio a_ratio, const ReceptiveFields& b,
                              Ratio b_ratio);

}  // namespace sl
