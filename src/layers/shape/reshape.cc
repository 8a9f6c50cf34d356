// Reshape: reshapes the channels to a shape with the same number of elements (reference:
// simple.Reshape).
#include "layers/shape/reshaping_layer.h"
#include "layers/shape/shape_field.h"

namespace sl {
namespace {

class Reshape final : public ReshapingLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : shape(to_shape(config, "output_shape", config.integers("output_shape"), 0)) {}
    Shape shape;
  };

  Reshape(Fields fields, const Init&) : shape_(fields.shape) {}

 private:
  Shape reshaped(const Shape& channels) const override {
    if (channels.size() != shape_.size()) {
      fail(Code::kShape, "channels {} do not have the {} elements of {}", to_string(channels),
           shape_.size(), to_string(shape_));
    }
    return shape_;
  }

  Shape shape_;
};

SL_REGISTER_LAYER(Reshape);

}  // namespace
}  // namespace sl
