#include "layers/attention/source_attention.h"

#include <cstring>

#include "kernels/pointwise.h"
#include "ops/elementwise.h"

namespace sl {

std::string read_source_name(Config& config) {
  std::string name = config.string("source_name");
  if (name.empty()) config.error("source_name", "expected the name of a constant, got \"\"");
  return name;
}

std::vector<ConstantSpec> SourceAttention::constants() const {
  ConstantSpec spec;
  spec.name = source_;
  spec.kind = ConstantSpec::Kind::kSequence;
  spec.channels = Shape{source_channels()};
  return {spec};
}

ChannelSpec SourceAttention::do_output_spec(const ChannelSpec& input,
                                            const Constants& constants) const {
  if (input != *implied_input()) {
    fail(Code::kShape, "expected {}, got {}", to_string(*implied_input()), to_string(input));
  }
  const Sequence& source = constants.get(source_).sequence;
  if (source.channels.rank() != 1 || source.dtype == DType::kComplex64) {
    fail(Code::kShape, "constant \"{}\" is {}: expected real numbers of one channel axis", source_,
         to_string(source.spec()));
  }
  return {DType::kFloat32, {heads_, source.channels[0]}};
}

std::optional<ChannelSpec> SourceAttention::implied_input() const {
  return ChannelSpec{DType::kFloat32, {inputs()}};
}

int64_t SourceAttention::source_time(const Constants& constants) const {
  return constants.get(source_).sequence.time;
}

void SourceAttention::declare_emit(Declaration& declaration, const SequenceSpec& input,
                                   DType weights) const {
  SequenceSpec spec = input;
  spec.channels = {weights, {heads_, source_time(declaration.constants())}};
  declaration.emit(emit_, spec);
}

const float* SourceAttention::masked(Run& run, const Sequence& x) {
  return ops::as_floats(run, ops::mask_invalid(run, x), DType::kFloat32);
}

void SourceAttention::declare_kept(Declaration& declaration, const SequenceSpec& input,
                                   int64_t width) const {
  if (input.mode == Mode::kLayer) return;
  const Sequence& given = declaration.constants().get(source_).sequence;
  declaration.of_constants([&] {
    declaration.index("is_kept", {input.batch}, 0, 1);
    declaration.within(source_, "", [&] {
      declaration.state("values", DType::kFloat32, {given.batch, given.time, given.channels[0]});
      declaration.state("mask", DType::kBool, {given.batch, given.time});
      declaration.state("keys", DType::kFloat32, {given.batch, given.time, width});
    });
  });
}

void SourceAttention::copy_source(Run& run, const Sequence& given, float* values, uint8_t* mask) {
  std::copy_n(masked(run, given), given.size(), values);
  std::copy_n(given.mask, given.steps(), mask);
}

SourceAttention::Source SourceAttention::source(Run& run) const {
  const Sequence& given = run.constants().get(source_).sequence;
  return {masked(run, given), given.mask, given.batch, given.time, given.channels[0]};
}

Sequence SourceAttention::next_emit(Run& run, const Sequence& x) {
  const Sequence wanted = run.next_emit();
  if (wanted.mask) std::memcpy(wanted.mask, x.mask, static_cast<size_t>(x.steps()));
  return wanted;
}

void SourceAttention::sum(const Source& source, int64_t b, const float* weights, float* y) const {
  const int64_t channels = source.channels;
  std::fill_n(y, heads_ * channels, 0.0f);
  for (int64_t j = 0; j < source.time; ++j) {
    const float* step = source.item(b) + j * channels;
    for (int64_t n = 0; n < heads_; ++n)
      kernels::axpy(weights[n * source.time + j], step, y + n * channels, channels);
  }
}

}  // namespace sl
