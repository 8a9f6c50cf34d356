// Which matrices of a model are packed in which weight format.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/weight_format.h"

namespace sl {

// The format of cached keys and values that has this name. Fails with kInvalidArgument if they
// cannot have it.
WeightFormat parse_kv_format(std::string_view name);

// Read from text such as "int8, *.output.*=float32": formats of all matrices and, after a pattern,
// of those that are made of the tensors that it matches. The last entry that says something of a
// tensor counts, and one without a pattern counts least.
class WeightFormats {
 public:
  // Says nothing of any tensor.
  WeightFormats() = default;
  // Fails with kInvalidArgument if the text is none.
  explicit WeightFormats(std::string_view text);

  // Empty if the text says nothing of the tensor.
  std::optional<WeightFormat> of(std::string_view tensor) const;
  // Fails if a pattern matches none of the tensors of which matrices are made.
  void check_used(std::span<const std::string> tensors) const;

 private:
  struct Entry {
    std::string pattern;
    WeightFormat format;
  };

  std::optional<WeightFormat> all_;
  std::vector<Entry> entries_;
};

}  // namespace sl
