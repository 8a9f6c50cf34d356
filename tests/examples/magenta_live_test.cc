// Tests the parts of the example that plays Magenta RealTime, on models of its form that take no
// time.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <vector>

#include "magenta_live/controls.h"
#include "magenta_live/engine.h"
#include "magenta_live/report.h"
#include "magenta_live/sound.h"
#include "support/models.h"
#include "testing/trap.h"

namespace sl::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kReservedTokens = 7, kPitches = LIVE_STYLE_TOKENS, kDrums = kPitches + LIVE_PITCHES;
constexpr int64_t kSamples = 6;

// A file or directory of the test's own.
class Folder {
 public:
  explicit Folder(const std::string& name) : path_(fs::temp_directory_path() / name) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  const std::string& path() const { return text_; }

 private:
  fs::path path_;
  std::string text_ = path_.string();
};

class Controls {
 public:
  Controls() { live_controls_init(&controls_); }
  // Applies an event. Returns the error, or an empty string.
  std::string apply(const char* event) {
    char message[256] = "";
    return live_controls_apply(&controls_, event, message, sizeof(message)) == 0 ? "" : message;
  }
  std::vector<int32_t> next() {
    std::vector<int32_t> tokens(LIVE_TOKENS);
    live_controls_next(&controls_, tokens.data());
    for (int32_t& token : tokens) token -= kReservedTokens;
    return tokens;
  }
  int32_t next_of(size_t pitch) { return next()[kPitches + pitch]; }
  live_controls* get() { return &controls_; }

 private:
  live_controls controls_;
};

TEST_CASE("without events all but the guidance is left to the model", "[magenta_live]") {
  Controls controls;
  std::vector<int32_t> want(LIVE_TOKENS, -1);
  // (3 + 1) / 0.2, (1 + 1) / 0.2, (1 + 1) / 1
  want[kDrums + 1] = 20;
  want[kDrums + 2] = 10;
  want[kDrums + 3] = 2;
  CHECK(controls.next() == want);
  CHECK(controls.apply("guidance -1 7 6.4") == "");
  const std::vector<int32_t> tokens = controls.next();
  CHECK(std::vector<int32_t>(tokens.end() - 3, tokens.end()) == std::vector<int32_t>{0, 40, 7});
}

TEST_CASE("notes begin, are held and end", "[magenta_live]") {
  Controls controls;
  CHECK(controls.apply("note_on 60") == "");
  const std::vector<int32_t> first = controls.next();
  CHECK(first[kPitches + 60] == 2);
  CHECK(first[kPitches + 61] == 0);
  CHECK(controls.next_of(60) == 1);
  CHECK(controls.next_of(60) == 1);
  CHECK(controls.apply("note_on 60") == "");
  CHECK(controls.next_of(60) == 2);
  CHECK(controls.apply("note_off 60") == "");
  CHECK(controls.next_of(60) == 0);
  // A note that ends before its first frame is heard in that.
  CHECK(controls.apply("note_on 127") == "");
  CHECK(controls.apply("note_off 127") == "");
  CHECK(controls.next_of(127) == 2);
  CHECK(controls.next_of(127) == 0);
  CHECK(controls.apply("notes open") == "");
  CHECK(controls.next_of(60) == -1);
}

TEST_CASE("style and drums change", "[magenta_live]") {
  Controls controls;
  CHECK(controls.apply("style 1023 0 5") == "");
  CHECK(controls.apply(" drums\ton ") == "");
  std::vector<int32_t> tokens = controls.next();
  CHECK(std::vector<int32_t>(tokens.begin(), tokens.begin() + 4) ==
        std::vector<int32_t>{1023, 0, 5, -1});
  CHECK(tokens[kDrums] == 1);
  CHECK(controls.apply("style open") == "");
  CHECK(controls.apply("drums off") == "");
  tokens = controls.next();
  CHECK(tokens[0] == -1);
  CHECK(tokens[kDrums] == 0);
}

TEST_CASE("events that cannot be change nothing and say why", "[magenta_live]") {
  Controls controls;
  const std::vector<int32_t> before = controls.next();
  CHECK(controls.apply("note_on 128") == "no pitch of 0 to 127: \"128\"");
  CHECK(controls.apply("note_on 1.5") == "no pitch of 0 to 127: \"1.5\"");
  CHECK(controls.apply("note_off") == "no pitch of 0 to 127: \"\"");
  CHECK(controls.apply("style 4 1024") == "no style token of 0 to 1023: \"1024\"");
  CHECK(controls.apply("style 1 2 3 4 5 6 7 8 9 10 11 12 13") == "more than 12 tokens: \"13\"");
  CHECK(controls.apply("drums loud") == "drums are on, off or open: \"loud\"");
  CHECK(controls.apply("guidance 1 8 1") == "guidance is three numbers of -1 to 7: \"8\"");
  CHECK(controls.apply("guidance 1 1 1 1") == "more than the event: \"1\"");
  CHECK(controls.apply("sing 60") == "unknown event: \"sing\"");
  CHECK(controls.apply("") == "no event: \"\"");
  CHECK(controls.apply(std::string(600, 'x').c_str()) == "too long an event: \"\"");
  CHECK(controls.next() == before);
}

TEST_CASE("a score applies its events when they are due", "[magenta_live]") {
  const Folder folder("magenta_live_score");
  const std::string path = folder.file("score");
  std::ofstream(path) << "# seconds, event\n0 note_on 5 # begins\n\n0.5 note_off 5\n0.5 drums on\n";
  char message[512] = "";
  live_score score;
  REQUIRE(live_score_read(&score, path.c_str(), message, sizeof(message)) == 0);
  CHECK(score.count == 3);
  Controls controls;
  live_score_advance(&score, 0.0, controls.get());
  CHECK(controls.next_of(5) == 2);
  live_score_advance(&score, 0.49, controls.get());
  CHECK(controls.next_of(5) == 1);
  live_score_advance(&score, 0.5, controls.get());
  const std::vector<int32_t> tokens = controls.next();
  CHECK(tokens[kPitches + 5] == 0);
  CHECK(tokens[kDrums] == 1);
  live_score_free(&score);

  const auto failure = [&](const char* text) {
    std::ofstream(path) << text;
    CHECK(live_score_read(&score, path.c_str(), message, sizeof(message)) == -1);
    return std::string(message).substr(path.size());
  };
  CHECK(failure("0 drums on\n1 note_on x\n") == ", line 2: no pitch of 0 to 127: \"x\"");
  CHECK(failure("1 drums on\n0 drums on\n") == ", line 2: earlier than the line before: \"0\"");
  CHECK(failure("soon drums on\n") == ", line 1: no time: \"soon\"");
  CHECK(live_score_read(&score, folder.file("none").c_str(), message, sizeof(message)) == -1);
}

TEST_CASE("a report has percentiles by rank", "[magenta_live]") {
  live_report report;
  REQUIRE(live_report_create(&report, 200) == 0);
  CHECK(live_report_percentile(&report, offsetof(live_times, total), 0.5) == 0);
  for (int i = 200; i >= 1; --i) {
    const live_times times = {0, 0, 0.5, i * 1e-3, i * 1e-3};
    live_report_add(&report, &times);
  }
  const live_times more = {9, 9, 9, 9, 9};
  live_report_add(&report, &more);
  CHECK(report.count == 200);
  CHECK(live_report_percentile(&report, offsetof(live_times, total), 0.5) == 0.1);
  CHECK(live_report_percentile(&report, offsetof(live_times, codec), 0.99) == 0.198);
  CHECK(live_report_percentile(&report, offsetof(live_times, total), 0.999) == 0.2);
  CHECK(live_report_percentile(&report, offsetof(live_times, depth), 0) == 0.5);
  CHECK(live_report_misses(&report, 0.04) == 160);

  const Folder folder("magenta_live_report");
  const std::string path = folder.file("times.csv");
  REQUIRE(live_report_save(&report, path.c_str()) == 0);
  std::ifstream file(path);
  std::string head, first;
  std::getline(file, head);
  std::getline(file, first);
  CHECK(head == "conditioning,temporal,depth,codec,frame");
  CHECK(first == "0.0000,0.0000,500.0000,200.0000,200.0000");
  live_report_free(&report);
}

TEST_CASE("a WAV file holds clipped samples", "[magenta_live]") {
  const Folder folder("magenta_live_wav");
  const std::string path = folder.file("sound.wav");
  live_wav* wav = live_wav_open(path.c_str(), 2, 48000);
  REQUIRE(wav);
  const float samples[] = {0, 0.5f, -1, 2, -3, 1};
  CHECK(live_wav_write(wav, samples, 3) == 0);
  CHECK(live_wav_close(wav) == 0);
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const std::string want = std::string("RIFF\x30\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0", 24) +
                           std::string("\x80\xbb\0\0\0\xee\x02\0\x04\0\x10\0data\x0c\0\0\0", 20) +
                           std::string("\0\0\0\x40\x01\x80\xff\x7f\x01\x80\xff\x7f", 12);
  CHECK(bytes == want);
  CHECK(live_wav_open(folder.file("no/where.wav").c_str(), 2, 48000) == nullptr);
}

// Models of the form of Magenta RealTime: of 144 tokens a vector of 4; frames of three codes, of 5
// each; of these, stereo sound of six samples at 150 a second.
void write_models(const std::string& directory) {
  const std::string spec = R"({"channel_shape":[144],"dtype":"int32"})";
  const std::string codes = R"({"channel_shape":[3],"dtype":"int32"})";
  const struct {
    const char *name, *config;
    std::map<std::string, std::string> metadata;
  } parts[] = {
      {"conditioning",
       R"({"type":"Serial","layers":[{"type":"Embedding","dimension":4,"num_embeddings":1100},)"
       R"({"type":"Flatten"},{"type":"Dense","features":4,"name":"wide"}]})",
       {{"input", spec}}},
      {"decoder",
       R"({"type":"MultivariateDecoder","sos_id":0,"num_reserved_tokens":6,"codebook_size":5,)"
       R"("num_codebooks":3,"codebook_logits":true,"temperature_last":true,)"
       R"("embedder":{"type":"Embedding","dimension":4,"num_embeddings":21},)"
       R"("temporal_body":{"type":"Conditioning","conditioning_name":"source",)"
       R"("projection":"identity","combination":"add","streaming":true},)"
       R"("depth_body":{"type":"SequenceDense","features":5,"num_steps":3,"name":"narrow"}})",
       {{"input", codes}}},
      {"codec_decoder",
       R"({"type":"Serial","layers":[{"type":"Embedding","dimension":4,"num_embeddings":5},)"
       R"({"type":"Flatten"},{"type":"Conv1DTranspose","filters":2,"kernel_size":9,"strides":6,)"
       R"("padding":"causal","name":"middle"}]})",
       {{"input", codes}, {"sample_rate", "150"}}},
  };
  std::mt19937 rng(1);
  const WeightHints hints = {
      {"wide", {576, {}, {}}}, {"narrow", {4, {}, {}}}, {"middle", {12, {}, {}}}};
  for (const auto& part : parts) {
    const std::string path = directory + "/" + part.name;
    fs::create_directories(path);
    write_model(path, part.config, make_weights(part.config, hints, rng), part.metadata);
  }
}

live_engine_options options_of(const std::string& directory, bool pipelined) {
  live_engine_options options{};
  options.directory = directory.c_str();
  options.pipelined = pipelined ? 1 : 0;
  options.temperature = 1.5f;
  options.top_k = 4;
  options.seed = 11;
  return options;
}

// The tokens of frames of a piece, and the sound that the models make of them one after the other.
struct Piece {
  static constexpr int64_t kFrames = 9;

  explicit Piece(const std::string& directory) {
    Controls controls;
    for (int64_t t = 0; t < kFrames; ++t) {
      if (t == 2) controls.apply("note_on 60");
      if (t == 5) controls.apply("style 7 300 12");
      std::vector<int32_t> next = controls.next();
      for (int32_t& token : next) token += kReservedTokens;
      tokens.insert(tokens.end(), next.begin(), next.end());
    }
    using sequence_layers::channel_spec;
    const auto conditioning = Layer::open(directory + "/conditioning");
    const auto decoder_layer = Layer::open(directory + "/decoder");
    const auto codec = Layer::open(directory + "/codec_decoder");
    std::vector<float> source(kFrames * 4);
    sl_sequence y = sequence_layers::sequence(channel_spec({4}), 1, kFrames, source.data());
    conditioning.apply(sequence_layers::sequence(channel_spec({LIVE_TOKENS}, SL_DTYPE_INT32), 1,
                                                 kFrames, tokens.data()),
                       &y);
    std::vector<int32_t> codes;
    sl_constant constant{};
    constant.name = "source";
    sl_decoder_options options = SL_DECODER_OPTIONS_INIT;
    options.temperature = 1.5f;
    options.top_k = 4;
    options.seed = 11;
    constant.value = sequence_layers::sequence(channel_spec({4}), 1, 1, source.data());
    options.constants = &constant;
    options.num_constants = 1;
    sequence_layers::Decoder decoder(decoder_layer, options);
    for (int64_t t = 0; t < kFrames; ++t) {
      constant.value.data = source.data() + 4 * t;
      sl_run_options run = SL_RUN_OPTIONS_INIT;
      run.constants = &constant;
      run.num_constants = 1;
      int32_t chosen[3];
      REQUIRE(decoder.sample(chosen, nullptr, nullptr, &run) == SL_STATUS_OK);
      for (int k = 0; k < 3; ++k) codes.push_back(chosen[k] - 6 - 5 * k);
    }
    sound.resize(kFrames * kSamples * 2);
    y = sequence_layers::sequence(channel_spec({2}), 1, kFrames * kSamples, sound.data());
    codec.apply(
        sequence_layers::sequence(channel_spec({3}, SL_DTYPE_INT32), 1, kFrames, codes.data()), &y);
  }

  std::vector<int32_t> tokens;
  std::vector<float> sound;
};

TEST_CASE("the engine makes the sound of the models, a frame later if pipelined",
          "[magenta_live]") {
  const Folder folder("magenta_live_models");
  write_models(folder.path());
  Piece piece(folder.path());
  // The piece must change with its events, or this test shows nothing.
  CHECK(piece.sound.front() != piece.sound.back());
  const bool pipelined = GENERATE(false, true);
  const live_engine_options options = options_of(folder.path(), pipelined);
  sl_error error = SL_ERROR_INIT;
  live_engine* engine = nullptr;
  INFO(error.message);
  REQUIRE(live_engine_create(&options, &engine, &error) == SL_STATUS_OK);
  CHECK(live_engine_samples(engine) == kSamples);
  CHECK(live_engine_channels(engine) == 2);
  CHECK(live_engine_sample_rate(engine) == 150);
  CHECK(live_engine_latency(engine) == (pipelined ? kSamples : 0));
  constexpr int64_t kSize = kSamples * 2;
  std::vector<float> sound(Piece::kFrames * kSize, 7.0f);
  live_times times{};
  int64_t allocations = 0;
  for (int64_t t = 0; t < Piece::kFrames; ++t) {
    const AllocationTrap trap;
    REQUIRE(live_engine_play(engine, piece.tokens.data() + t * LIVE_TOKENS,
                             sound.data() + t * kSize, &times, &error) == SL_STATUS_OK);
    if (!pipelined) allocations += trap.count();  // a pipelined one takes a lock
  }
  CHECK(allocations == 0);
  CHECK(times.total > 0);
  CHECK(times.depth > 0);
  CHECK(times.temporal > 0);
  CHECK(times.codec > 0);
  live_engine_free(engine);
  const int64_t delay = pipelined ? kSize : 0;
  for (int64_t i = 0; i < Piece::kFrames * kSize; ++i) {
    const float want = i < delay ? 0 : piece.sound[static_cast<size_t>(i - delay)];
    CHECK(sound[static_cast<size_t>(i)] == Approx(want).margin(1e-6));
  }
}

TEST_CASE("the engine says what is wrong with models", "[magenta_live]") {
  const Folder folder("magenta_live_wrong");
  const live_engine_options options = options_of(folder.path(), false);
  live_engine* engine = nullptr;
  sl_error error = SL_ERROR_INIT;
  CHECK(live_engine_create(&options, &engine, &error) == SL_STATUS_IO);
  write_models(folder.path());
  fs::copy(folder.file("conditioning"), folder.file("codec_decoder"),
           fs::copy_options::overwrite_existing | fs::copy_options::recursive);
  CHECK(live_engine_create(&options, &engine, &error) == SL_STATUS_INVALID_ARGUMENT);
  CHECK(std::string(error.message) == "codec_decoder has no sample_rate");
  live_engine_free(nullptr);
}

}  // namespace
}  // namespace sl::testing
