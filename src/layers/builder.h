// Creates layers: each type has a factory, which the file of the layer registers.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/config.h"
#include "core/weight_format.h"
#include "layers/layer.h"
#include "layers/weights.h"

namespace sl {

// Builds the children of combinators: looks up their types, names them and checks them.
class Builder {
 public:
  virtual ~Builder() = default;
  // The name of the child is the "name" in its config, by default `default_name`. Its weights lie
  // under that name or, with `share_scope`, in the scope itself.
  virtual std::unique_ptr<Layer> build(Config config, const WeightScope& scope,
                                       const std::string& default_name,
                                       bool share_scope = false) const = 0;
  // The format in which attention caches keys and values.
  virtual WeightFormat kv_format() const { return WeightFormat::kFloat32; }
  Layers build_list(const std::vector<Config>& configs, const WeightScope& scope,
                    const std::vector<bool>& share_scope) const;
};

// The arguments of a layer's constructor besides its fields.
struct Init {
  WeightScope weights;
  const Builder& builder;
};

using Factory = std::unique_ptr<Layer> (*)(Config& config, const Init& init);

struct LayerType {
  const char* name;
  Factory factory;
};

// The built-in types, in no particular order.
std::vector<LayerType>& built_in_types();

// Makes a layer of class L. Its struct L::Fields reads all of the config, so that unknown fields
// are reported before any weight is looked up.
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

// Registers a layer class, once in its file: SL_REGISTER_LAYER(Conv1D);
#define SL_REGISTER_LAYER(type) \
  static const ::sl::Registration registration_##type(#type, &::sl::make_layer<type>)
// Registers a type whose class has another name.
#define SL_REGISTER_LAYER_AS(type, ...) \
  static const ::sl::Registration registration_##type(#type, &::sl::make_layer<__VA_ARGS__>)

}  // namespace sl
