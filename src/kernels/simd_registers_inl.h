// How many vector registers there are, compiled once per instruction set: include it as
// simd_math_inl.h is.
#if defined(SL_KERNELS_SIMD_REGISTERS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SL_KERNELS_SIMD_REGISTERS_INL_H
#undef SL_KERNELS_SIMD_REGISTERS_INL_H
#else
#define SL_KERNELS_SIMD_REGISTERS_INL_H
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {

// Whether there are 32, as AVX-512 has.
constexpr bool kManyRegisters = HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86;

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard toggle
