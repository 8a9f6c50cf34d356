// Checks that the library knows every layer of the reference and every field of its config.
// config_classes.json holds the reference's layers and fields (packaging/python:
// config_classes.py).
#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "support/models.h"
#include "testing/model.h"

namespace sl::testing {
namespace {

using nlohmann::json;

// Layers of the reference that JSON cannot describe.
const std::map<std::string, std::string> kNotInJson = {
    {"Lambda", "it runs a Python function"},
};

// Configs of types that have required fields but no recorded case.
const std::map<std::string, const char*> kExamples = {
    {"SwapAxes", R"({"axis1":2,"axis2":3})"},
};

json reference_classes() { return json::parse(read_file(SL_REFERENCE_CLASSES)); }

bool is_attention(const json& layer) {
  const auto module = layer.at("module").get<std::string>();
  return module.starts_with("attention") || module == "examples.global_style_token";
}

std::set<std::string> registered_types() {
  std::set<std::string> types;
  for (int64_t i = 0; i < sl_registry_type_count(nullptr); ++i)
    types.insert(sl_registry_type(nullptr, i));
  return types;
}

// Finds the first config of each type, at any depth.
void collect_examples(const json& value, std::map<std::string, json>& examples) {
  if (!value.is_structured()) return;
  if (value.is_object() && value.contains("type") && value["type"].is_string())
    examples.try_emplace(value["type"].get<std::string>(), value);
  for (const json& child : value) collect_examples(child, examples);
}

// Adds the configs of a directory of recorded cases.
void collect_recorded(const char* directory, std::map<std::string, json>& examples) {
  for (const auto& file : std::filesystem::directory_iterator(directory)) {
    if (file.path().extension() != ".json") continue;
    const json recorded = json::parse(read_file(file.path().string()));
    for (const json& c : recorded.at("cases")) collect_examples(c.at("config"), examples);
  }
}

// The example with all fields of the reference added, at their defaults.
json full_config(const json& layer, json config) {
  config["type"] = layer.at("type");
  for (const json& field : layer.at("fields")) {
    const auto name = field.at("name").get<std::string>();
    if (!config.contains(name)) config[name] = field.value("default", json());
  }
  return config;
}

TEST_CASE("every layer of the reference is registered", "[reference]") {
  const std::set<std::string> types = registered_types();
  for (const json& layer : reference_classes()) {
    const auto type = layer.at("type").get<std::string>();
    if (types.contains(type)) continue;
    const std::string missing = layer.at("module").get<std::string>() + "." + type;
    if (kNotInJson.contains(type)) {
      UNSCOPED_INFO("left out: " << missing << ", as " << kNotInJson.at(type));
    } else if (is_attention(layer)) {
      WARN("missing: " << missing);
    } else {
      FAIL_CHECK("missing: " << missing);
    }
  }
  for (const auto& [type, reason] : kNotInJson) CHECK_FALSE(types.contains(type));
}

TEST_CASE("every registered type has a recorded case", "[reference]") {
  std::map<std::string, json> examples;
  collect_recorded(SL_GOLDEN_DIR, examples);
  collect_recorded(SL_SSM_CASES_DIR, examples);
  for (const std::string& type : registered_types()) {
    INFO(type);
    CHECK(examples.contains(type));
  }
}

TEST_CASE("every field of the reference is known", "[reference]") {
  const std::set<std::string> types = registered_types();
  std::map<std::string, json> examples;
  collect_recorded(SL_GOLDEN_DIR, examples);
  for (const auto& [type, config] : kExamples) examples.try_emplace(type, json::parse(config));
  for (const json& layer : reference_classes()) {
    const auto type = layer.at("type").get<std::string>();
    if (!types.contains(type)) continue;
    const auto example = examples.find(type);
    const json config =
        full_config(layer, example == examples.end() ? json::object() : example->second);
    const std::string text = config.dump();
    sl_layer* made = nullptr;
    const Failure failure = failure_of([&](sl_error* e) {
      return sl_layer_create(text.data(), text.size(), nullptr, nullptr, &made, e);
    });
    sl_layer_free(made);
    // Fields are checked first, before children are built and weights are looked up.
    const bool known = failure.status != SL_STATUS_CONFIG ||
                       failure.message.find("unknown layer type") != std::string::npos;
    INFO(type << ": " << failure.message);
    CHECK(known);
  }
}

}  // namespace
}  // namespace sl::testing
