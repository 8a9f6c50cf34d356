#include "layers/attention/relative_position.h"

#include <algorithm>

namespace sl {

std::unique_ptr<RelativePositionFields> read_relative_position(Config& config,
                                                               const ops::Heads& heads) {
  using Read = std::unique_ptr<RelativePositionFields> (*)(Config&, const ops::Heads&);
  constexpr Read kReaders[] = {read_shaw, read_t5, read_transformer_xl};
  std::optional<Config> own = config.nested("relative_position_embedding");
  if (!own) return nullptr;
  const size_t type = own->choice("type",
                                  {"ShawRelativePositionEmbedding", "T5RelativePositionEmbedding",
                                   "TransformerXLRelativePositionEmbedding"},
                                  0);
  auto fields = kReaders[type](*own, heads);
  own->finish();
  return fields;
}

void check_heads(Config& config, const ops::Heads& heads) {
  if (config.integer("num_heads", 1) != heads.count()) {
    config.error("num_heads", fmt::format("expected {}, as the layer has", heads.count()));
  }
  if (config.integer("units_per_head", 1) != heads.units) {
    config.error("units_per_head", fmt::format("expected {}, as the layer has", heads.units));
  }
}

std::vector<float> by_head(const std::vector<float>& embeddings, int64_t distances,
                           const ops::Heads& heads) {
  const int64_t count = heads.count(), units = heads.units, width = heads.width();
  std::vector<float> out(static_cast<size_t>(checked_product(count, distances, width)));
  for (int64_t i = 0; i < distances; ++i) {
    for (int64_t h = 0; h < count; ++h) {
      std::copy_n(embeddings.data() + (i * count + h) * units, units,
                  out.data() + (h * distances + i) * width);
    }
  }
  return out;
}

}  // namespace sl
