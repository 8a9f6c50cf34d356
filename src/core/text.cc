#include "core/text.h"

#include <algorithm>

namespace sl {

std::string_view cut_text(std::string_view text, size_t maximum) {
  if (text.size() <= maximum) return text;
  // Goes back to the start of the character that does not fit, which has at most four bytes.
  size_t size = maximum;
  while (size > 0 && maximum - size < 3 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80)
    --size;
  return text.substr(0, size);
}

void copy_text(std::string_view text, char* buffer, size_t capacity) {
  if (capacity == 0) return;
  const std::string_view kept = cut_text(text, capacity - 1);
  std::copy(kept.begin(), kept.end(), buffer);
  buffer[kept.size()] = '\0';
}

}  // namespace sl
