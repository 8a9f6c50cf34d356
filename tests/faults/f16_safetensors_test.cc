// Fault 16: the library read files of weights that the safetensors library (0.8) refuses, one of
// them with wrong numbers.
#include <catch2/catch.hpp>
#include <cstring>

#include "faults/faults.h"
#include "support/models.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

Failure read(const std::string& header, size_t data = 8) {
  const uint64_t size = header.size();
  std::string image(sizeof(size), '\0');
  std::memcpy(image.data(), &size, sizeof(size));
  image += header + std::string(data, '\0');
  sl_weights* weights = nullptr;
  const Failure failure = failure_of(
      [&](sl_error* e) { return sl_weights_read(image.data(), image.size(), &weights, e); });
  sl_weights_free(weights);
  return failure;
}

struct Case {
  const char* header;
  const char* message;
};

#define SL_W R"("w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})"
#define SL_V(shape, offsets) \
  R"("v":{"dtype":"F32","shape":)" shape R"(,"data_offsets":)" offsets "}"

// Each header is followed by 8 bytes of data.
constexpr Case kRefused[] = {
    {"{" SL_W "," SL_W "}", "$.w: the key is there twice"},
    {"{" SL_W R"(,"\u0077":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "twice"},
    {R"({"w":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}})", "$.w.dtype"},
    {R"({"__metadata__":{"a":"1","a":"2"},)" SL_W "}", "$.__metadata__.a"},
    {R"({"__metadata__":{},"__metadata__":{},)" SL_W "}", "twice"},
    // Every byte of the data must belong to exactly one tensor.
    {"{" SL_W "," SL_V("[2]", "[0,8]") "}", "begins at 0, but the tensor before it ends at 8"},
    {"{" SL_W "," SL_V("[1]", "[4,8]") "}", "begins at 4"},
    {"{" SL_W "," SL_V("[0]", "[4,4]") "}", "begins at 4"},
    {"{" SL_V("[1]", "[4,8]") "}", "begins at 4, but the tensor before it ends at 0"},
    {"{" SL_V("[1]", "[0,4]") "}", "4 bytes that belong to no tensor follow"},
    {"{}", "8 bytes that belong to no tensor follow"},
    {"{" SL_W "," SL_V("[0]", "[16,16]") "}", "is it cut short?"},
    // The header must be one JSON object in UTF-8.
    {"{" SL_W "}{}", "not JSON"},
    {"{" SL_W "} x", "not JSON"},
    {"\xef\xbb\xbf{" SL_W "}", "byte order mark"},
    {"{" SL_W ",}", "not JSON"},
    {"{" SL_W R"(,"\ud800":null})", "not JSON"},
    {"{" SL_W ",\"\xff\":null}", "not JSON"},
    {"{\"a\x01\":null," SL_W "}", "not JSON"},
    {"[]", "not a JSON object"},
    {"null", "not a JSON object"},
    {"", "not JSON"},
    // Numbers must be non-negative integers that are exactly representable.
    {"{" SL_V("[2.0]", "[0,8]") "}", "bad \"shape\""},
    {"{" SL_V("[2e0]", "[0,8]") "}", "bad \"shape\""},
    {"{" SL_V("[2,-0]", "[0,0]") "," SL_W "}", "bad \"shape\""},
    {"{" SL_V("[02]", "[0,8]") "}", "not JSON"},
    {"{" SL_V("[2]", "[-0,8]") "}", "bad \"data_offsets\""},
    {"{" SL_V("[2]", "[0,8,9]") "}", "bad \"data_offsets\""},
    {"{" SL_V("[18446744073709551616,0]", "[8,8]") "," SL_W "}", "bad \"shape\""},
    {"{" SL_V("[4294967296,4294967296]", "[8,8]") "," SL_W "}", "bad \"shape\""},
    {"{" SL_V("[4611686018427387904]", "[8,8]") "," SL_W "}", "bad \"shape\""},
    // Metadata values must be strings.
    {R"({"__metadata__":{"a":1},)" SL_W "}", "metadata \"a\": expected a string, got 1"},
    {R"({"__metadata__":{"a":null},)" SL_W "}", "metadata \"a\": expected a string, got null"},
    {R"({"__metadata__":[],)" SL_W "}", "expected an object of strings"},
    {R"({"__metadata__":7,)" SL_W "}", "expected an object of strings"},
    // Dtypes must be those of the format, in its spelling.
    {R"({"w":{"dtype":"f32","shape":[2],"data_offsets":[0,8]}})", "dtype \"f32\" is not read"},
    {R"({"w":{"dtype":0,"shape":[2],"data_offsets":[0,8]}})", "dtype 0 is not read"},
    {R"({"w":null})", "needs \"dtype\""},
};

constexpr const char* kAccepted[] = {
    "{" SL_W "}",
    " \n{" SL_W "}",
    "{" SL_W "}  \n\t\r",
    R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":[1,{"a":1.5}]}})",
    R"({"__metadata__":null,)" SL_W "}",
    R"({"__metadata__":{},)" SL_W "}",
    R"({"__metadata__":{"a":"1","b":""},)" SL_W "}",
    "{" SL_W "," SL_V("[0]", "[8,8]") "}",
    "{" SL_W "," SL_V("[0]", "[0,0]") "}",
    "{" SL_V("[0,3]", "[0,0]") "," SL_W "}",
    "{" SL_V("[1]", "[4,8]") R"(,"w":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})",
    R"({"\ud83d\ude00":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
};

TEST_CASE("fault 16: weights files are read as strictly as safetensors does", "[f16]") {
  for (const Case& c : kRefused) {
    INFO(c.header);
    const Failure failure = read(c.header);
    CHECK(failure.status == SL_STATUS_WEIGHTS);
    CHECK_THAT(failure.message, Contains(c.message));
  }
  const Failure nul = read(std::string("{" SL_W "}\0\0\0\0", sizeof("{" SL_W "}") + 3));
  CHECK(nul.status == SL_STATUS_WEIGHTS);
  CHECK_THAT(nul.message, Contains("not JSON") && Contains("a NUL byte"));
  for (const char* header : kAccepted) {
    INFO(header);
    CHECK(read(header).message == "");
  }
  CHECK(read("{}", 0).status == SL_STATUS_OK);
}

TEST_CASE("fault 16: headers nest as deep as safetensors allows", "[f16]") {
  const auto nested = [](size_t depth) {
    return R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":)" +
           std::string(depth, '[') + std::string(depth, ']') + "}}";
  };
  CHECK(read(nested(125)).status == SL_STATUS_OK);
  CHECK_THAT(read(nested(126)).message, Contains("nests deeper than 127"));
}

TEST_CASE("fault 16: two tensors cannot have the same name", "[f16]") {
  const Failure failure =
      read(R"({"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)"
           R"("w@complex64":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}})");
  CHECK(failure.status == SL_STATUS_WEIGHTS);
  CHECK_THAT(failure.message, Contains("there is a tensor \"w\" and also a \"w@complex64\""));
}

TEST_CASE("fault 16: the reported files are refused", "[f16]") {
  const std::pair<const char*, const char*> models[] = {
      {"st_dup_key", "$[\"params.bias\"]: the key is there twice"},
      {"st_hole", "tensor \"params.bias\""},
      {"st_trail_nul", "a NUL byte"},
      {"st_meta_int", "metadata \"rate\": expected a string, got 16000"}};
  for (const auto& [model, message] : models) {
    const ToolRun run =
        run_tool({"run", fault_input(std::string("models/") + model), fault_input("npy/x3.npy"),
                  "--output", scratch_directory() + "/o.npy"});
    INFO(model << ": " << run.output);
    CHECK(run.status == 1);
    CHECK_THAT(run.output, Contains(message));
  }
}

}  // namespace
}  // namespace sl::testing
