// The one translation unit that holds fmt's code: the others need only its light header, and the
// library brings no fmt into its users' processes.
#include <fmt/format-inl.h>

namespace fmt {
inline namespace v9 {
namespace detail {

// What fmt's headers leave to a library to instantiate.
template char decimal_point_impl(locale_ref);
template thousands_sep_result<char> thousands_sep_impl(locale_ref);

}  // namespace detail
}  // namespace v9
}  // namespace fmt
