// Reshape: the channels in another shape of as many elements (reference: simple.Reshape).
#include "layers/simple/reshaping_layer.h"

namespace sl {
namespace {

class Reshape final : public ReshapingLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) {
      for (int64_t dim : config.integers("output_shape")) {
        if (dim < 0) config.error("output_shape", "expected sizes of at least 0");
        shape.push_back(dim);
      }
    }
    Shape shape;
  };

  Reshape(Fields fields, const Init&) : shape_(fields.shape) {}

 private:
  Shape reshaped(const Shape& channels) const override {
    if (channels.size() != shape_.size()) {
      fail(Code::kShape, "{} \"{}\": channels {} do not have the {} elements of {}", type(), name(),
           to_string(channels), shape_.size(), to_string(shape_));
    }
    return shape_;
  }

  Shape shape_;
};

SL_REGISTER_LAYER(Reshape);

}  // namespace
}  // namespace sl
