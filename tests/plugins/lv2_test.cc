// Tests the LV2 plugins in a host: models set by messages and by states, latency, and what the
// audio thread does.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>

#include "plugins/lv2_host.h"
#include "support/models.h"
#include "testing/trap.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;
namespace fs = std::filesystem;

constexpr double kRate = 48000;

// A directory that is removed with its contents.
struct Folder {
  explicit Folder(const std::string& name) : path(fs::temp_directory_path() / name) {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::string at(const std::string& name) const { return (path / name).string(); }
  fs::path path;
};

// A model without weights.
std::string write(const Folder& folder, const std::string& name, const std::string& config) {
  fs::create_directories(folder.path / name);
  std::ofstream(folder.path / name / "config.json") << config;
  return folder.at(name);
}

const std::string kRecurrent =
    R"({"type":"Serial","layers":[{"type":"ExpandDims","axis":-1},{"type":"LSTM","units":16},)"
    R"({"type":"Dense","name":"out","features":1},{"type":"Squeeze","axis":-1}]})";
const std::string kHalf = R"({"type":"Scale","scale":0.5})";
const std::string kLate =
    R"({"type":"Serial","layers":[{"type":"Lookahead","length":50},{"type":"Delay","length":50}]})";

std::string write_recurrent(const Folder& folder) {
  fs::create_directories(folder.path / "recurrent");
  std::mt19937 rng(1);
  const WeightHints hints = {{"", {1, {}, {}}}, {"out", {16, {}, {}}}};
  write_model(folder.at("recurrent"), kRecurrent, make_weights(kRecurrent, hints, rng));
  return folder.at("recurrent");
}

std::vector<float> noise(size_t frames, uint32_t seed = 1) {
  std::mt19937 rng(seed);
  std::uniform_real_distribution<float> uniform(-0.9f, 0.9f);
  std::vector<float> out(frames);
  for (float& value : out) value = uniform(rng);
  return out;
}

// Runs `in` in calls of `block`, does the work after each, and adds up heap calls and locks.
std::vector<float> play(Lv2Instance& instance, const std::vector<float>& in, uint32_t block,
                        int64_t* calls = nullptr) {
  std::vector<float> out(in.size());
  for (size_t at = 0; at < in.size(); at += block) {
    const auto frames = static_cast<uint32_t>(std::min<size_t>(block, in.size() - at));
    const int64_t made = instance.run({in.data() + at}, {out.data() + at}, frames);
    if (calls) *calls += made;
    instance.work_off();
  }
  return out;
}

// What the library makes of the samples as a whole.
std::vector<float> apply(const std::string& directory, const std::vector<float>& in) {
  const auto layer = sequence_layers::Layer::open(directory);
  std::vector<float> out(in.size());
  const auto time = static_cast<int64_t>(in.size());
  const sl_channel_spec scalar = SL_CHANNEL_SPEC_INIT;
  sl_sequence y = sequence_layers::sequence(scalar, 1, time, out.data());
  layer.apply(sequence_layers::sequence(scalar, 1, time, const_cast<float*>(in.data())), &y);
  return out;
}

TEST_CASE("without a model audio passes unchanged", "[lv2]") {
  Lv2Instance instance(1, kRate, 64);
  const std::vector<float> in = noise(1000);
  CHECK(play(instance, in, 64) == in);
  CHECK(instance.latency() == 0);
}

TEST_CASE("a model set by a message is opened by the worker and fades in", "[lv2]") {
  const Folder folder("sl_lv2_message");
  const std::string half = write(folder, "half", kHalf);
  Lv2Instance instance(1, kRate, 256);
  const std::vector<float> ones(6000, 1.0f);
  int64_t calls = 0;
  play(instance, ones, 64, &calls);
  instance.send_model(half + "/config.json");  // as users choose it
  const std::vector<float> out = play(instance, ones, 64, &calls);
  CHECK(out.front() == 1.0f);
  CHECK(out.back() == 0.5f);
  for (size_t i = 1; i < out.size(); ++i) REQUIRE(std::abs(out[i] - out[i - 1]) < 0.5f / 900);
  CHECK(instance.announced() == half);
  CHECK(calls == 0);
}

TEST_CASE("models follow each other faster than they fade", "[lv2]") {
  const Folder folder("sl_lv2_fast");
  const std::string half = write(folder, "half", kHalf), late = write(folder, "late", kLate),
                    recurrent = write_recurrent(folder);
  Lv2Instance instance(1, kRate, 64);
  const std::vector<float> in = noise(256);
  int64_t calls = 0;
  for (int i = 0; i < 60; ++i) {
    instance.send_model(i % 3 == 0 ? half : i % 3 == 1 ? recurrent : late);
    play(instance, in, 64, &calls);
  }
  // The recurrent model needs all of the past, and is waited for a second.
  play(instance, noise(100000), 64, &calls);
  CHECK(instance.announced() == late);
  CHECK(instance.latency() == 50);
  CHECK(calls == 0);
}

TEST_CASE("a path without a model is logged, and the old model plays on", "[lv2]") {
  Lv2Instance instance(1, kRate, 64);
  Lv2Host::get().take_log();
  instance.send_model("/nowhere");
  const std::vector<float> in = noise(2000);
  CHECK(play(instance, in, 64) == in);
  CHECK_THAT(Lv2Host::get().take_log(), Contains("/nowhere"));
}

TEST_CASE("a saved state brings its model back, sample for sample that of a whole run", "[lv2]") {
  const Folder folder("sl_lv2_state");
  for (const std::string& model : {write_recurrent(folder), write(folder, "late", kLate)}) {
    const std::string saved = folder.at("saved_" + fs::path(model).filename().string());
    {
      Lv2Instance instance(1, kRate, 64);
      instance.send_model(model);
      play(instance, noise(4000), 64);
      instance.save(saved);
    }
    std::ifstream file(saved + "/state.ttl");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    CHECK_THAT(text, Contains("urn:sequence-layers:lv2:model"));
    CHECK(text.find(model) == std::string::npos);  // an abstract path: the state can be moved
    const std::string moved = saved + "_moved";
    fs::rename(saved, moved);

    Lv2Instance instance(1, kRate, 441);
    REQUIRE(instance.restore(moved));
    const std::vector<float> in = noise(5000, 2), expected = apply(model, in);
    int64_t calls = 0;
    const std::vector<float> out = play(instance, in, 441, &calls);
    const auto latency = static_cast<size_t>(instance.latency());
    CHECK(latency == (model.ends_with("late") ? 50 : 0));
    CHECK(std::equal(out.begin() + static_cast<std::ptrdiff_t>(latency), out.end(),
                     expected.begin()));
    CHECK(calls == 0);
    CHECK(fs::path(instance.announced()).filename().string() != "");
  }
}

TEST_CASE("dry and wet mix at the same time", "[lv2]") {
  const Folder folder("sl_lv2_mix");
  Lv2Instance instance(1, kRate, 64);
  instance.send_model(write(folder, "late", kLate));
  play(instance, noise(4000), 64);
  instance.set_mix(0);
  play(instance, noise(2000), 64);
  std::vector<float> impulse(500);
  impulse[10] = 1;
  const std::vector<float> dry = play(instance, impulse, 64);
  CHECK(instance.latency() == 50);
  CHECK(dry[60] == 1.0f);
}

TEST_CASE("stereo channels do not mix, and calls longer than announced are split", "[lv2]") {
  const Folder folder("sl_lv2_stereo");
  const std::string model = write_recurrent(folder), saved = folder.at("saved");
  {
    Lv2Instance instance(1, kRate, 64);
    instance.send_model(model);
    play(instance, noise(4000), 64);
    instance.save(saved);
  }
  Lv2Instance instance(2, kRate, 64);
  std::string text;
  {
    std::ifstream file(saved + "/state.ttl");
    text.assign(std::istreambuf_iterator<char>(file), {});
  }
  for (size_t at; (at = text.find("lv2:mono")) != std::string::npos;)
    text.replace(at, 8, "lv2:stereo");
  std::ofstream(saved + "/state.ttl") << text;
  REQUIRE(instance.restore(saved));
  const std::vector<float> left = noise(1000, 1), right = noise(1000, 2);
  std::vector<float> left_out(1000), right_out(1000);
  CHECK(instance.run({left.data(), right.data()}, {left_out.data(), right_out.data()}, 1000) == 0);
  CHECK(left_out == apply(model, left));
  CHECK(right_out == apply(model, right));
}

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

TEST_CASE("thirty instances at block 64 on two threads", "[lv2][load]") {
  const char* chosen = std::getenv("SL_LV2_LOAD_MODEL");
  const Folder folder("sl_lv2_load");
  const std::string model = chosen ? chosen : write_recurrent(folder);
  const std::string saved = folder.at("saved");
  {
    Lv2Instance instance(1, kRate, 64);
    instance.send_model(model);
    play(instance, noise(4000), 64);
    instance.save(saved);
  }
  constexpr int kInstances = 30, kThreads = 2, kBlocks = 750;  // a second of audio
  std::vector<std::unique_ptr<Lv2Instance>> instances;
  for (int i = 0; i < kInstances; ++i) {
    instances.push_back(std::make_unique<Lv2Instance>(1, kRate, 64));
    REQUIRE(instances.back()->restore(saved));
  }
  std::atomic<int64_t> calls = 0;
  std::vector<double> blocks[kThreads];
  double cpu[kThreads] = {};
  const auto work = [&](int thread) {
    std::vector<float> in = noise(64), out(64);
    const double start_cpu = thread_seconds();
    for (int b = 0; b < kBlocks; ++b) {
      const auto start = std::chrono::steady_clock::now();
      for (int i = thread; i < kInstances; i += kThreads)
        calls += instances[static_cast<size_t>(i)]->run({in.data()}, {out.data()}, 64);
      blocks[thread].push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    cpu[thread] = thread_seconds() - start_cpu;
  };
  std::thread second(work, 1);
  work(0);
  second.join();
  std::vector<double> all = blocks[0];
  all.insert(all.end(), blocks[1].begin(), blocks[1].end());
  std::sort(all.begin(), all.end());
  const double period = 64 / kRate;
  std::printf(
      "30 instances of %s, block 64 at 48 kHz, two threads: load %.1f %% and %.1f %% by CPU time; "
      "by the "
      "clock, other processes included, %.1f %% (median), %.1f %% (99th percentile)\n",
      fs::path(model).filename().c_str(), 100 * cpu[0] / (kBlocks * period),
      100 * cpu[1] / (kBlocks * period), 100 * all[all.size() / 2] / period,
      100 * all[all.size() * 99 / 100] / period);
  CHECK(calls == 0);
}

}  // namespace
}  // namespace sl::testing
