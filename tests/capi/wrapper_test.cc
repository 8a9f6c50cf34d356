// Tests functions of the C++ wrapper that no other test calls.
#include <catch2/catch.hpp>
#include <cstring>
#include <memory>

#include "sequence_layers/sequence_layers.hpp"

namespace sequence_layers {
namespace {

using Catch::Matchers::Contains;

sl_sequence tensor(std::vector<int64_t> dims, void* data) {
  sl_sequence out = SL_SEQUENCE_INIT;
  out.is_array = 1;
  for (const int64_t dim : dims) out.dims[out.rank++] = dim;
  out.data = data;
  return out;
}

TEST_CASE("weights through the wrapper", "[wrapper]") {
  Weights weights;
  float kernel[] = {1, 2, 3, 4}, bias[] = {5, 6};
  weights.add("params.kernel", tensor({2, 2}, kernel));
  weights.add("params.bias", tensor({2}, bias));
  REQUIRE(weights.tensor_count() == 2);
  CHECK(std::string(weights.tensor(0).name) == "params.bias");
  CHECK(static_cast<const float*>(weights.tensor(0).view.data)[1] == 6);
  CHECK(weights.find("params.kernel").dims[1] == 2);
  CHECK(weights.contains("params.kernel"));
  CHECK(!weights.contains("params"));
  CHECK(weights.metadata("sample_rate") == nullptr);
  try {
    weights.find("params.other");
    FAIL("found");
  } catch (const Error& e) {
    CHECK(e.status() == SL_STATUS_WEIGHTS);
    CHECK_THAT(e.what(), Contains("params.other"));
  }
  const Layer layer(R"({"type":"Dense","features":2})", weights);
  CHECK(layer.parameter_count() == 6);
  CHECK(layer.metadata("sample_rate") == nullptr);
  CHECK_THROWS_AS(Weights::read("no safetensors", 14), Error);
}

TEST_CASE("properties through the wrapper", "[wrapper]") {
  const Layer layer(R"({"type":"Upsample1D","rate":3})");
  CHECK(layer.output_ratio() == std::pair<int64_t, int64_t>(3, 1));
  const ReceptiveField field = layer.receptive_field();
  CHECK(field.exists);
  CHECK(field.start == 0);
  CHECK(field.end == 0);
  CHECK(layer.receptive_field_per_step().size() == 3);
  const std::string text = layer.describe(channel_spec({2}));
  CHECK(std::strlen(text.c_str()) == text.size());
  CHECK_THAT(text, Contains("\"Upsample1D\""));
  const Layer emitting(R"({"type":"Serial","layers":[{"type":"Emit","name":"seen"}]})");
  CHECK(emitting.emit_count(channel_spec({2})) == 1);
  const auto [path, shape] = emitting.emit_shape(sequence(channel_spec({2}), 1, 4, nullptr), 0);
  CHECK(path == "seen");
  CHECK(shape.dims[1] == 4);
  CHECK(emitting.emit_path(channel_spec({2}), 0) == "seen");
  CHECK_THROWS_AS(emitting.emit_path(channel_spec({2}), 1), Error);
  // An error without a message has the name of its status.
  CHECK(std::string(Error(SL_STATUS_SHAPE, "").what()) == "shape");
}

TEST_CASE("states through the wrapper", "[wrapper]") {
  const Layer layer(R"({"type":"Delay","length":1})");
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  const auto [size, alignment] = layer.state_size(options);
  std::vector<unsigned char> memory(size + alignment);
  void* at = memory.data();
  size_t room = memory.size();
  REQUIRE(std::align(alignment, size, at, room) != nullptr);
  State inside(layer, options, at, size), outside(layer, options);
  float in = 7, out = 9;
  const sl_sequence x = sequence(channel_spec({}), 1, 1, &in);
  sl_sequence y = sequence(channel_spec({}), 1, 1, &out);
  REQUIRE(inside.step(x, &y) == SL_STATUS_OK);
  CHECK(out == 0);
  const std::vector<unsigned char> saved = inside.save();
  CHECK(saved.size() == inside.save_size());
  outside.load(saved);
  REQUIRE(outside.step(x, &y) == SL_STATUS_OK);
  CHECK(out == 7);
  std::vector<unsigned char> kept(inside.save_size(), 0);
  inside.save(kept.data(), kept.size());
  CHECK(kept == saved);
  CHECK_THROWS_AS(inside.save(kept.data(), kept.size() - 1), Error);
  outside.load(kept.data(), kept.size());
  CHECK(outside.save() == saved);
  REQUIRE(outside.tensor_count() > 0);
  CHECK(std::string(outside.tensor(0).name) != "");
}

TEST_CASE("options through the wrapper", "[wrapper]") {
  const Layer layer(R"({"type":"Serial","layers":[{"type":"Emit"},{"type":"Conditioning",)"
                    R"("conditioning_name":"c","projection":"identity","combination":"add"}]})");
  const sl_channel_spec spec = channel_spec(std::vector<int64_t>(1, 2));
  float in[4] = {1, 2, 3, 4}, added[4] = {10, 20, 30, 40}, seen[4] = {}, out[4] = {};
  const std::vector<sl_constant> constants = {{"c", sequence(spec, 1, 2, added)}};
  std::vector<sl_sequence> emits = {sequence(spec, 1, 2, seen)};
  const sl_run_options run = run_options(constants, &emits);
  sl_sequence y = sequence(spec, 1, 2, out);
  layer.apply(sequence(spec, 1, 2, in), &y, &run);
  CHECK((out[0] == 11 && out[3] == 44));
  CHECK((seen[0] == 1 && seen[3] == 4));
  CHECK(run_options(constants).num_emits == 0);
  const sl_state_options options = state_options(spec, 3, 2, constants);
  CHECK((options.batch == 3 && options.max_steps == 2 && options.input.dims[0] == 2));
  CHECK((options.constants == constants.data() && options.num_constants == 1));
  CHECK_THROWS_AS(channel_spec(std::vector<int64_t>(SL_MAX_CHANNEL_RANK + 1, 1)),
                  std::length_error);
}

TEST_CASE("registries through the wrapper", "[wrapper]") {
  Registry registry;
  sl_layer_callbacks callbacks = SL_LAYER_CALLBACKS_INIT;
  callbacks.create = [](void*, const char*, const sl_weight_source* source, void**, sl_error*) {
    return sl_status{find_weight(source, "gain").dims[0] == 1 ? SL_STATUS_OK : SL_STATUS_SHAPE};
  };
  callbacks.layer = [](const void*, const sl_sequence*, sl_sequence*, sl_error*) {
    return sl_status{SL_STATUS_OK};
  };
  registry.add("Mine", callbacks);
  CHECK(registry.types().size() == Registry::built_in_types().size() + 1);
  Weights weights;
  float gain = 2;
  weights.add("params.gain", tensor({1}, &gain));
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.registry = registry.get();
  CHECK(Layer(R"({"type":"Mine"})", weights, &options).block_size() == 1);
  CHECK(version() == sl_version());
  CHECK(dtype_size(SL_DTYPE_COMPLEX64) == 8);
}

}  // namespace
}  // namespace sequence_layers
