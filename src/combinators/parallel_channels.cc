// ParallelChannels: splits the last channel axis into `num_groups` parts, runs one layer with the
// same weights on each, and combines the outputs, with broadcasting (reference:
// combinators.ParallelChannels).
#include "combinators/wrapper.h"
#include "ops/combine.h"
#include "ops/rearrange.h"

namespace sl {
namespace {

class ParallelChannels final : public Wrapper {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : child_layer(config.nested_required("child_layer")),
          num_groups(config.integer("num_groups", 1)),
          combination(ops::read_combination(config)) {
      // A small config must not ask for more state than memory holds.
      if (num_groups > kMaxGroups)
        config.error("num_groups", fmt::format("expected at most {} groups", kMaxGroups));
    }
    Config child_layer;
    int64_t num_groups;
    ops::Combination combination;
  };

  ParallelChannels(Fields fields, const Init& init)
      : Wrapper(init.builder.build(fields.child_layer, init.weights, "child_layer",
                                   /*share_scope=*/true)),
        num_groups_(fields.num_groups),
        combination_(fields.combination) {}

  ChannelSpec child_input(const Layer&, const ChannelSpec& input, const Constants&) const override {
    return group_of(input);
  }
  std::optional<ChannelSpec> implied_input() const override {
    auto spec = child().implied_input();
    if (!spec || spec->shape.empty()) return std::nullopt;
    spec->shape.back() = checked_product(spec->shape.back(), num_groups_);
    return spec;
  }
  bool returns_view() const override { return false; }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    const std::vector<ChannelSpec> specs(static_cast<size_t>(num_groups_),
                                         child().output_spec(group_of(input), constants));
    return ops::combined_spec(combination_, specs);
  }
  int64_t do_output_length(int64_t time, const ChannelSpec& input,
                           const Constants& constants) const override {
    return child().output_length(time, group_of(input), constants);
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    SequenceSpec group = input;
    group.channels = group_of(input.channels);
    for (int64_t i = 0; i < num_groups_; ++i) {
      const std::string key = std::to_string(i);
      declaration.within(key, key, [&] { child().declare(declaration, group); });
    }
  }
  Sequence do_layer(Run& run, const Sequence& x) const override { return run_groups(run, x); }
  Sequence do_step(Run& run, const Sequence& x) const override { return run_groups(run, x); }

  static constexpr int64_t kMaxGroups = 1 << 16;

  ChannelSpec group_of(const ChannelSpec& input) const {
    if (input.shape.empty() || input.shape.back() % num_groups_ != 0) {
      fail(Code::kShape,
           "the input is {}: expected a last channel axis that is a "
           "multiple of num_groups, {}",
           to_string(input), num_groups_);
    }
    ChannelSpec group = input;
    group.shape.back() /= num_groups_;
    return group;
  }

  // Copies group i of the channels of x to scratch; the mask is that of x.
  Sequence group(Run& run, const Sequence& x, int64_t i) const {
    Sequence out = x;
    out.channels = group_of(x.spec()).shape;
    out.values = run.scratch<std::byte>(static_cast<int64_t>(out.bytes()));
    ops::StridedView view{i * out.channels.back(), {}, {}};
    view.push_back(x.channels.slice(0, x.channels.rank() - 1).size(), x.channels.back());
    view.push_back(out.channels.back(), 1);
    ops::gather_steps(run, x, view, out.values);
    return out;
  }

  Sequence run_groups(Run& run, const Sequence& x) const {
    auto* outputs = run.scratch<Sequence>(num_groups_);
    for (int64_t i = 0; i < num_groups_; ++i)
      outputs[i] = call(run, child(), group(run, x, i), other(run.side()));
    return ops::combine(run, combination_,
                        std::span<const Sequence>(outputs, static_cast<size_t>(num_groups_)));
  }

  int64_t num_groups_;
  ops::Combination combination_;
};

SL_REGISTER_LAYER(ParallelChannels);

}  // namespace
}  // namespace sl
