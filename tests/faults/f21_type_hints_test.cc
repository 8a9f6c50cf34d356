// Fault 21: for layer types of other frameworks there was no hint, or the hint named another layer
// that is merely spelled alike.
#include <catch2/catch.hpp>

#include "support/models.h"

namespace sl::testing {
namespace {

std::string error_of(const std::string& type) {
  const std::string config = R"({"type":")" + type + R"(","name":"x"})";
  const Failure failure = failure_of([&](sl_error* e) {
    sl_layer* layer = nullptr;
    return sl_layer_create(config.data(), config.size(), nullptr, nullptr, &layer, e);
  });
  CHECK(failure.status == SL_STATUS_CONFIG);
  return failure.message;
}

TEST_CASE("fault 21: types of other frameworks get a hint", "[f21]") {
  using Catch::Contains;
  CHECK_THAT(error_of("GRU"), Contains("use \"RNN\"") && Contains("GRUCell"));
  CHECK_THAT(error_of("gru"), Contains("GRUCell"));
  CHECK_THAT(error_of("Linear"), Contains("use \"Dense\""));
  CHECK_THAT(error_of("BatchNorm1d"), Contains("use \"BatchNormalization\""));
  CHECK_THAT(error_of("ZeroPad1d"), Contains("\"padding\""));
  CHECK_THAT(error_of("Clip"), Contains("\"Maximum\"") && Contains("\"Minimum\""));
  CHECK_THAT(error_of("torch.nn.Hardtanh"), Contains("\"Maximum\"") && Contains("\"Minimum\""));
  CHECK_THAT(error_of("MultiHeadAttention"), Contains("use \"DotProductSelfAttention\""));
  CHECK_THAT(error_of("Desne"), Contains("did you mean \"Dense\"?"));
}

}  // namespace
}  // namespace sl::testing
