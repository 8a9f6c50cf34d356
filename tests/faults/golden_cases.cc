#include "faults/golden_cases.h"

#include <algorithm>
#include <filesystem>
#include <vector>

namespace sl::testing {

Layer GoldenCase::layer() const {
  return Layer(config(), select_weights(tensors, name + "/weights/"));
}

Case GoldenCase::check(const Layer* layer) const {
  const bool half = uses_half_precision(recorded.at("config"));
  Case c = read_case(recorded, tensors, name + "/", half);
  c.layer = layer;
  return c;
}

void for_each_golden_case(const std::function<void(const GoldenCase&)>& fn) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(SL_GOLDEN_DIR)) {
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (std::filesystem::path file : files) {
    const auto json = nlohmann::ordered_json::parse(read_file(file.string()));
    const Weights tensors = Weights::open(file.replace_extension("safetensors").string());
    for (const auto& recorded : json.at("cases"))
      fn({recorded.at("name").get<std::string>(), recorded, tensors});
  }
}

}  // namespace sl::testing
