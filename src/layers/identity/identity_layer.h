// Base of layers that return their input at inference and differ only in their fields.
#pragma once

#include "layers/builder.h"
#include "layers/identity/no_fields.h"

namespace sl {

template <typename F>
class IdentityLayer final : public PointwiseLayer {
 public:
  using Fields = F;
  IdentityLayer(Fields, const Init&) {}

  bool returns_view() const override { return true; }

 private:
  Sequence do_layer(Run&, const Sequence& x) const override { return x; }
};

}  // namespace sl
