// Checks of the binary interface at compile time: sizes and offsets of the structs that are
// frozen, where those that grow end, and that the C enums have the values of the library's own.
#include <type_traits>

#include "core/dtype.h"
#include "core/log.h"
#include "core/sequence.h"
#include "core/shape.h"
#include "layers/layer.h"
#include "layers/step_difference.h"
#include "model/pipe_path.h"
#include "structs.h"

namespace sl::capi {
namespace {

static_assert(sizeof(sl_channel_spec) == 80);
static_assert(offsetof(sl_channel_spec, struct_size) == 0);
static_assert(offsetof(sl_channel_spec, dtype) == 4);
static_assert(offsetof(sl_channel_spec, rank) == 8);
static_assert(offsetof(sl_channel_spec, reserved) == 12);
static_assert(offsetof(sl_channel_spec, dims) == 16);
static_assert(SL_MAX_CHANNEL_RANK == 8 && SL_MAX_RANK == SL_MAX_CHANNEL_RANK + 2);

static_assert(offsetof(sl_sequence, struct_size) == 0);
static_assert(offsetof(sl_sequence, dtype) == 4);
static_assert(offsetof(sl_sequence, rank) == 8);
static_assert(offsetof(sl_sequence, is_array) == 12);
static_assert(offsetof(sl_sequence, dims) == 16);
static_assert(offsetof(sl_sequence, strides) == 96);
static_assert(offsetof(sl_sequence, data) == 176);
static_assert(offsetof(sl_sequence, mask) == 176 + sizeof(void*));
static_assert(offsetof(sl_sequence, mask_strides) == 176 + 2 * sizeof(void*));
static_assert(sizeof(sl_sequence) == 192 + 2 * sizeof(void*));

static_assert(offsetof(sl_constant, name) == 0);
static_assert(offsetof(sl_constant, value) == 8);
static_assert(sizeof(sl_constant) == 8 + sizeof(sl_sequence));

// A frozen struct is what it was in version 1.0, and every struct can be copied byte by byte.
#define SL_CHECK_FROZEN(type, init, last) static_assert(sizeof(type) == kFirstSize<type>);
SL_FROZEN_STRUCTS(SL_CHECK_FROZEN)
#undef SL_CHECK_FROZEN
#define SL_CHECK_STRUCT(type, init, last)                                               \
  static_assert(offsetof(type, struct_size) == 0 && sizeof(type::struct_size) == 4);    \
  static_assert(std::is_trivially_copyable_v<type> && std::is_standard_layout_v<type>); \
  static_assert(sizeof(type) <= kMaxStructSize);
SL_SIZED_STRUCTS(SL_CHECK_STRUCT)
#undef SL_CHECK_STRUCT

#if SL_VERSION_MINOR == 0  // while the lists must name the last fields
// Without padding at its end: a later field there would not make the struct larger.
#define SL_CHECK_FIRST_SIZE(type, init, last) \
  static_assert(sizeof(type) == kFirstSize<type>, #last " is not the last field, or padded");
SL_GROWING_STRUCTS(SL_CHECK_FIRST_SIZE)
#undef SL_CHECK_FIRST_SIZE
#endif

// Where the fields of version 1.0 end, on systems with pointers of 64 bits.
template <typename T>
constexpr bool ends_at(uint32_t size) {
  return sizeof(void*) != 8 || kFirstSize<T> == size;
}
static_assert(ends_at<sl_error>(1024));
static_assert(ends_at<sl_constant_info>(104));
static_assert(ends_at<sl_step_difference>(40));
static_assert(ends_at<sl_allocator>(32));
static_assert(ends_at<sl_layer_properties>(72));
static_assert(ends_at<sl_layer_callbacks>(88));
static_assert(ends_at<sl_layer_options>(80));
static_assert(ends_at<sl_run_options>(56));
static_assert(ends_at<sl_state_options>(136));
static_assert(ends_at<sl_decoder_options>(120));
static_assert(ends_at<sl_pipe_options>(72));

// Value of an enum of the library as the C ABI carries it.
template <typename Enum>
constexpr int32_t number(Enum value) {
  static_assert(std::is_same_v<std::underlying_type_t<Enum>, int32_t>);
  return static_cast<int32_t>(value);
}

#define SL_STATUS(Name, C_NAME, value, ...) \
  static_assert(SL_STATUS_##C_NAME == value && SL_STATUS_##C_NAME == number(Code::k##Name));
#include "core/statuses.inc"

#define SL_DTYPE(Name, C_NAME, value, ...) \
  static_assert(SL_DTYPE_##C_NAME == value && SL_DTYPE_##C_NAME == number(DType::k##Name));
#include "core/dtypes.inc"

static_assert(SL_MODE_LAYER == 0 && SL_MODE_LAYER == number(Mode::kLayer));
static_assert(SL_MODE_STEP == 1 && SL_MODE_STEP == number(Mode::kStep));

static_assert(SL_MATMUL_BACKEND_DEFAULT == 0 &&
              SL_MATMUL_BACKEND_DEFAULT == number(MatmulBackend::kDefault));
static_assert(SL_MATMUL_BACKEND_OWN == 1 && SL_MATMUL_BACKEND_OWN == number(MatmulBackend::kOwn));
static_assert(SL_MATMUL_BACKEND_ONEDNN == 2 &&
              SL_MATMUL_BACKEND_ONEDNN == number(MatmulBackend::kOneDnn));
static_assert(SL_MATMUL_BACKEND_OPENBLAS == 3 &&
              SL_MATMUL_BACKEND_OPENBLAS == number(MatmulBackend::kOpenBlas));

using ConstantKind = ConstantSpec::Kind;
static_assert(SL_CONSTANT_KIND_ANY == 0 && SL_CONSTANT_KIND_ANY == number(ConstantKind::kAny));
static_assert(SL_CONSTANT_KIND_SEQUENCE == 1 &&
              SL_CONSTANT_KIND_SEQUENCE == number(ConstantKind::kSequence));
static_assert(SL_CONSTANT_KIND_ARRAY == 2 &&
              SL_CONSTANT_KIND_ARRAY == number(ConstantKind::kArray));

using Condition = StepDifference::Condition;
static_assert(SL_STEP_DIFFERENCE_ALWAYS == 0 &&
              SL_STEP_DIFFERENCE_ALWAYS == number(Condition::kAlways));
static_assert(SL_STEP_DIFFERENCE_HOLES == 1 &&
              SL_STEP_DIFFERENCE_HOLES == number(Condition::kHoles));
static_assert(SL_STEP_DIFFERENCE_PADDING == 2 &&
              SL_STEP_DIFFERENCE_PADDING == number(Condition::kPadding));

static_assert(SL_PIPE_CHANNELS_DEFAULT == 0 &&
              SL_PIPE_CHANNELS_DEFAULT == number(PipeChannels::kDefault));
static_assert(SL_PIPE_CHANNELS_EACH == 1 && SL_PIPE_CHANNELS_EACH == number(PipeChannels::kEach));
static_assert(SL_PIPE_CHANNELS_MIX == 2 && SL_PIPE_CHANNELS_MIX == number(PipeChannels::kMix));
static_assert(SL_PIPE_CHANNELS_MODEL == 3 &&
              SL_PIPE_CHANNELS_MODEL == number(PipeChannels::kModel));

using ops::ConverterQuality;
static_assert(SL_PIPE_QUALITY_DEFAULT == 0 &&
              SL_PIPE_QUALITY_DEFAULT == number(ConverterQuality::kDefault));
static_assert(SL_PIPE_QUALITY_FAST == 1 && SL_PIPE_QUALITY_FAST == number(ConverterQuality::kFast));
static_assert(SL_PIPE_QUALITY_MEDIUM == 2 &&
              SL_PIPE_QUALITY_MEDIUM == number(ConverterQuality::kMedium));
static_assert(SL_PIPE_QUALITY_BEST == 3 && SL_PIPE_QUALITY_BEST == number(ConverterQuality::kBest));

static_assert(SL_LOG_DEFAULT == 0);
static_assert(SL_LOG_DEBUG == 1 && SL_LOG_DEBUG == number(LogLevel::kDebug));
static_assert(SL_LOG_INFO == 2 && SL_LOG_INFO == number(LogLevel::kInfo));
static_assert(SL_LOG_WARNING == 3 && SL_LOG_WARNING == number(LogLevel::kWarning));
static_assert(SL_LOG_ERROR == 4 && SL_LOG_ERROR == number(LogLevel::kError));
static_assert(SL_LOG_OFF == 5 && SL_LOG_OFF == number(LogLevel::kOff));

}  // namespace
}  // namespace sl::capi
