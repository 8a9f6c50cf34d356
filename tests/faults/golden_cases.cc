#include "faults/golden_cases.h"

#include <algorithm>
#include <filesystem>
#include <vector>

namespace sl::testing {

cli::Layer GoldenCase::layer() const {
  const cli::Weights weights = cli::select_weights(tensors, name + "/weights/");
  return cli::create_layer(config(), weights.get());
}

cli::Case GoldenCase::check(const sl_layer* layer) const {
  const bool half = cli::uses_half_precision(recorded.at("config"));
  cli::Case c = cli::read_case(recorded, tensors, name + "/", half);
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
    const auto json = nlohmann::ordered_json::parse(cli::read_file(file.string()));
    const cli::Weights tensors = cli::open_weights(file.replace_extension("safetensors").string());
    for (const auto& recorded : json.at("cases"))
      fn({recorded.at("name").get<std::string>(), recorded, tensors.get()});
  }
}

}  // namespace sl::testing
