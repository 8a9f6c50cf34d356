// Tests graphs beyond the recorded cases: branches of any latency, memory that nodes share, errors.
#include <catch2/catch.hpp>

#include "support/models.h"
#include "testing/compare.h"
#include "testing/contract.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

std::string graph(const std::string& nodes, const std::string& more = "") {
  return R"({"type":"Graph","nodes":[)" + nodes + "]" + more + "}";
}

std::string conv(int kernel, const std::string& padding, int strides = 1) {
  return R"({"type":"Conv1D","filters":3,"kernel_size":)" + std::to_string(kernel) +
         R"(,"strides":)" + std::to_string(strides) + R"(,"padding":")" + padding + R"("})";
}

// Branches of other latencies, a value that a layer in place must not overwrite, values that stay
// over a long distance, an input that is read twice.
const char* const kPlain = R"(
  {"name":"a","layer":{"type":"Scale","scale":2}},
  {"name":"b","layer":{"type":"Relu"}},
  {"name":"c","inputs":["a","b"],"combination":"subtract"},
  {"name":"d","layer":{"type":"Tanh"}},
  {"name":"e","inputs":["d","d"],"combination":"product"},
  {"name":"f","inputs":["e","a","input"],"combination":"add"},
  {"name":"view","layer":{"type":"Reshape","output_shape":[3,1]}},
  {"name":"flat","layer":{"type":"Flatten"}},
  {"name":"g","inputs":["flat","c"],"combination":"maximum"})";

Tensor input_of(int64_t time, uint32_t seed = 1) {
  std::mt19937 rng(seed);
  return random_sequence(SL_DTYPE_FLOAT32, {3, time, 3}, rng);
}

std::string failures(const Layer& layer, int64_t time) {
  Case c;
  c.layer = &layer;
  c.input.x = input_of(time);
  c.probe_receptive_field = true;
  const Report report = check_contract(c);
  CHECK(report.checks.size() >= 5);
  return report.failures();
}

TEST_CASE("a graph computes what its nodes say", "[graph]") {
  const Layer layer = make_model(graph(kPlain), 3);
  const Tensor x = input_of(9);
  const Tensor y = apply(layer, {x, {}});
  for (int64_t i = 0; i < y.size(); ++i) {
    if (!x.valid(i / 27, i / 3 % 9)) continue;
    const double v = x.at(i).real(), a = 2 * v, b = std::max(a, 0.0), c = a - b;
    const double f = std::tanh(c) * std::tanh(c) + a + v;
    CHECK(y.at(i).real() == Approx(std::max(f, c)).margin(1e-6));
  }
  CHECK(failures(layer, 9) == "");
}

TEST_CASE("streams of a graph agree with whole runs at every latency", "[graph]") {
  const std::string late = R"({"name":"late","inputs":"input","layer":)";
  const std::string join = R"(,{"name":"join","inputs":["late","input"],"combination":"add"})";
  const std::string more =
      R"(,{"name":"later","layer":)" + conv(3, "reverse_causal") +
      R"(},{"name":"all","inputs":["later","input","late"],"combination":"concat"})";
  for (const std::string& layer :
       {conv(3, "causal"), conv(5, "reverse_causal"), conv(4, "reverse_causal_valid")}) {
    INFO(layer);
    CHECK(failures(make_model(graph(late + layer + "}" + join + more), 3), 17) == "");
  }
  const Layer two = make_model(graph(late + conv(5, "reverse_causal") + "}" + join + more), 3);
  CHECK(two.input_latency() == 6);
  CHECK(two.output_latency() == 6);
}

TEST_CASE("a graph delays the input of a layer whose block would begin too early", "[graph]") {
  // Down and up, with a skip over both, after a layer that is late by 3 steps.
  const std::string nodes = R"({"name":"late","layer":)" + conv(4, "reverse_causal") +
                            R"(},{"name":"down","layer":)" + conv(3, "causal", 2) +
                            R"(},{"name":"up","layer":{"type":"Upsample1D","rate":2}},)"
                            R"({"name":"sum","inputs":["up","late"],"combination":"add"})";
  const Layer layer = make_model(graph(nodes), 3);
  CHECK(layer.block_size() == 2);
  CHECK(layer.output_latency() == 4);
  CHECK(failures(layer, 18) == "");
}

TEST_CASE("emits of a graph come with the latency of its output", "[graph]") {
  const std::string nodes = R"({"name":"now","layer":{"type":"Relu"},"emit":true},)"
                            R"({"name":"late","inputs":"input","layer":)" +
                            conv(4, "reverse_causal") +
                            R"(,"emit":true},{"name":"sum","inputs":["now","input"],)"
                            R"("combination":"add"})";
  const Layer layer = make_model(graph(nodes), 3);
  CHECK(layer.output_latency() == 3);
  const Tensor x = input_of(12);
  std::vector<NamedTensor> whole;
  const Tensor y = apply(layer, {x, {}}, &whole);
  Stepper::Options options;
  options.with_emits = true;
  const Input input{x, {}};
  Stepper stepper(layer, input, options);
  CHECK(compare_sequences(stepper.run_all(), y, {}).reason == "");
  REQUIRE(whole.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    INFO(whole[i].name);
    const Tensor& steps = stepper.emits().at(i).value;
    CHECK(stepper.emits().at(i).name == whole[i].name);
    CHECK(compare_sequences(slice_time(steps, 3, steps.time()), whole[i].value, {}).reason == "");
  }
  CHECK(whole[0].name == "late");  // "now" waits for it
  CHECK(whole[1].name == "now");
}

// A graph of random nodes of 3 channels, each of which reads earlier ones; the last reads all that
// nobody has read.
std::string random_graph(std::mt19937& rng) {
  const auto pick = [&](size_t count) {
    return std::uniform_int_distribution<size_t>(0, count - 1)(rng);
  };
  const std::vector<std::string> layers = {
      R"({"type":"Relu"})",
      R"({"type":"Tanh"})",
      R"({"type":"Reshape","output_shape":[3]})",
      R"({"type":"Serial","layers":[{"type":"Scale","scale":0.5},{"type":"Add","shift":1}]})",
      conv(3, "causal"),
      conv(3, "reverse_causal"),
      R"({"type":"Conv1D","filters":3,"kernel_size":4,"padding":[1,2]})",
      R"({"type":"Serial","layers":[)" + conv(2, "causal", 2) +
          R"(,{"type":"Upsample1D","rate":2}]})"};
  const std::vector<std::string> combinations = {"add", "mean", "maximum", "subtract"};
  std::vector<std::string> names = {"input"};
  std::vector<bool> read = {true};
  std::string nodes;
  const size_t count = 3 + pick(8);
  for (size_t i = 0; i < count; ++i) {
    std::vector<size_t> inputs = {pick(names.size())};
    for (size_t more = pick(3); more > 0; --more) inputs.push_back(pick(names.size()));
    if (i + 1 == count) {
      for (size_t k = 0; k < names.size(); ++k)
        if (!read[k]) inputs.push_back(k);
    }
    std::string list;
    for (const size_t k : inputs) {
      list += (list.empty() ? "\"" : ",\"") + names[k] + "\"";
      read[k] = true;
    }
    const std::string name = "n" + std::to_string(i);
    nodes += (nodes.empty() ? "" : ",") + (R"({"name":")" + name) + R"(","inputs":[)" + list + "]";
    if (inputs.size() > 1)
      nodes += R"(,"combination":")" + combinations[pick(combinations.size())] + "\"";
    if (pick(4) > 0) nodes += R"(,"layer":)" + layers[pick(layers.size())];
    if (pick(4) == 0) nodes += R"(,"emit":true)";
    nodes += "}";
    names.push_back(name);
    read.push_back(false);
  }
  return graph(nodes);
}

TEST_CASE("random graphs keep the contract", "[graph]") {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    std::mt19937 rng(seed);
    const std::string config = random_graph(rng);
    INFO(config);
    CHECK(failures(make_model(config, 3), 12) == "");
  }
}

TEST_CASE("graphs nest, name any output, and run layers that cannot step", "[graph]") {
  const std::string inner = graph(kPlain, R"(,"output":"c")");
  const std::string outer = graph(R"({"name":"inner","layer":)" + inner +
                                      R"(},{"name":"tap","layer":{"type":"Emit"},"emit":true})",
                                  R"(,"output":"inner")");
  // The nodes after c are read by nobody.
  CHECK_THROWS_WITH(make_model(outer, 3), Contains("nothing reads the node \"g\""));
  const std::string first = graph(R"({"name":"a","layer":{"type":"Abs"}},)"
                                  R"({"name":"b","inputs":"input","emit":true})",
                                  R"(,"output":"a")");
  CHECK(failures(make_model(graph(R"({"name":"inner","layer":)" + first + "}"), 3), 9) == "");
  const Layer whole = make_model(
      graph(R"({"name":"both","layer":{"type":"Bidirectional","forward":{"type":"Relu"},)"
            R"("backward":{"type":"Tanh"},"combination":"add"}},)"
            R"({"name":"sum","inputs":["both","input"],"combination":"mean"})"),
      3);
  CHECK_FALSE(whole.supports_step());
  CHECK(failures(whole, 9) == "");
}

TEST_CASE("a graph takes back memory that no node reads any more", "[graph]") {
  const auto bytes = [](int nodes) {
    std::string list = R"({"name":"first","layer":{"type":"Softmax"}})";
    for (int i = 0; i < nodes; ++i)
      list += R"(,{"name":"n)" + std::to_string(i) + R"(","layer":{"type":"Softmax"}})";
    const Layer layer =
        make_model(graph(list + R"(,{"name":"sum","inputs":["n)" + std::to_string(nodes - 1) +
                         R"(","first"],"combination":"add"})"));
    sl_state_options options = SL_STATE_OPTIONS_INIT;
    options.batch = 1;
    options.input.rank = 1;
    options.input.dims[0] = 1000;
    options.max_steps = 10;
    size_t size = 0, alignment = 0;
    check([&](sl_error* e) { return sl_state_size(layer.get(), &options, &size, &alignment, e); });
    return static_cast<double>(size);
  };
  // A node of 40 kB more would show.
  CHECK(bytes(40) < bytes(4) + 30e3);
}

TEST_CASE("errors of a graph name its node", "[graph]") {
  const auto message = [](const std::string& nodes, const std::string& more = "") {
    return thrown_by([&] { make_model(graph(nodes, more), 3); }).message;
  };
  const std::string a = R"({"name":"first","layer":{"type":"Relu"}},)";
  CHECK_THAT(message(a + R"({"name":"b","inputs":["frist","input"]})"),
             Contains("$.nodes[1].inputs (Graph): no node \"frist\" comes before; did you mean "
                      "\"first\"?"));
  CHECK_THAT(message(a + R"({"name":"first"})"),
             Contains("$.nodes[1].name (Graph): there is another node \"first\""));
  CHECK_THAT(message(R"({"name":"input"})"), Contains("expected a name other than \"input\""));
  CHECK_THAT(message(a + R"({"name":"b","type":"Relu"})"), Contains("$.nodes[1] (Graph)"));
  CHECK_THAT(message(a + R"({"name":"b","inptus":"first"})"), Contains("inputs"));
  CHECK_THAT(message(a + R"({"name":"b","combination":"add"})"),
             Contains("a node with one input has nothing to combine"));
  CHECK_THAT(message(""), Contains("expected a list of at least one node"));
  CHECK_THAT(message(a + R"({"name":"b"})", R"(,"output":"c")"),
             Contains("$.output (Graph): no node \"c\""));
  CHECK_THAT(message(R"({"name":"down","layer":)" + conv(2, "causal", 2) +
                     R"(},{"name":"b","inputs":["down","input"]})"),
             Contains("$.nodes[1].inputs (Graph): expected inputs of equal output ratios, \"down\" "
                      "has 1/2 and \"input\" 1/1"));
  CHECK_THAT(message(a + R"({"name":"b","layer":{"type":"Conv1D","filters":0}})"),
             Contains("$.nodes[1].layer.filters"));

  const Layer lengths =
      make_model(graph(R"({"name":"short","layer":)" + conv(3, "valid") +
                       R"(},{"name":"sum","inputs":["short","input"],"combination":"add"})"),
                 3);
  CHECK_THAT(thrown_by([&] {
               apply(lengths, {input_of(9), {}});
             }).message,
             Contains("node \"sum\" reads 7 steps of \"short\" and 9 of \"input\""));
}

}  // namespace
}  // namespace sl::testing
