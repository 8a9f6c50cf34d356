// Feeds a target a fixed number of seeded mutations of its corpus. There is no feedback from
// coverage, but the inputs are the same every time and with any compiler. Can also write the corpus
// as seeds for a fuzzer with feedback. Usage: fuzz_<target> [iterations [seed]], or fuzz_<target>
// --seeds DIRECTORY
#include <fmt/core.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "fuzz/target.h"
#include "fuzz/tree.h"

namespace sl::fuzz {
namespace {

// The target's corpus, with the inputs for which a fuzzer found faults in the past.
std::vector<std::string> seeds() {
  std::vector<std::string> all = corpus();
  for (const std::filesystem::path& path : tree_paths("fuzz/found/" SL_FUZZ_TARGET, ""))
    all.push_back(read_all(path));
  return all;
}

class Mutator {
 public:
  explicit Mutator(uint32_t seed) : rng_(seed), corpus_(seeds()), dictionary_(dictionary()) {}

  std::string next() {
    std::string input = one_of(corpus_);
    for (size_t n = below(6); n > 0; --n) mutate(&input);
    return input;
  }

 private:
  size_t below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(rng_); }
  const std::string& one_of(const std::vector<std::string>& all) { return all[below(all.size())]; }

  void mutate(std::string* input) {
    if (input->empty()) input->push_back('\0');
    const size_t at = below(input->size());
    const size_t length = 1 + below(std::min<size_t>(input->size() - at, 16));
    switch (below(8)) {
      case 0:  // flips one bit
        (*input)[at] = static_cast<char>((*input)[at] ^ (1 << below(8)));
        return;
      case 1:  // changes one byte
        (*input)[at] = static_cast<char>(below(256));
        return;
      case 2:
        input->erase(at, length);
        return;
      case 3:  // repeats a piece
        input->insert(at, input->substr(below(input->size()), length));
        return;
      case 4:
        input->insert(at, one_of(dictionary_));
        return;
      case 5:
        input->replace(at, length, one_of(dictionary_));
        return;
      case 6:  // truncates
        input->resize(at);
        return;
      default: {  // crosses with another seed
        const std::string& other = one_of(corpus_);
        *input = input->substr(0, at) + other.substr(below(other.size()));
      }
    }
  }

  std::mt19937 rng_;
  std::vector<std::string> corpus_;
  std::vector<std::string> dictionary_;
};

int run(long iterations, uint32_t seed) {
  for (const std::string& input : seeds()) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  }
  Mutator mutator(seed);
  for (long i = 0; i < iterations; ++i) {
    const std::string input = mutator.next();
    // SL_FUZZ_TRACE names a file to which each input is written first, so that it is known after a
    // crash.
    if (const char* trace = std::getenv("SL_FUZZ_TRACE")) {
      if (FILE* file = std::fopen(trace, "wb")) {
        std::fwrite(input.data(), 1, input.size(), file);
        std::fclose(file);
      }
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  }
  std::printf("%ld inputs\n", iterations);
  return 0;
}

// Writes each seed to a file, and the dictionary in libFuzzer's format beside the directory.
int write_seeds(const std::filesystem::path& directory) {
  std::filesystem::create_directories(directory);
  size_t count = 0;
  for (const std::string& input : seeds())
    std::ofstream(directory / std::to_string(count++), std::ios::binary) << input;
  std::ofstream words(directory.string() + ".dict");
  for (const std::string& word : dictionary()) {
    words << '"';
    for (const char c : word) words << fmt::format("\\x{:02x}", static_cast<uint8_t>(c));
    words << "\"\n";
  }
  return words.good() ? 0 : 1;
}

}  // namespace
}  // namespace sl::fuzz

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "--seeds") == 0) return sl::fuzz::write_seeds(argv[2]);
  const long iterations = argc > 1 ? std::strtol(argv[1], nullptr, 10) : 1000;
  const auto seed = static_cast<uint32_t>(argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 1);
  return sl::fuzz::run(iterations, seed);
}
