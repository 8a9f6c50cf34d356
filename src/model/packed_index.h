// What a weights file says of its packed matrices, as JSON in its metadata "packed".
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "layers/weights.h"

namespace sl {

constexpr std::string_view kPackedKey = "packed";

struct PackedIndex {
  // Reads the metadata. Fails, with `source` before the reason, if it is malformed or of another
  // version.
  static PackedIndex parse(std::string_view text, const std::string& source);
  std::string text() const;

  std::map<std::string, Tensor> tensors;       // of which only panels are stored, without data
  std::map<std::string, StoredPanels> panels;  // by name, which is also that of the tensor of bytes
  std::optional<uint64_t> fingerprint;         // of the weights before they were packed
};

}  // namespace sl
