// Serial: layers one after the other (reference: combinators.Serial).
#include "combinators/chain.h"

namespace sl {
namespace {

class Serial final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : layers(config.list("layers")), share_scope(read_share_scope(config, layers.size())) {}
    std::vector<Config> layers;
    std::vector<bool> share_scope;
  };

  Serial(Fields fields, const Init& init)
      : chain_(init.builder.build_list(fields.layers, init.weights, fields.share_scope)),
        keys_(emit_keys(chain_.layers())) {}

  std::vector<const Layer*> children() const override { return chain_.layers(); }
  ChannelSpec child_input(const Layer& child, const ChannelSpec& input,
                          const Constants& constants) const override {
    return chain_.input_of(child, input, constants);
  }
  int64_t block_size() const override { return chain_.block_size(); }
  Ratio output_ratio() const override { return chain_.output_ratio(); }
  bool supports_step() const override { return chain_.supports_step(); }
  int64_t input_latency() const override { return chain_.accumulated_input_latency(0); }
  int64_t output_latency() const override { return chain_.accumulated_output_latency(0); }
  int64_t accumulated_input_latency(int64_t latency) const override {
    return chain_.accumulated_input_latency(latency);
  }
  int64_t accumulated_output_latency(int64_t latency) const override {
    return chain_.accumulated_output_latency(latency);
  }
  ReceptiveFields receptive_field_per_step() const override {
    return chain_.receptive_field_per_step();
  }
  ChannelSpec output_spec(const ChannelSpec& input, const Constants& constants) const override {
    return chain_.output_spec(input, constants);
  }
  int64_t output_length(int64_t time, const ChannelSpec& input) const override {
    return chain_.output_length(time, input);
  }
  std::optional<ChannelSpec> implied_input() const override { return chain_.implied_input(); }
  bool returns_view() const override { return chain_.returns_view(); }
  void declare(Declaration& declaration, const SequenceSpec& input) const override {
    chain_.declare(declaration, input, keys_);
  }
  Sequence layer(Run& run, const Sequence& x) const override { return chain_.run(run, x); }
  Sequence step(Run& run, const Sequence& x) const override { return chain_.run(run, x); }

 private:
  Chain chain_;
  std::vector<std::string> keys_;
};

SL_REGISTER_LAYER(Serial);

}  // namespace
}  // namespace sl
