// How layers come into being: a factory for each type, registered by the layer's own file.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/config.h"
#include "layers/layer.h"
#include "layers/weights.h"

namespace sl {

// Makes the children of combinators: looks up types, names and checks what it makes.
class Builder {
 public:
  virtual ~Builder() = default;
  // The child's name is its config's "name", else `default_name`; its weights lie under that name,
  // or in the scope itself if it is shared.
  virtual std::unique_ptr<Layer> build(Config config, const WeightScope& scope,
                                       const std::string& default_name,
                                       bool share_scope = false) const = 0;
  Layers build_list(const std::vector<Config>& configs, const WeightScope& scope,
                    const std::vector<bool>& share_scope) const;
};

// What a layer's constructor gets beside its config.
struct Init {
  WeightScope weights;
  const Builder& builder;
};

using Factory = std::unique_ptr<Layer> (*)(Config& config, const Init& init);

struct LayerType {
  const char* name;
  Factory factory;
};

// The types that this library holds, in no order.
std::vector<LayerType>& built_in_types();

// A layer class L has a struct L::Fields, made from a Config: all that it reads of its JSON. Then
// the check for unknown fields comes before any weight is looked up.
template <typename L>
std::unique_ptr<Layer> make_layer(Config& config, const Init& init) {
  typename L::Fields fields(config);
  config.ignore({"name"});
  config.finish();
  return std::make_unique<L>(std::move(fields), init);
}

struct Registration {
  Registration(const char* name, Factory factory) { built_in_types().push_back({name, factory}); }
};

// Once in the layer's file: SL_REGISTER_LAYER(Conv1D);
#define SL_REGISTER_LAYER(type) \
  static const ::sl::Registration registration_##type(#type, &::sl::make_layer<type>)
// For a type whose class has another name.
#define SL_REGISTER_LAYER_AS(type, ...) \
  static const ::sl::Registration registration_##type(#type, &::sl::make_layer<__VA_ARGS__>)

}  // namespace sl
