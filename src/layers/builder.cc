#include "layers/builder.h"

namespace sl {

std::vector<LayerType>& built_in_types() {
  static std::vector<LayerType> types;
  return types;
}

Layers Builder::build_list(const std::vector<Config>& configs, const WeightScope& scope,
                           const std::vector<bool>& share_scope) const {
  Layers layers;
  for (size_t i = 0; i < configs.size(); ++i) {
    const bool share = !share_scope.empty() && share_scope[i];
    layers.push_back(build(configs[i], scope, "layers_" + std::to_string(i), share));
  }
  return layers;
}

}  // namespace sl
