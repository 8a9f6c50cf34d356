#include "kernels/dispatch.h"

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/dispatch.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {

const char* target_name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(target_name);

void warm_dispatch() { hwy::GetChosenTarget().Update(hwy::SupportedTargets()); }

const char* active_target() { return HWY_DYNAMIC_DISPATCH(target_name)(); }

}  // namespace sl::kernels
#endif  // HWY_ONCE
