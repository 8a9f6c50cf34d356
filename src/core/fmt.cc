// The one translation unit that contains fmt's code, so that the others need only its light header
// and the library exports no fmt into its users' processes.
#include <fmt/format-inl.h>

namespace fmt {
inline namespace v9 {
namespace detail {

// Templates that fmt's headers declare for a library to instantiate.
template char decimal_point_impl(locale_ref);
template thousands_sep_result<char> thousands_sep_impl(locale_ref);

}  // namespace detail
}  // namespace v9
}  // namespace fmt
