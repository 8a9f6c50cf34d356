// Views and checks shared by decoders of one token and of several tokens a step.
#pragma once

#include <fmt/format.h>

#include <cstdint>

#include "core/status.h"
#include "core/view.h"
#include "model/sampling.h"

namespace sl {

// A view of contiguous values [batch, time] or [batch, time, channels].
inline View packed(DType dtype, const Shape& dims, void* data, uint8_t* mask) {
  View view;
  view.dtype = dtype;
  view.dims = dims;
  view.strides = contiguous_strides(dims, dtype);
  view.data = static_cast<std::byte*>(data);
  view.mask = mask;
  view.mask_strides[0] = dims[1];
  view.mask_strides[1] = 1;
  return view;
}

// Fails if no token can be drawn from logits of that verdict. `where` formats their item and time.
inline void check_verdict(Logits verdict, fmt::format_string<int64_t&, int64_t&> where,
                          int64_t item, int64_t time) {
  if (verdict == Logits::kGood) return;
  fail(Code::kUnsupported, "the model's logits {} are {}", fmt::format(where, item, time),
       verdict == Logits::kNaN ? "NaN" : "all minus infinity: no token is possible");
}

}  // namespace sl
