// Fault 3: a named pipe in place of a model's file blocked, a device used up memory, and a
// directory gave an internal error. Weights that were cut short between opening and creation ended
// the process.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "faults/faults.h"
#include "support/models.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;
namespace fs = std::filesystem;

// An object that is no regular file: what errors call it, and how to create it at a path.
struct Obstacle {
  const char* what;
  void (*make)(const std::string& path);
};

constexpr Obstacle kObstacles[] = {
    {"it is a named pipe",
     [](const std::string& path) { REQUIRE(mkfifo(path.c_str(), 0600) == 0); }},
    {"it is a device", [](const std::string& path) { fs::create_symlink("/dev/zero", path); }},
    {"it is a device", [](const std::string& path) { fs::create_symlink("/dev/null", path); }},
    {"it is a directory", [](const std::string& path) { fs::create_directory(path); }},
    {"it is a socket",
     [](const std::string& path) {
       const int handle = socket(AF_UNIX, SOCK_STREAM, 0);
       sockaddr_un address{};
       address.sun_family = AF_UNIX;
       path.copy(address.sun_path, sizeof(address.sun_path) - 1);
       REQUIRE(bind(handle, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
       close(handle);
     }},
    {"No such file", [](const std::string& path) { fs::create_symlink("nowhere", path); }},
};

Failure open_layer(const std::string& directory) {
  sl_layer* layer = nullptr;
  const Failure failure =
      failure_of([&](sl_error* e) { return sl_layer_open(directory.c_str(), nullptr, &layer, e); });
  sl_layer_free(layer);
  return failure;
}

// A copy of a model, for tests that change its files.
std::string copy_of_model(const char* name) {
  const std::string directory = scratch_directory();
  for (const char* file : {"/config.json", "/model.safetensors"})
    fs::copy_file(fault_input(std::string("models/") + name + file), directory + file);
  return directory;
}

TEST_CASE("fault 3: only regular files are read", "[f03]") {
  for (const char* file : {"/config.json", "/model.safetensors"}) {
    for (const Obstacle& obstacle : kObstacles) {
      INFO(file << ": " << obstacle.what);
      const std::string directory = copy_of_model("ident"), path = directory + file;
      fs::remove(path);
      obstacle.make(path);
      const Failure failure = open_layer(directory);
      CHECK(failure.status == SL_STATUS_IO);
      CHECK_THAT(failure.message, Contains(path) && Contains(obstacle.what));
    }
  }
  for (const Obstacle& obstacle : kObstacles) {
    const std::string path = scratch_directory() + "/w";
    obstacle.make(path);
    sl_weights* weights = nullptr;
    const Failure failure =
        failure_of([&](sl_error* e) { return sl_weights_open(path.c_str(), &weights, e); });
    CHECK(failure.status == SL_STATUS_IO);
    CHECK_THAT(failure.message, Contains(path) && Contains(obstacle.what));
  }
}

TEST_CASE("fault 3: a link to a file is read as the file", "[f03]") {
  const std::string model = copy_of_model("ident"), directory = scratch_directory();
  fs::create_symlink(model + "/config.json", directory + "/config.json");
  CHECK(open_layer(directory).status == SL_STATUS_OK);  // the model has no weights
  fs::create_symlink(model + "/model.safetensors", directory + "/model.safetensors");
  CHECK(open_layer(directory).status == SL_STATUS_OK);
}

TEST_CASE("fault 3: a config larger than the limit is refused without reading it", "[f03]") {
  const std::string directory = copy_of_model("ident");
  fs::resize_file(directory + "/config.json", uintmax_t{1} << 40);  // a sparse file
  const Failure failure = open_layer(directory);
  CHECK(failure.status == SL_STATUS_IO);
  CHECK_THAT(failure.message, Contains("config.json: is larger than"));
}

TEST_CASE("fault 3: weights that change before the layer is created are refused", "[f03]") {
  const std::string config =
      R"({"type":"Embedding","dimension":12,"num_embeddings":12,"name":"e"})";
  const auto create = [&](const Weights& weights) {
    return thrown_by([&] { Layer(config, weights); });
  };
  const std::string path = copy_of_model("tokens") + "/model.safetensors";
  const auto size = fs::file_size(path);
  {
    const Weights weights = Weights::open(path);
    fs::resize_file(path, 0);
    const Failure failure = create(weights);
    CHECK(failure.status == SL_STATUS_IO);
    CHECK_THAT(failure.message, Contains(path) && Contains("was cut short after it was opened"));
    // The file has its old size again, but other contents.
    fs::resize_file(path, size);
    CHECK_THAT(create(weights).message, Contains("was written to after it was opened"));
  }
  fs::copy_file(fault_input("models/tokens/model.safetensors"), path,
                fs::copy_options::overwrite_existing);
  const Weights weights = Weights::open(path);
  fs::remove(path);  // the mapped file stays valid without its name
  CHECK(create(weights).status == SL_STATUS_OK);
}

TEST_CASE("fault 3: the tool refuses files that are not regular", "[f03]") {
  const std::string directory = scratch_directory();
  REQUIRE(mkfifo((directory + "/Case.json").c_str(), 0600) == 0);
  std::ofstream(directory + "/Case.safetensors") << "";
  const ToolRun golden = run_tool({"golden", directory});
  CHECK(golden.status != 0);
  CHECK_THAT(golden.output, Contains("Case.json"));
  for (const char* file : {"/dev/zero", "/"}) {
    const ToolRun run = run_tool({"run", fault_input("models/ident"), file});
    CHECK(run.status == 1);
    CHECK_THAT(run.output, Contains(std::string("cannot read ") + file));
  }
  const std::string array = directory + "/a.npy";
  fs::create_symlink("/dev/zero", array);
  CHECK_THAT(run_tool({"run", fault_input("models/ident"), array}).output,
             Contains("it is a device"));
}

}  // namespace
}  // namespace sl::testing
