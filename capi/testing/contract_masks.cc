#include "testing/contract_masks.h"

#include <algorithm>
#include <random>

namespace sl::testing {
namespace {

constexpr int64_t kShortest = 2;  // the minimum number of steps that can have a hole

// Items begin with zero, one or two invalid steps.
void punch_item(uint8_t* mask, int64_t time, int64_t item, std::mt19937& rng) {
  const auto last_valid = std::find(std::make_reverse_iterator(mask + time),
                                    std::make_reverse_iterator(mask), uint8_t{1});
  if (last_valid.base() == mask) return;
  uint8_t* const kept = last_valid.base() - 1;
  const int64_t leading = (item + 1) % 3;
  const int64_t middle = time / 2, stretch = middle + time / 8;
  for (int64_t t = 0; t < time; ++t) {
    const bool hole = rng() % 4 == 0;
    if (t < leading || hole || (middle <= t && t <= stretch)) mask[t] = 0;
  }
  *kept = 1;
}

void punch(Tensor& x, uint32_t seed) {
  if (x.is_array || x.time() < kShortest) return;
  std::mt19937 rng(seed);
  for (int64_t b = 0; b < x.batch(); ++b)
    punch_item(x.mask.data() + b * x.time(), x.time(), b, rng);
}

}  // namespace

std::optional<MaskedInputs> masked_inputs(const Input& input,
                                          const std::function<double(sl_dtype)>& pad_value) {
  if (input.x.time() < kShortest) return std::nullopt;
  Input punched = input;
  punch(punched.x, 1);
  for (NamedTensor& constant : punched.constants) punch(constant.value, 2);
  MaskedInputs out{punched, std::move(punched)};
  const auto fill = [&](Input& to, bool poisons) {
    const auto value = [&](const Tensor& x) { return poisons ? pad_value(x.dtype) : 0.0; };
    to.x = fill_invalid(to.x, value(to.x));
    for (NamedTensor& constant : to.constants)
      constant.value = fill_invalid(constant.value, value(constant.value));
  };
  fill(out.zeros, false);
  fill(out.poisoned, true);
  return out;
}

}  // namespace sl::testing
