// Tests packed weights files: models made of them equal the original ones, their matrices are
// mapped, and files that are damaged or do not fit are refused.
#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "faults/faults.h"
#include "faults/golden_cases.h"
#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;
using nlohmann::ordered_json;

constexpr const char* kDense = R"({"type":"Dense","features":24})";

sl_layer_options options_of(const char* format) {
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.weight_format = format;
  return options;
}

std::string saved(const Layer& layer) {
  const std::string path = scratch_directory() + "/model.safetensors";
  layer.save_weights(path);
  return read_file(path);
}

Weights read(const std::string& image) { return Weights::read(image.data(), image.size()); }

// A weights file in its parts.
struct Image {
  explicit Image(const std::string& file) {
    uint64_t size = 0;
    std::memcpy(&size, file.data(), sizeof(size));
    header = ordered_json::parse(file.substr(sizeof(size), size));
    data = file.substr(sizeof(size) + size);
    index = ordered_json::parse(header["__metadata__"]["packed"].get<std::string>());
  }
  std::string file() {
    header["__metadata__"]["packed"] = index.dump();
    const std::string text = header.dump();
    const uint64_t size = text.size();
    return std::string(reinterpret_cast<const char*>(&size), sizeof(size)) + text + data;
  }
  ordered_json header, index;
  std::string data;
};

TEST_CASE("every recorded case gives the same from packed weights", "[packed]") {
  for (const char* format : {"float32", "bfloat16"}) {
    const sl_layer_options options = options_of(format);
    int64_t packed = 0;
    for_each_golden_case([&](const GoldenCase& golden) {
      const Weights weights = select_weights(golden.tensors, golden.name + "/weights/");
      INFO(golden.name);
      const Layer layer(golden.config(), weights, &options);
      if (weights.tensor_count() == 0) return;
      const std::string file = saved(layer);
      packed += file.find("@panels") != std::string::npos;
      const Layer again(golden.config(), read(file));
      const Case c = golden.check(&layer);
      CHECK(compare_bits(apply(again, c.input), apply(layer, c.input)).reason == "");
      CHECK(sl_layer_parameter_count(again.get()) == sl_layer_parameter_count(layer.get()));
      // Packing what is packed changes nothing.
      CHECK(saved(again) == file);
    });
    CHECK(packed > 500);
  }
}

Layer dense(const char* format) {
  const sl_layer_options options = options_of(format);
  return make_model(kDense, 40, &options);
}

TEST_CASE("a packed file keeps the metadata and aligns the panels", "[packed]") {
  Weights weights = read(saved(dense("bfloat16")));
  const std::string file = saved(Layer(kDense, weights));
  const Image image(file);
  CHECK((file.size() - image.data.size()) % 64 == 0);
  const auto& panels = image.header.at("params.kernel@panels");
  CHECK(panels.at("data_offsets").at(0).get<int64_t>() % 64 == 0);
  CHECK(panels.at("shape").at(0) == 40 * 32 * 2);
  CHECK_FALSE(image.header.contains("params.kernel"));
  CHECK(image.header.contains("params.bias"));
  CHECK(image.index.at("tensors").at("params.kernel").at("shape") == ordered_json({40, 24}));
}

TEST_CASE("a packed file that another tool has written anew works", "[packed]") {
  const Layer layer = dense("int8");
  Image image(saved(layer));
  for (size_t shift = 0; shift < 8; ++shift) {
    image.header["__metadata__"]["note"] = std::string(shift, 'x');
    const std::string path = scratch_directory() + "/model.safetensors";
    std::ofstream(path, std::ios::binary) << image.file();
    std::mt19937 rng(1);
    const Input input{random_sequence(SL_DTYPE_FLOAT32, {2, 3, 40}, rng), {}};
    const Layer again(kDense, Weights::open(path));
    CHECK(compare_bits(apply(again, input), apply(layer, input)).reason == "");
  }
}

std::vector<uint8_t> saved_state(const Layer& layer) {
  Input input{make_sequence(SL_DTYPE_FLOAT32, {1, 4, 40}), {}};
  Stepper stepper(layer, input);
  return stepper.save();
}

TEST_CASE("states move between a model and its packed file, not between formats", "[packed]") {
  const auto state_moves = [](const Layer& from, const Layer& to) {
    Input input{make_sequence(SL_DTYPE_FLOAT32, {1, 4, 40}), {}};
    Stepper stepper(to, input);
    return thrown_by([&] { stepper.load(saved_state(from)); }).status == SL_STATUS_OK;
  };
  const Layer plain = dense(nullptr), half = dense("bfloat16");
  const Layer packed(kDense, read(saved(plain))), packed_half(kDense, read(saved(half)));
  CHECK(state_moves(plain, packed));
  CHECK(state_moves(packed, plain));
  CHECK(state_moves(half, packed_half));
  CHECK_FALSE(state_moves(plain, half));
  CHECK_FALSE(state_moves(packed, packed_half));
}

std::string refusal(const std::string& file, const char* config = kDense,
                    const char* format = nullptr) {
  const sl_layer_options options = options_of(format);
  const Failure failure = thrown_by([&] { Layer(config, read(file), &options); });
  CHECK(failure.status == (format ? SL_STATUS_INVALID_ARGUMENT : SL_STATUS_WEIGHTS));
  return failure.message;
}

TEST_CASE("packed files that do not fit are refused", "[packed]") {
  const std::string file = saved(dense("bfloat16"));
  CHECK_THAT(refusal(file.substr(0, file.size() - 1)), Contains("cut short"));
  CHECK_THAT(refusal(file, R"({"type":"Dense","features":23})"),
             Contains("params.bias") || Contains("params.kernel"));
  CHECK_THAT(refusal(file, kDense, "float32"),
             Contains("stored packed as bfloat16 and cannot become float32"));
  const auto changed = [&](auto&& change) {
    Image image(file);
    change(image);
    return refusal(image.file());
  };
  CHECK_THAT(changed([](Image& i) { i.index["version"] = 2; }),
             Contains("version 2") && Contains("pack the model again"));
  CHECK_THAT(changed([](Image& i) { i.index["panels"]["params.kernel@panels"]["inputs"] = 39; }),
             Contains("[39, 24]") && Contains("pack the model again"));
  CHECK_THAT(
      changed([](Image& i) { i.index["panels"]["params.kernel@panels"]["format"] = "float32"; }),
      Contains("of float32 in"));
  CHECK_THAT(
      changed([](Image& i) { i.index["panels"]["params.kernel@panels"]["format"] = "float8"; }),
      Contains("float32, bfloat16, int8, int4"));
  CHECK_THAT(changed([](Image& i) { i.index["panels"].clear(); }),
             Contains("params.kernel") && Contains("packed"));
  CHECK_THAT(changed([](Image& i) { i.index["panels"]["x@panels"] = i.index["panels"].front(); }),
             Contains("\"x@panels\" are missing"));
  CHECK_THAT(changed([](Image& i) { i.index["tensors"].clear(); }), Contains("params.kernel"));
  CHECK_THAT(changed([](Image& i) {
               i.index["tensors"]["params.kernel"]["shape"] = {int64_t{1} << 40, int64_t{1} << 40};
             }),
             Contains("fewer elements"));
  CHECK_THAT(changed([](Image& i) {
               i.index["tensors"]["params.kernel"]["shape"] = {int64_t{1} << 35, 24};
             }),
             Contains("pack the model again"));
  CHECK_THAT(changed([](Image& i) { i.index["fingerprint"] = "xyz"; }), Contains("hexadecimal"));
  CHECK_THAT(changed([](Image& i) { i.index = 7; }), Contains("\"version\""));
}

// Kilobytes of this process by a line of /proc/self/smaps_rollup.
int64_t kilobytes(const std::string& line) {
  std::istringstream lines(read_file("/proc/self/smaps_rollup"));
  std::string text;
  while (std::getline(lines, text)) {
    if (text.starts_with(line)) return std::stoll(text.substr(line.size()));
  }
  FAIL("no " << line);
  return 0;
}

// A directory with a packed model of 64 MiB.
constexpr int64_t kLargeKilobytes = 4 * 2048 * 2048 * 4 / 1024;

std::string large_packed_model() {
  const std::string directory = scratch_directory();
  const std::string config =
      R"({"type":"Repeat","num_repeats":4,"layer":{"type":"Dense","features":2048}})";
  std::mt19937 rng(1);
  WeightHint hint;
  hint.any = 2048;
  hint.stack = {4};
  const Layer layer(config, make_weights(config, {{"", hint}}, rng));
  layer.save_weights(directory + "/model.safetensors");
  std::ofstream(directory + "/config.json") << config;
  return directory;
}

TEST_CASE("packed matrices are mapped, not copied", "[packed]") {
  const std::string directory = large_packed_model();
  const int64_t before = kilobytes("Anonymous:");
  const Layer layer = Layer::open(directory);
  const Input input{make_sequence(SL_DTYPE_FLOAT32, {1, 1, 2048}), {}};
  apply(layer, input);
  CHECK(kilobytes("Anonymous:") - before < kLargeKilobytes / 50);
}

TEST_CASE("a state maps all packed matrices, so that no step has to", "[packed]") {
  const Layer layer = Layer::open(large_packed_model());
  const int64_t before = kilobytes("Rss:");
  sl_channel_spec input = SL_CHANNEL_SPEC_INIT;
  input.rank = 1;
  input.dims[0] = 2048;
  const State state(layer, input);
  CHECK(kilobytes("Rss:") - before > kLargeKilobytes * 9 / 10);
}

}  // namespace
}  // namespace sl::testing
