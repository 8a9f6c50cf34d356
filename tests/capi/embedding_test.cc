// Tests an EmbeddingTranspose with its own table, and with the table of an Embedding elsewhere in
// the model.
#include <catch2/catch.hpp>

#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

constexpr const char* kTable = R"({"type":"Embedding","dimension":4,"num_embeddings":3})";

std::string model(const std::string& path) {
  return R"({"type":"Serial","layers":[{"type":"Serial","name":"in","layers":[)"
         R"({"type":"Embedding","dimension":4,"num_embeddings":3,"name":"tokens"}]},)"
         R"({"type":"EmbeddingTranspose","name":"logits",)" +
         path + R"("embedding":)" + kTable + "}]}";
}

// Runs the config with 3 x 4 tables of the same numbers, and a bias.
Tensor logits(const std::string& config, const std::vector<std::string>& tables) {
  Weights weights;
  const auto add = [&](const std::string& name, std::vector<int64_t> dims) {
    Tensor tensor = make_array(SL_DTYPE_FLOAT32, std::move(dims));
    for (int64_t i = 0; i < tensor.size(); ++i) tensor.set(i, static_cast<double>(i % 5) - 1.5);
    const sl_sequence view = tensor.view();
    check([&](sl_error* e) { return sl_weights_add(weights.get(), name.c_str(), &view, e); });
  };
  for (const std::string& name : tables) add(name, {3, 4});
  add("params.logits.bias", {3});
  const Layer layer(config, weights);
  Tensor x = make_sequence(SL_DTYPE_INT32, {1, 3});
  for (int64_t i = 0; i < 3; ++i) x.set(i, static_cast<double>(i));
  return apply(layer, {x, {}});
}

TEST_CASE("an EmbeddingTranspose shares the table at a path", "[embedding]") {
  const Tensor own =
      logits(model(""), {"params.in.tokens.embedding", "params.logits.embedding.embedding"});
  const Tensor shared =
      logits(model(R"("embedding_path":"in.tokens",)"), {"params.in.tokens.embedding"});
  CHECK(own.dims == std::vector<int64_t>{1, 3, 3});
  // |row 0|^2 for the row (-1.5, -0.5, 0.5, 1.5), plus its bias.
  CHECK(own.at(0).real() == Approx(5 - 1.5));
  CHECK(compare_bits(shared, own).reason == "");
  CHECK_THROWS_WITH(logits(model(R"("embedding_path":"tokens",)"), {"params.in.tokens.embedding"}),
                    Contains("tensor \"params.tokens.embedding\" is missing"));
}

}  // namespace
}  // namespace sl::testing
