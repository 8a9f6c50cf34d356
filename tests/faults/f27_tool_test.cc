// Fault 27: `sl run` wrote PNG for any file name of a plot and .npy for any file name of an output.
// It noticed only at its end that it could not write, and read no pipes. Other commands had no
// JSON.
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/audio.h"
#include "cli/npy.h"
#include "faults/arrays.h"
#include "faults/faults.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;

constexpr char kIdentity[] = R"({"type": "Identity"})";

std::string read_bytes(const std::string& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

ToolRun run_shell(const std::string& script) { return run_program("/bin/sh", {"-c", script}); }

std::string sound_file() {
  return write_file("sound.wav", wav({36 + 8, 8}, {16384, -8192, 0, 8192}));
}

// Parses the JSON on stdout, without stderr.
json json_of(const std::string& arguments) {
  const std::string out = scratch_directory() + "/out.json";
  run_shell(std::string(SL_TOOL) + " " + arguments + " > " + out);
  return json::parse(read_bytes(out));
}

TEST_CASE("fault 27: output is written as sound", "[f27]") {
  const std::string model = make_model(kIdentity, ""), out = scratch_directory() + "/out.WAV";
  const ToolRun run = run_tool({"run", model, sound_file(), "--input", "1", "--output", out});
  INFO(run.output);
  REQUIRE(run.status == 0);
  const cli::Audio audio = cli::read_audio(out);
  CHECK(audio.sample_rate == 16000);
  CHECK(audio.samples == std::vector<float>{0.5F, -0.25F, 0, 0.25F});
}

TEST_CASE("fault 27: sound has the channels and the rate of the output", "[f27]") {
  const std::string config = R"({"type": "Frame", "frame_length": 2, "frame_step": 2})";
  const std::string model = make_model(config, R"({"sample_rate": "16000"})");
  const std::string out = scratch_directory() + "/out.wav";
  const ToolRun run = run_tool({"run", model, sound_file(), "--input", "scalar", "--output", out});
  INFO(run.output);
  REQUIRE(run.status == 0);
  const std::string bytes = read_bytes(out);
  CHECK(bytes.substr(20, 4) == bytes_of<uint16_t>({3, 2}));  // format 3 (float), two channels
  CHECK(bytes.substr(24, 4) == bytes_of<uint32_t>({8000}));
  CHECK(bytes.ends_with(bytes_of<float>({0.5F, -0.25F, 0, 0.25F})));
}

TEST_CASE("fault 27: output that is no sound is refused before the run", "[f27]") {
  struct Refused {
    std::string config, rate, file, input, reason;
  };
  const std::string array = write_file("x.npy", npy("<f4", "(4,)", bytes_of<float>({1, 2, 3, 4})));
  const std::string ints = write_file("x.npy", npy("<i4", "(2,)", bytes_of<int32_t>({1, 2})));
  const std::string batch = write_file("x.npy", npy("<f4", "(2, 1)", bytes_of<float>({1, 2})));
  const std::string axes = write_file("x.npy", npy("<f4", "(1, 1, 2)", bytes_of<float>({1, 2})));
  const std::string rate = R"({"sample_rate": "16000"})";
  const std::string thirds = R"({"type": "Downsample1D", "rate": 3})";
  for (const Refused& c : {Refused{kIdentity, "", array, "scalar", "no sample_rate"},
                           Refused{kIdentity, rate, ints, "scalar", "int32"},
                           Refused{kIdentity, rate, batch, "scalar", "batch"},
                           Refused{kIdentity, rate, axes, "1,2", "axes"},
                           Refused{thirds, rate, array, "scalar", "not a whole number"}}) {
    const std::string out = scratch_directory() + "/out.wav";
    std::vector<std::string> arguments = {
        "run", make_model(c.config, c.rate), c.file, "--input", c.input, "--output", out};
    if (c.file == ints) arguments.insert(arguments.end(), {"--dtype", "int32"});
    const ToolRun run = run_tool(arguments);
    CHECK(run.status == 1);
    CHECK_THAT(run.output, Contains("cannot be written as sound") && Contains(c.reason));
    CHECK_THAT(run.output, !Contains("time"));
    CHECK(!std::filesystem::exists(out));
  }
}

TEST_CASE("fault 27: a plot has the format of its extension", "[f27]") {
  const std::string model = make_model(kIdentity, ""), folder = scratch_directory();
  const std::string sound = sound_file(), frames = folder + "/frames.npy";
  std::ofstream(frames, std::ios::binary)
      << npy("<f4", "(2, 2)", bytes_of<float>({1, 2, 3, 4}));  // this input is drawn as a heat map
  for (const auto& [file, input] : {std::pair{sound, "scalar"}, {frames, "2"}}) {
    const std::string svg = folder + "/x.svg", png = folder + "/x.png";
    REQUIRE(run_tool({"run", model, file, "--input", input, "--plot", svg}).status == 0);
    CHECK_THAT(read_bytes(svg),
               Catch::Matchers::StartsWith("<?xml") && Contains("<svg") && Contains("</svg>"));
    REQUIRE(run_tool({"run", model, file, "--input", input, "--plot", png}).status == 0);
    CHECK(read_bytes(png).starts_with("\x89PNG"));
  }
}

TEST_CASE("fault 27: files that cannot be written are an error before the run", "[f27]") {
  const std::string model = make_model(kIdentity, ""), sound = sound_file();
  const std::string folder = scratch_directory();
  std::filesystem::create_directory(folder + "/folder.npy");
  struct Refused {
    std::string option, path;
    int status;
  };
  for (const Refused& c : {Refused{"--plot", folder + "/x.pdf", 2},
                           {"--plot", folder + "/x", 2},
                           {"--output", folder + "/x.txt", 2},
                           {"--output", folder, 2},
                           {"--output", folder + "/folder.npy", 1},
                           {"--output", folder + "/none/x.npy", 1},
                           {"--plot", folder + "/none/x.svg", 1},
                           {"--plot", "/proc/x.png", 1}}) {
    const ToolRun run = run_tool({"run", model, sound, "--input", "scalar", c.option, c.path});
    INFO(c.path << ": " << run.output);
    CHECK(run.status == c.status);
    CHECK_THAT(run.output, !Contains("time") && Contains(c.path));
  }
  const auto left = std::filesystem::directory_iterator(folder);
  CHECK(std::distance(left, std::filesystem::directory_iterator()) == 1);
}

TEST_CASE("fault 27: a failed run leaves existing files unchanged", "[f27]") {
  const std::string model = make_model(R"({"type": "Dense", "features": 2})", "");
  const std::string out = write_file("out.npy", "before");
  CHECK(run_tool({"run", model, sound_file(), "--output", out}).status == 1);
  CHECK(read_bytes(out) == "before");
  const auto folder = std::filesystem::path(out).parent_path();
  CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 1);
  // A replaced file keeps its mode, and a link remains a link.
  chmod(out.c_str(), 0640);
  const std::string link = folder.string() + "/link.npy";
  std::filesystem::create_symlink("out.npy", link);
  const std::string identity = make_model(kIdentity, "");
  CHECK(run_tool({"run", identity, sound_file(), "--input", "scalar", "--output", link}).status ==
        0);
  CHECK(std::filesystem::is_symlink(link));
  CHECK(cli::read_npy(out).dims == std::vector<int64_t>{1, 4});
  struct stat now {};
  REQUIRE(stat(out.c_str(), &now) == 0);
  CHECK((now.st_mode & 0777) == 0640);
}

TEST_CASE("fault 27: a full disk is an error", "[f27]") {
  const std::string model = make_model(kIdentity, "");
  const ToolRun run =
      run_tool({"run", model, sound_file(), "--input", "scalar", "--output", "/dev/full"});
  CHECK(run.status == 1);
  CHECK_THAT(run.output, Contains("cannot write /dev/full"));
}

TEST_CASE("fault 27: input comes from a pipe", "[f27]") {
  const std::string model = make_model(kIdentity, ""), out = scratch_directory() + "/out.npy";
  const std::string array = write_file("x", npy("<f4", "(2,)", bytes_of<float>({1, 2})));
  // A recorder that writes to a pipe does not know the sizes in the header.
  const std::string live = write_file("x", wav({0xffffffff, 0}, {16384, 0, 0}));
  const std::string run = std::string(SL_TOOL) + " run " + model + " ";
  const std::string rest = " --input scalar --output " + out;
  for (const std::string from : {"-", "/dev/stdin"}) {
    for (const auto& [file, length] : {std::pair{array, 2}, {sound_file(), 4}, {live, 3}}) {
      const ToolRun tool = run_shell("cat " + file + " | " + run + from + rest);
      INFO(from << " " << tool.output);
      CHECK(tool.status == 0);
      CHECK(cli::read_npy(out).dims.back() == length);
    }
    CHECK(run_shell(run + from + rest + " < " + array).status == 0);
    const ToolRun nothing = run_shell(": | " + run + from + rest);
    CHECK(nothing.status == 1);
    CHECK_THAT(nothing.output, Contains(" is empty"));
    CHECK(run_shell("echo hello | " + run + from + rest).status == 1);
  }
}

TEST_CASE("fault 27: progress is for terminals", "[f27]") {
  const std::string model = make_model(kIdentity, "");
  const std::string verify = " verify " + model + " --input 300 --time 512 --batch 20";
  CHECK_THAT(run_shell(SL_TOOL + verify).output, !Contains("\r"));
  // On a terminal the run may end before the progress bar is shown; a bar that is shown must be
  // cleared.
  const ToolRun watched =
      run_program("/usr/bin/script", {"-qec", SL_TOOL + verify + " > /dev/null", "/dev/null"});
  if (watched.status == 127) return;
  CHECK(watched.status == 0);
  CHECK((watched.output.empty() || watched.output.ends_with("\r\033[K")));
}

TEST_CASE("fault 27: sl info lists emits and constants", "[f27]") {
  const std::string model = scratch_directory();
  std::ofstream(model + "/config.json")
      << R"({"type":"Serial","layers":[{"type":"Emit","name":"loud"},{"type":"Conditioning",)"
         R"("name":"mix","conditioning_name":"c","projection":"identity","combination":"add"}]})";
  const ToolRun run = run_tool({"info", model, "--input", "3", "--constant", "c=4,3"});
  CHECK(run.status == 0);
  CHECK_THAT(run.output, Contains("\nemit             loud: float32 [1, 1, 3]\n"));
  CHECK_THAT(run.output, Contains("\nconstant         c: sequence") && Contains(", for mix\n"));
}

TEST_CASE("fault 27: every command has JSON", "[f27]") {
  const std::string model = make_model(kIdentity, "");
  const json types = json_of("list --json").at("types");
  CHECK(std::ranges::find(types, "Conv1D") != types.end());

  const json good = json_of("verify " + model + " --input 2 --json");
  CHECK(good.at("failed") == 0);
  CHECK(good.at("passed") == good.at("checks").size());
  CHECK(good.at("checks")[0].at("outcome") == "ok");
  CHECK(good.at("checks")[0].at("largest_difference").is_number());
  CHECK(good.at("input").at("dtype") == "float32");

  const json bench = json_of("bench " + model + " --input 2 --seconds 0.01 --time 10 --json");
  for (const char* what : {"create", "state_alloc", "step", "layer"}) {
    INFO(what);
    CHECK(bench.at(what).at("median_us").is_number());
    CHECK(bench.at(what).at("runs").is_number_integer());
  }
  CHECK(bench.at("step").at("input_steps_per_second").is_number());
  CHECK(bench.at("layer_input_steps") == 10);
  CHECK(bench.at("sample_rate").is_null());
}

TEST_CASE("fault 27: JSON is valid when checks fail", "[f27]") {
  const std::string folder = scratch_directory(), identity = SL_GOLDEN_DIR "/Identity";
  std::filesystem::copy_file(identity + ".safetensors", folder + "/Identity.safetensors");
  json file = json::parse(read_bytes(identity + ".json"));
  json& cases = file.at("cases");
  const size_t count = cases.size();
  cases[0]["block_size"] = 7;
  std::ofstream(folder + "/Identity.json") << file;
  const json golden = json_of("golden " + folder + " --only Identity,\xff --json");
  CHECK(golden.at("passed") == count - 1);
  CHECK(golden.at("failed") == 2);
  CHECK(golden.at("cases").size() == count + 1);
  CHECK(golden.at("cases")[0].at("outcome") == "failed");
  CHECK_THAT(golden.at("cases")[0].at("reason").get<std::string>(), Contains("block_size"));
  CHECK(json_of("golden " + folder + " --list --json").at("cases").size() == count);

  const std::string model = make_model(kIdentity, "");
  std::ofstream(model + "/case.json") << cases[0];
  // The tensors of the case have other names, so that reading it fails: an error, not JSON.
  std::filesystem::copy_file(identity + ".safetensors", model + "/case.safetensors");
  CHECK(run_tool({"verify", model, "--json"}).status == 1);
}

}  // namespace
}  // namespace sl::testing
