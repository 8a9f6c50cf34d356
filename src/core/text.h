// Cuts text to a maximum size.
#pragma once

#include <cstddef>
#include <string_view>

namespace sl {

// The start of UTF-8 text, of at most `maximum` bytes, that ends with a whole character.
std::string_view cut_text(std::string_view text, size_t maximum);

// Copies as much of `text` as fits into `capacity` bytes with a terminating zero.
void copy_text(std::string_view text, char* buffer, size_t capacity);

}  // namespace sl
