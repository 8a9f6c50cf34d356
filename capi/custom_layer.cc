#include "custom_layer.h"

#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "convert.h"
#include "handles.h"

namespace sl::capi {
namespace {

sl_sequence to_c(const Sequence& sequence) {
  sl_sequence out = SL_SEQUENCE_INIT;
  set_dims(&out, sequence.dtype,
           dims_of({sequence.spec(), sequence.batch, sequence.time, Mode::kLayer}), "sequence");
  out.data = sequence.values;
  out.mask = sequence.mask;
  return out;
}

class CustomLayer final : public Layer {
 public:
  CustomLayer(const sl_layer_callbacks& callbacks, const Config& config, const Init& init)
      : callbacks_(callbacks), place_(fmt::format("{} ({})", config.path(), config.type())) {
    const std::string json = config.json().dump();
    const sl_weight_source source{init.weights};
    sl_error error = SL_ERROR_INIT;
    void* made = nullptr;
    check(callbacks_.create(callbacks_.user_data, json.c_str(), &source, &made, &error), error,
          "create");
    // An owner of its own: the destructor does not run if what follows throws.
    const auto destroy = callbacks_.destroy;
    instance_ = std::shared_ptr<void>(made, [destroy](void* instance) {
      if (destroy) destroy(instance);
    });
    read_properties();
  }

  int64_t block_size() const override { return properties_.block_size; }
  Ratio output_ratio() const override {
    return Ratio(properties_.output_ratio_numerator, properties_.output_ratio_denominator);
  }
  bool supports_step() const override { return properties_.layer_wise_only == 0; }
  std::string step_obstacle() const override {
    return supports_step() ? ""
                           : "its properties say layer_wise_only: unset it, and give it a step";
  }
  int64_t input_latency() const override { return properties_.input_latency; }
  int64_t output_latency() const override {
    if (properties_.output_latency == 0) return Layer::output_latency();
    return std::max<int64_t>(0, properties_.output_latency);
  }
  ReceptiveFields receptive_field_per_step() const override {
    return repeated(StepRange{properties_.receptive_field_start, properties_.receptive_field_end},
                    output_ratio().numerator());
  }

  bool reads_invalid_steps() const override { return properties_.reads_invalid_steps != 0; }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (!callbacks_.output_spec) return input;
    sl_channel_spec in = SL_CHANNEL_SPEC_INIT, out = SL_CHANNEL_SPEC_INIT;
    from_spec(input, &in, "input");
    sl_error error = SL_ERROR_INIT;
    const sl_status status = callbacks_.output_spec(instance_.get(), &in, &out, &error);
    check(status, error, "output_spec");
    return to_spec(&out, "output");
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    if (!callbacks_.state_size || input.mode != Mode::kStep) return;
    sl_channel_spec in = SL_CHANNEL_SPEC_INIT;
    from_spec(input.channels, &in, "input");
    size_t bytes = 0;
    sl_error error = SL_ERROR_INIT;
    check(callbacks_.state_size(instance_.get(), &in, &bytes, &error), error, "state_size");
    if (bytes > INT64_MAX) fail_overflow();
    declaration.state("started", DType::kBool, {input.batch});
    declaration.state("custom", DType::kInt8, {input.batch, static_cast<int64_t>(bytes)});
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = make_output(run, x);
    call(callbacks_.layer, "layer", x, y);
    return y;
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    if (!callbacks_.step) return do_layer(run, x);
    const Sequence y = make_output(run, x);
    if (!callbacks_.state_size) {
      step(nullptr, x, y);
      return y;
    }
    const StateTensor state = started_state(run, x);
    const Slots& slots = run.slots();
    if (slots.map && callbacks_.step_slots) {
      const auto all = [&](const void* instance, const sl_sequence* in, sl_sequence* out,
                           sl_error* error) {
        return callbacks_.step_slots(instance, state.data, slots.map, slots.count, in, out, error);
      };
      call(all, "step_slots", x, y);
      return y;
    }
    each_equal_range(
        x.batch, [&](int64_t b) { return slots[b] - b; },
        [&](int64_t first, int64_t count) {
          step(state.item(slots[first]), x.items(first, count), y.items(first, count));
        });
    return y;
  }
  void step(void* state, const Sequence& x, const Sequence& y) const {
    const auto with_state = [&](const void* instance, const sl_sequence* in, sl_sequence* out,
                                sl_error* error) {
      return callbacks_.step(instance, state, in, out, error);
    };
    call(with_state, "step", x, y);
  }

  StepDifference step_difference(const EarlySteps& before) const override {
    if (properties_.counts_invalid_steps == 0) return Layer::step_difference(before);
    return minds_early_steps(before, "counts invalid steps too");
  }
  void read_properties() {
    sl_layer_properties& p = properties_;
    if (callbacks_.properties) {
      sl_error error = SL_ERROR_INIT;
      check(callbacks_.properties(instance_.get(), &p, &error), error, "properties");
    }
    for (int64_t* field : {&p.block_size, &p.output_ratio_numerator, &p.output_ratio_denominator})
      *field = or_default<int64_t>(*field, 1);
    if (p.block_size < 1 || p.output_ratio_numerator < 1 || p.output_ratio_denominator < 1 ||
        p.input_latency < 0 || p.receptive_field_start > p.receptive_field_end ||
        checked_product(p.block_size, p.output_ratio_numerator) % p.output_ratio_denominator != 0) {
      fail(Code::kCallback,
           "properties are impossible: block size {}, output ratio {}/{}, input latency {}, "
           "receptive field [{}, {}]",
           p.block_size, p.output_ratio_numerator, p.output_ratio_denominator, p.input_latency,
           p.receptive_field_start, p.receptive_field_end);
    }
  }

  Sequence make_output(Run& run, const Sequence& x) const {
    const ChannelSpec spec = do_output_spec(x.spec(), run.constants());
    if (output_ratio() == Ratio(1)) return run.output_like(x, spec);
    const Sequence y = run.output(spec, x.batch, output_ratio().floor_times(x.time));
    std::memset(y.mask, 1, static_cast<size_t>(y.steps()));
    return y;
  }

  // The caller initialises its state when a stream takes its first step: reset and rehearsal need
  // not know of it.
  StateTensor started_state(Run& run, const Sequence& x) const {
    const auto started = run.state<uint8_t>("started");
    const StateTensor state = run.state_tensor("custom");
    for (int64_t b = 0; b < x.batch; ++b) {
      if (started[b] == 0 && callbacks_.state_init) init_item(x, state.item(run.slots()[b]));
      started[b] = 1;
    }
    return state;
  }

  void init_item(const Sequence& x, std::byte* state) const {
    sl_channel_spec spec = SL_CHANNEL_SPEC_INIT;
    from_spec(x.spec(), &spec, "input");
    sl_error error = SL_ERROR_INIT;
    check(callbacks_.state_init(instance_.get(), &spec, state, &error), error, "state_init");
  }

  // Throws what a callback reported, if it failed, with the layer's path in the config. Numbers
  // that are no status become CALLBACK.
  void check(sl_status status, const sl_error& error, const char* callback) const {
    if (status == SL_STATUS_OK) return;
    const bool known = status > 0 && status < static_cast<sl_status>(std::size(kStatusNames));
    const char* message = error.message[0] ? error.message : sl_status_name(status);
    Error failure(known ? static_cast<Code>(status) : Code::kCallback,
                  fmt::format("{} failed: {}", callback, message));
    failure.locate(place_);
    throw failure;
  }

  template <typename Fn>
  void call(Fn&& fn, const char* callback, const Sequence& x, const Sequence& y) const {
    const sl_sequence in = to_c(x);
    sl_sequence out = to_c(y);
    sl_error error = SL_ERROR_INIT;
    check(fn(instance_.get(), &in, &out, &error), error, callback);
  }

  sl_layer_callbacks callbacks_;
  std::string place_;  // the layer's path in the config, and its type
  std::shared_ptr<void> instance_;
  sl_layer_properties properties_ = SL_LAYER_PROPERTIES_INIT;
};

}  // namespace

TypeFactory custom_factory(const sl_layer_callbacks& callbacks) {
  if (!callbacks.create) fail(Code::kInvalidArgument, "callbacks.create is null");
  if (!callbacks.layer) fail(Code::kInvalidArgument, "callbacks.layer is null");
  if (!callbacks.step && callbacks.state_size) {
    fail(Code::kInvalidArgument, "callbacks.step is null though callbacks.state_size is not");
  }
  if (!callbacks.step && callbacks.step_slots) {
    fail(Code::kInvalidArgument, "callbacks.step is null though callbacks.step_slots is not");
  }
  return [callbacks](Config& config, const Init& init) -> std::unique_ptr<Layer> {
    try {
      return std::make_unique<CustomLayer>(callbacks, config, init);
    } catch (const SizeError&) {
      throw;  // whoever builds the tree names the path of these
    } catch (Error& error) {
      error.locate(fmt::format("{} ({})", config.path(), config.type()));
      throw;
    }
  };
}

}  // namespace sl::capi
