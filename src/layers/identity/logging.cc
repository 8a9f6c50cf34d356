// Logging: the identity, which logs the shape of its input in layer-wise runs but not in steps,
// which are real-time (reference: simple.Logging).
#include <string>

#include "core/log.h"
#include "layers/builder.h"

namespace sl {
namespace {

class Logging final : public PointwiseLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : prefix(config.string("prefix", "")) {
      config.boolean("dump_tensors", false);
      config.ignore({"layer_format_str", "get_initial_state_format_str", "step_format_str"});
    }
    std::string prefix;
  };

  Logging(Fields fields, const Init&) : prefix_(std::move(fields.prefix)) {}

  bool returns_view() const override { return true; }

 private:
  Sequence do_layer(Run&, const Sequence& x) const override {
    log(LogLevel::kInfo, "{} layer(): x is {} of batch {} and {} steps", prefix_,
        to_string(x.spec()), x.batch, x.time);
    return x;
  }
  Sequence do_step(Run&, const Sequence& x) const override { return x; }

  std::string prefix_;
};

SL_REGISTER_LAYER(Logging);

}  // namespace
}  // namespace sl
