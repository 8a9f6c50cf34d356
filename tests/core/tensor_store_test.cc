#include "model/tensor_store.h"

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/status.h"

namespace sl {
namespace {

using Catch::Matchers::Contains;

std::string image_of(const std::string& header, const std::string& data = "") {
  const uint64_t size = header.size();
  std::string image(sizeof(size), '\0');
  std::memcpy(image.data(), &size, sizeof(size));
  return image + header + data;
}

std::string floats(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

std::shared_ptr<TensorStore> read(const std::string& image) {
  return TensorStore::read(image.data(), image.size());
}

std::string message_of(const std::string& image) {
  try {
    read(image);
  } catch (const Error& error) {
    CHECK(error.code() == Code::kWeights);
    return error.what();
  }
  return "no error";
}

// The error for an image with one tensor "w" described by `entry`, and 8 bytes of data.
std::string entry_message(const std::string& entry) {
  return message_of(image_of("{\"w\":" + entry + "}", floats({1, 2})));
}

constexpr const char* kGood =
    R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"rate":"16000"}})";

TEST_CASE("a well-formed image is read", "[weights]") {
  const auto store = read(image_of(kGood, floats({1.5f, -2})));
  REQUIRE(store->size() == 1);
  CHECK(store->name_at(0) == "w");
  const Tensor* w = store->find("w");
  REQUIRE(w);
  CHECK(w->dtype == DType::kFloat32);
  CHECK(w->shape == Shape{2});
  CHECK(to_floats(*w) == std::vector<float>{1.5f, -2});
  REQUIRE(store->metadata("rate"));
  CHECK(*store->metadata("rate") == "16000");
  CHECK_FALSE(store->metadata("none"));
  CHECK_FALSE(store->find("v"));
}

TEST_CASE("a header can have any length: data need not be aligned", "[weights]") {
  for (int padding = 0; padding < 8; ++padding) {
    const std::string header = kGood + std::string(static_cast<size_t>(padding), ' ');
    const auto store = read(image_of(header, floats({1.5f, -2})));
    const Tensor* w = store->find("w");
    CHECK(reinterpret_cast<uintptr_t>(w->data) % sizeof(float) == 0);
    CHECK(to_floats(*w) == std::vector<float>{1.5f, -2});
  }
}

TEST_CASE("every stored dtype is read", "[weights]") {
  const std::string header = R"({"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},)"
                             R"("b":{"dtype":"BF16","shape":[1],"data_offsets":[2,4]},)"
                             R"("c":{"dtype":"I32","shape":[],"data_offsets":[4,8]},)"
                             R"("d":{"dtype":"I8","shape":[1,1],"data_offsets":[8,9]},)"
                             R"("e":{"dtype":"BOOL","shape":[1],"data_offsets":[9,10]},)"
                             R"("f":{"dtype":"F32","shape":[0],"data_offsets":[10,10]}})";
  const auto store =
      read(image_of(header, std::string("\x00\x3c\x80\x3f\x07\x00\x00\x00\x05\x01", 10)));
  CHECK(store->size() == 6);
  CHECK(to_floats(*store->find("a")) == std::vector<float>{1});
  CHECK(to_floats(*store->find("b")) == std::vector<float>{1});
  CHECK(store->find("c")->shape.empty());
  int32_t seven = 0;
  std::memcpy(&seven, store->find("c")->data, sizeof(seven));
  CHECK(seven == 7);
  CHECK(*store->find("d")->data == std::byte{5});
  CHECK(store->find("e")->dtype == DType::kBool);
  CHECK(to_floats(*store->find("f")).empty());
}

TEST_CASE("complex tensors are pairs of floats", "[weights]") {
  const auto entry = [](const char* dtype, const char* shape) {
    return std::string(R"({"w@complex64":{"dtype":")") + dtype + R"(","shape":)" + shape +
           R"(,"data_offsets":[0,8]}})";
  };
  const auto store = read(image_of(entry("F32", "[1,2]"), floats({1, 2})));
  const Tensor* w = store->find("w");
  REQUIRE(w);
  CHECK(w->dtype == DType::kComplex64);
  CHECK(w->shape == Shape{1});
  const auto expected = Contains("a complex tensor is F32 with a last axis of 2");
  CHECK_THAT(message_of(image_of(entry("F32", "[2,1]"), floats({1, 2}))), expected);
  CHECK_THAT(message_of(image_of(entry("I32", "[1,2]"), floats({1, 2}))), expected);
  CHECK_THAT(message_of(image_of(entry("F16", "[2,2]"), floats({1, 2}))), expected);
}

TEST_CASE("images that are not safetensors are refused", "[weights]") {
  const auto expected = Contains("weights in memory: not a safetensors file");
  CHECK_THAT(message_of(""), expected);
  CHECK_THAT(message_of("1234567"), expected);
  CHECK_THAT(message_of(std::string(8, '\xff')), expected);
  CHECK_THAT(message_of(image_of("not JSON")), expected);
  CHECK_THAT(message_of(image_of("[1, 2]")), expected);
  CHECK_THAT(message_of(image_of("{\"w\": ")), expected);
  CHECK_THAT(message_of(image_of("\xff\xfe{}")), expected);
  CHECK_THAT(message_of(image_of("\xef\xbb\xbf{}")), expected);
  CHECK_THAT(message_of(image_of("")), expected);
  const uint64_t huge = 100'000'001;
  std::string image(sizeof(huge) + huge, ' ');
  std::memcpy(image.data(), &huge, sizeof(huge));
  image.back() = '}';
  image[sizeof(huge)] = '{';
  CHECK_THAT(message_of(image),
             Contains("would have 100000001 bytes, at most 100000000 are allowed"));
}

TEST_CASE("every truncation of a valid image is refused", "[weights]") {
  const std::string image = image_of(kGood, floats({1, 2}));
  for (size_t size = 0; size < image.size(); ++size) {
    INFO(size << " of " << image.size() << " bytes");
    CHECK(message_of(image.substr(0, size)) != "no error");
  }
}

TEST_CASE("invalid entries are refused", "[weights]") {
  CHECK_THAT(entry_message("7"), Contains("tensor \"w\": needs \"dtype\""));
  CHECK_THAT(entry_message("{}"), Contains("needs \"dtype\", \"shape\" and \"data_offsets\""));
  CHECK_THAT(entry_message(R"({"dtype":"F64","shape":[1],"data_offsets":[0,8]})"),
             Contains("dtype \"F64\" is not read: expected F32"));
  CHECK_THAT(entry_message(R"({"dtype":7,"shape":[1],"data_offsets":[0,8]})"),
             Contains("dtype 7 is not read"));
  for (const char* shape : {"2", "[-2]", "[2.5]", "[\"2\"]", "[1,1,1,1,1,1,1,1,1,1,2]", "null",
                            "[18446744073709551615]", "[1099511627776,1099511627776]"}) {
    INFO(shape);
    CHECK_THAT(entry_message(std::string(R"({"dtype":"F32","shape":)") + shape +
                             R"(,"data_offsets":[0,8]})"),
               Contains("bad \"shape\""));
  }
  for (const char* offsets : {"8", "[0]", "[0,4,8]", "[-8,0]", "[\"0\",8]", "[0.5,8]"}) {
    INFO(offsets);
    CHECK_THAT(
        entry_message(std::string(R"({"dtype":"F32","shape":[2],"data_offsets":)") + offsets + "}"),
        Contains("bad \"data_offsets\""));
  }
  for (const char* offsets :
       {"[0,12]", "[8,0]", "[8,16]", "[18446744073709551608,0]", "[0,18446744073709551615]"}) {
    INFO(offsets);
    CHECK_THAT(
        entry_message(std::string(R"({"dtype":"F32","shape":[2],"data_offsets":)") + offsets + "}"),
        Contains("is it cut short?"));
  }
  CHECK_THAT(entry_message(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"),
             Contains("F32 [3] takes 12 bytes, its data_offsets hold 8"));
  // The product of the other dimensions must not overflow, even if one dimension is zero.
  CHECK_THAT(entry_message(
                 R"({"dtype":"F32","shape":[1099511627776,0,1099511627776],"data_offsets":[0,0]})"),
             Contains("bad \"shape\""));
}

TEST_CASE("deep nesting in a header does not exhaust the stack", "[weights]") {
  const std::string deep = std::string(200000, '[') + std::string(200000, ']');
  CHECK(entry_message(deep) != "no error");
  CHECK(entry_message(R"({"dtype":)" + deep + R"(,"shape":[2],"data_offsets":[0,8]})") !=
        "no error");
}

TEST_CASE("metadata must be strings", "[weights]") {
  CHECK_NOTHROW(read(image_of(R"({"__metadata__":null})")));
  CHECK_THAT(message_of(image_of(R"({"__metadata__":{"a":1,"b":"x"}})")),
             Contains("metadata \"a\": expected a string, got 1"));
  CHECK_THAT(message_of(image_of(R"({"__metadata__":7})")),
             Contains("\"__metadata__\": expected an object of strings, got number"));
}

TEST_CASE("tensors are added one by one", "[weights]") {
  TensorStore store;
  std::vector<float> values = {1, 2, 3};
  store.add("b", DType::kFloat32, {3}, values.data());
  store.add("a", DType::kFloat32, {1}, values.data());
  values[0] = 7;
  CHECK(to_floats(*store.find("b")) == std::vector<float>{1, 2, 3});
  CHECK(store.name_at(0) == "a");
  CHECK(store.name_at(1) == "b");
  CHECK_THROWS_WITH(store.add("a", DType::kFloat32, {1}, values.data()),
                    "there is a tensor \"a\" already");
}

TEST_CASE("different sets have different fingerprints", "[weights]") {
  const auto fingerprint = [](const char* name, const Shape& shape, std::vector<float> values) {
    TensorStore store;
    store.add(name, DType::kFloat32, shape, values.data());
    return store.fingerprint();
  };
  const uint64_t one = fingerprint("w", {2}, {1, 2});
  CHECK(fingerprint("w", {2}, {1, 2}) == one);
  CHECK(fingerprint("v", {2}, {1, 2}) != one);
  CHECK(fingerprint("w", {1, 2}, {1, 2}) != one);
  CHECK(fingerprint("w", {2}, {1, 3}) != one);
  // A change of any element counts, in large tensors too.
  std::vector<float> large(1000, 0.5f);
  const uint64_t before = fingerprint("w", {1000}, large);
  large[500] = 0.25f;
  CHECK(fingerprint("w", {1000}, large) != before);
}

TEST_CASE("weights are read from files", "[weights]") {
  const std::filesystem::path directory = std::filesystem::temp_directory_path();
  const std::string path = directory / "sl_tensor_store_test.safetensors";
  std::ofstream(path, std::ios::binary) << image_of(kGood, floats({3, 4}));
  const auto store = TensorStore::open(path);
  // The mapping stays valid after the file is deleted.
  std::remove(path.c_str());
  CHECK(to_floats(*store->find("w")) == std::vector<float>{3, 4});
  CHECK_THROWS_WITH(TensorStore::open(path), Contains("cannot be opened: No such file"));
  CHECK_THROWS_WITH(TensorStore::open(directory), Contains("it is a directory, not a file"));

  std::ofstream(path, std::ios::binary);
  CHECK_THROWS_WITH(TensorStore::open(path), Contains("not a safetensors file: 0 bytes"));
  std::remove(path.c_str());
}

}  // namespace
}  // namespace sl
