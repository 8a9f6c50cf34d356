// Tests the hints for layer types of other frameworks: everything that they name must exist here.
#include "model/type_hints.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "core/status.h"
#include "model/model.h"

namespace sl {
namespace {

using Catch::Contains;

std::vector<std::string> names_of(const TypeHint& hint) {
  std::istringstream words(hint.names);
  return {std::istream_iterator<std::string>(words), {}};
}

std::string error_of(const std::string& config) {
  try {
    const Model model(config, nullptr, {});
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

std::string error_of_type(const std::string& type) {
  return error_of(R"({"type": "Serial", "layers": [{"type": ")" + type + "\"}]}");
}

TEST_CASE("configs of hints are configs of this library", "[type_hints]") {
  for (const TypeHint& hint : type_hints()) {
    INFO(hint.names);
    CHECK((hint.config || hint.note));
    if (!hint.config) continue;
    // The config must be valid except for missing weights.
    const std::string error = error_of(hint.config);
    CHECK((error.empty() || error.find("is missing") != std::string::npos));
    CHECK_THAT(error, !Contains("field"));
  }
}

TEST_CASE("every spelling of a hint's names finds the hint", "[type_hints]") {
  std::set<std::string> seen;
  for (const TypeHint& hint : type_hints()) {
    for (const std::string& name : names_of(hint)) {
      INFO(name);
      CHECK(seen.insert(name).second);
      CHECK(built_in_registry().find(name) == nullptr);
      const std::string expected = hint.config ? hint.config : hint.note;
      std::string lower = name, upper = name;
      std::ranges::transform(lower, lower.begin(), [](char c) { return std::tolower(c); });
      std::ranges::transform(upper, upper.begin(), [](char c) { return std::toupper(c); });
      for (const std::string& written : {name, lower, upper, "torch.nn." + name}) {
        CHECK_THAT(error_of_type(written), Contains(expected));
      }
    }
  }
}

TEST_CASE("hints name the layer to use", "[type_hints]") {
  CHECK(error_of_type("GRU") == R"($.layers[0].type: unknown layer type "GRU"; use "RNN", as in )"
                                R"({"type": "RNN", "cell": {"type": "GRUCell", "features": 64}})");
  CHECK_THAT(error_of_type("Linear"), Contains(R"(use "Dense")"));
  CHECK_THAT(error_of_type("batch_norm_1d"), Contains(R"(use "BatchNormalization")"));
  CHECK_THAT(error_of_type("MultiHeadAttention"), Contains(R"(use "DotProductSelfAttention")"));
  CHECK_THAT(error_of_type("tf.keras.layers.Lambda"), Contains("custom layer"));
}

TEST_CASE("unknown names get the nearest type, or no hint", "[type_hints]") {
  CHECK_THAT(error_of_type("Rellu"), Contains(R"(did you mean "Relu"?)"));
  CHECK_THAT(error_of_type("conv1d_transpose"), Contains(R"(did you mean "Conv1DTranspose"?)"));
  CHECK_THAT(error_of_type("nn.ReLU"), Contains(R"(did you mean "Relu"?)"));
  CHECK_THAT(error_of_type("Zzzzzzzzzzzz"), !Contains(";"));
  // A similar name in the registry takes precedence over a hint.
  CHECK(advice_for_type("linear", {"Linear"}) == R"(did you mean "Linear"?)");
}

}  // namespace
}  // namespace sl
