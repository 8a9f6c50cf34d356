#include "layers/recurrent/initial_carry.h"

#include <algorithm>
#include <cstring>

namespace sl {

InitialCarryFields::InitialCarryFields(Config& config)
    : h(config.nested("initial_h")),
      c(config.nested("initial_c")),
      constant(config.string("initial_constant", "")) {
  if ((h || c) && constant.empty())
    config.error("initial_constant",
                 "expected the name of the constant that initial_h and "
                 "initial_c read");
  if (!h && !c && !constant.empty())
    config.error("initial_constant", "neither initial_h nor initial_c reads it");
}

InitialCarry::InitialCarry(const InitialCarryFields& fields, const Init& init)
    : constant_(fields.constant) {
  const auto build = [&](const std::optional<Config>& config, const char* name) {
    std::unique_ptr<Layer> layer;
    if (!config) return layer;
    layer = init.builder.build(*config, init.weights, name);
    if (!layer->supports_step() || layer->block_size() != 1 || layer->output_ratio() != Ratio(1) ||
        layer->input_latency() != 0) {
      config->error("type", "expected a layer that maps each step on its own");
    }
    return layer;
  };
  h_ = build(fields.h, "initial_h");
  c_ = build(fields.c, "initial_c");
}

std::vector<const Layer*> InitialCarry::children() const {
  std::vector<const Layer*> out;
  if (h_) out.push_back(h_.get());
  if (c_) out.push_back(c_.get());
  return out;
}

ChannelSpec InitialCarry::input(const Constants& constants) const {
  const Constant& constant = constants.get(constant_);
  return {constant.sequence.dtype, constant.channels()};
}

std::vector<ConstantSpec> InitialCarry::constants() const {
  if (!exists()) return {};
  ConstantSpec spec;
  spec.name = constant_;
  spec.kind = ConstantSpec::Kind::kArray;
  spec.broadcasts = true;
  return {spec};
}

void InitialCarry::check(const ChannelSpec& carry, const Constants& constants) const {
  for (const Layer* layer : children()) {
    const ChannelSpec made = layer->output_spec(input(constants), constants);
    if (made == carry) continue;
    fail(Code::kShape, "{} makes {} of constant \"{}\": the carry is {}", layer->label(),
         to_string(made), constant_, to_string(carry));
  }
}

void InitialCarry::declare(Declaration& declaration, const SequenceSpec& input_spec) const {
  if (!exists()) return;
  SequenceSpec one = input_spec;
  one.channels = input(declaration.constants());
  one.time = 1;
  declaration.without_emits([&] {
    const size_t count = declaration.states().size();
    for (const Layer* layer : children())
      declaration.within(layer->name(), layer->name(), [&] { layer->declare(declaration, one); });
    if (declaration.states().size() != count)
      fail(Code::kShape, "the layers of the initial carry must have no state");
  });
  if (input_spec.mode == Mode::kStep) declaration.index("begun", {input_spec.batch}, 0, 1);
}

void InitialCarry::fill(Run& run, const ChannelSpec& carry, int64_t batch, std::byte* c,
                        std::byte* h) const {
  if (!exists()) return;
  const auto fill_items = [&](const Items& items) {
    const Constant& given = run.constants().get(constant_);
    Sequence constant = given.sequence;
    constant.channels = given.channels();
    constant.batch = given.batch();
    constant.time = 1;
    run.with_scratch([&] {
      constant.mask = run.scratch<uint8_t>(constant.batch);
      std::memset(constant.mask, 1, static_cast<size_t>(constant.batch));
      run.without_emits([&] {
        fill_one(run, h_.get(), constant, carry, items, h);
        fill_one(run, c_.get(), constant, carry, items, c);
        return constant;
      });
    });
  };
  if (run.mode() == Mode::kLayer) {
    fill_items({batch, nullptr});
    return;
  }
  const auto begun = run.state<int32_t>("begun");
  if (std::count(begun.get(), begun.get() + batch, 1) == batch) return;
  fill_items({batch, begun});
  std::fill_n(begun.get(), batch, 1);
}

void InitialCarry::fill_one(Run& run, const Layer* layer, const Sequence& constant,
                            const ChannelSpec& carry, const Items& items, std::byte* to) {
  if (!layer || !to) return;
  const Sequence made = call(run, *layer, constant, other(run.side()));
  if (made.spec() != carry)
    fail(Code::kShape, "{} makes {}: the carry is {}", layer->label(), to_string(made.spec()),
         to_string(carry));
  for (int64_t b = 0; b < items.count; ++b) {
    if (items.begun && items.begun[b]) continue;
    std::memcpy(to + static_cast<size_t>(b) * made.frame_bytes(),
                made.frame(made.batch == 1 ? 0 : b, 0), made.frame_bytes());
  }
}

}  // namespace sl
