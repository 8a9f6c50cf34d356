// Text that others wrote, cut to fit.
#pragma once

#include <cstddef>
#include <string_view>

namespace sl {

// The first bytes of UTF-8 text, at most `most`, that end with a whole character.
std::string_view cut_text(std::string_view text, size_t most);

// Copies what fits of `text` into `capacity` bytes, with a final zero.
void copy_text(std::string_view text, char* buffer, size_t capacity);

}  // namespace sl
