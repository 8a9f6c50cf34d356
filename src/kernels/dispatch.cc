// Highway compiles AVX-512 with VNNI only on demand, as the kernels that use it do.
#define HWY_WANT_AVX3_DL

#include "kernels/dispatch.h"

#include <cstdlib>
#include <string>
#include <string_view>

#include "core/status.h"
#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/dispatch.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {

int64_t target_in_use() { return HWY_TARGET; }

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {
namespace {

HWY_EXPORT(target_in_use);

struct InstructionSet {
  int64_t target;
  const char* name;
};

// From the best to the one that any CPU has. A better target has a lower bit.
#if HWY_ARCH_X86
constexpr InstructionSet kInstructionSets[] = {{HWY_AVX3_DL, "avx512vnni"},
                                               {HWY_AVX3, "avx512"},
                                               {HWY_AVX2, "avx2"},
                                               {HWY_SSE4, "sse4"},
                                               {HWY_SCALAR, "scalar"}};
#elif HWY_ARCH_ARM
constexpr InstructionSet kInstructionSets[] = {{HWY_NEON, "neon"}, {HWY_SCALAR, "scalar"}};
#else
constexpr InstructionSet kInstructionSets[] = {{HWY_SCALAR, "scalar"}};
#endif

// Targets better than the limit that SL_CPU_MAX sets, 0 without a limit.
int64_t targets_beyond_limit() {
  const char* limit = std::getenv("SL_CPU_MAX");
  if (!limit || *limit == '\0') return 0;
  std::string known;
  for (const InstructionSet& set : kInstructionSets) {
    if (std::string_view(limit) == set.name) return set.target - 1;
    known += (known.empty() ? "" : ", ") + std::string(set.name);
  }
  fail(Code::kInvalidArgument,
       "the environment variable SL_CPU_MAX is \"{}\": expected one of {}, or nothing", limit,
       known);
}

void choose_target() { hwy::GetChosenTarget().Update(hwy::SupportedTargets()); }

}  // namespace

void warm_dispatch() {
  [[maybe_unused]] static const bool kLimited = [] {
    if (const int64_t beyond = targets_beyond_limit()) hwy::DisableTargets(beyond);
    choose_target();
    return true;
  }();
  // Whoever changes Highway's targets, as tests do, resets the choice. Making it again each time
  // would for a moment show the targets beyond the limit to kernels that run on other threads.
  if (!hwy::GetChosenTarget().IsInitialized()) choose_target();
}

const char* active_target() {
  const int64_t target = HWY_DYNAMIC_DISPATCH(target_in_use)();
  for (const InstructionSet& set : kInstructionSets) {
    if (set.target == target) return set.name;
  }
  return hwy::TargetName(target);
}

}  // namespace sl::kernels
#endif  // HWY_ONCE
