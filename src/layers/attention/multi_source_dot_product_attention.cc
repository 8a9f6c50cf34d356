// MultiSourceDotProductAttention: x attends to all of several constant sequences at once
// (reference: attention.MultiSourceDotProductAttention).
#include <algorithm>
#include <nlohmann/json.hpp>

#include "layers/attention/cross_attention.h"

namespace sl {
namespace {

class MultiSourceDotProductAttention final : public CrossAttention {
 public:
  struct Fields : CrossAttentionFields {
    explicit Fields(Config& config) : CrossAttentionFields(config) {
      sources = names(config, "source_names");
      if (sources.empty() || std::ranges::count(sources, "") > 0)
        config.error("source_names", "expected one name or more, none of them empty");
      read_kv_heads(config);
      float32_scores = true;
      heads.interleaved = true;
      separate_projections = config.boolean("use_separate_kv_projections", false);
      // The reference computes with segments nowhere, and with positions for segments alone.
      for (const char* field : {"query_segment_ids_name", "source_segment_ids_names"}) {
        config.note(field, "null", "null");
        if (config.raw(field)) config.error(field, "segments are not supported: expected null");
      }
      config.ignore({"query_positions_name", "source_position_names",
                     "flash_attention_query_block_size", "flash_attention_source_block_sizes"});
    }

    // One name or a list of them.
    static std::vector<std::string> names(Config& config, const char* field) {
      config.note(field, "string or list of strings", "");
      const Json* raw = config.raw(field);
      if (!raw || !raw->is_array()) return {config.string(field)};
      std::vector<std::string> out;
      for (const Json& name : *raw) {
        if (!name.is_string()) config.error(field, "expected strings");
        out.push_back(name.get<std::string>());
      }
      return out;
    }
  };

  MultiSourceDotProductAttention(Fields fields, const Init& init)
      : CrossAttention(std::move(fields), init) {}
};

SL_REGISTER_LAYER(MultiSourceDotProductAttention);

}  // namespace
}  // namespace sl
