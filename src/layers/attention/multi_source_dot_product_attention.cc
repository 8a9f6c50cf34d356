// MultiSourceDotProductAttention: each step of x attends to several whole constant sequences at
// once (reference: attention.MultiSourceDotProductAttention).
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
      // The reference uses positions only together with segments, which it never applies. So
      // position constants are required but have no effect.
      wants_query_positions = true;
      config.note("query_positions_name", "string or null", "null");
      if (config.raw("query_positions_name"))
        query_positions_name = config.string("query_positions_name");
      read_source_positions(config);
      for (const char* field : {"query_segment_ids_name", "source_segment_ids_names"}) {
        config.note(field, "null", "null");
        if (config.raw(field)) config.error(field, "segments are not supported: expected null");
      }
      config.ignore({"flash_attention_query_block_size", "flash_attention_source_block_sizes"});
    }

    // Reads one name for all sources, a list with one for each, or null for no positions.
    void read_source_positions(Config& config) {
      const char* field = "source_position_names";
      config.note(field, "string, list of strings, or null", "null");
      const Json* raw = config.raw(field);
      if (!raw) return;
      if (raw->is_array() && raw->size() != sources.size()) {
        config.error(field, fmt::format("expected one for each of the {} source_names, got {}",
                                        sources.size(), raw->size()));
      }
      const auto add = [&](const Json& name) {
        if (name.is_null()) return;
        if (!name.is_string()) config.error(field, "expected strings");
        const auto& text = name.get_ref<const std::string&>();
        if (!text.empty() && std::ranges::count(source_positions, text) == 0)
          source_positions.push_back(text);
      };
      if (raw->is_array()) {
        for (const Json& name : *raw) add(name);
      } else {
        add(*raw);
      }
    }

    // Reads one name or a list of names.
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
