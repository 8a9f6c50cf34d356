#include "layers/attention/location_attention.h"

namespace sl {

void LocationAttention::do_declare(Declaration& declaration, const SequenceSpec& input) const {
  if (input.mode == Mode::kStep) {
    const int64_t time = source_time(declaration.constants());
    declaration.state("location", DType::kFloat32, location_shape(input.batch, time));
    declaration.state("is_at_start", DType::kBool, {input.batch}, 1);
  }
  declare_source(declaration, input);
  declare_emit(declaration, input);
}

void LocationAttention::start(float* location, int64_t batch, int64_t time) const {
  for (int64_t i = 0; i < batch * heads(); ++i)
    std::fill_n(location + i * time * features_, features_, 1.0f);
}

Sequence LocationAttention::do_layer(Run& run, const Sequence& x) const {
  const int64_t time = source_time(run.constants());
  const int64_t size = location_shape(x.batch, time).size();
  auto* location = run.scratch<float>(size);
  std::fill_n(location, size, 0.0f);
  if (time > 0) start(location, x.batch, time);
  return look(run, x, location);
}

Sequence LocationAttention::do_step(Run& run, const Sequence& x) const {
  const int64_t time = source_time(run.constants());
  const auto location = run.state<float>("location");
  const auto is_at_start = run.state<uint8_t>("is_at_start");
  for (int64_t b = 0; b < x.batch && time > 0; ++b) {
    if (is_at_start[b]) start(location + b * location_shape(1, time).size(), 1, time);
    is_at_start[b] = 0;
  }
  return look(run, x, location);
}

}  // namespace sl
