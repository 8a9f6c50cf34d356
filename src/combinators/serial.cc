// Serial: layers one after the other (reference: combinators.Serial).
#include "combinators/chain_layer.h"

namespace sl {
namespace {

class Serial final : public ChainLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : layers(config.list("layers")), share_scope(read_share_scope(config, layers.size())) {}
    std::vector<Config> layers;
    std::vector<bool> share_scope;
  };

  Serial(Fields fields, const Init& init)
      : ChainLayer(init.builder.build_list(fields.layers, init.weights, fields.share_scope)),
        keys_(emit_keys(children())) {}

 private:
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    chain().declare(declaration, input, keys_);
  }

  std::vector<std::string> keys_;
};

SL_REGISTER_LAYER(Serial);

}  // namespace
}  // namespace sl
