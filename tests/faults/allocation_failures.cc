// allocation_failures MODEL...: creates, runs and frees each model, which is a directory, or a
// config for which random weights are made. Each of its allocations fails in turn, alone and
// together with all later ones, every time in a new process that has not used the library before.
// Prints how many allocations there were, how many processes died and how many leaked.
#include "support/allocation_failures.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "support/models.h"

namespace sl::testing {
namespace {

constexpr int64_t kBlocks = 40;

#define SL_TRY(call)                         \
  do {                                       \
    const sl_status tried = (call);          \
    if (tried != SL_STATUS_OK) return tried; \
  } while (false)

sl_status create(const std::string& directory, sl_layer** layer, sl_error* error) {
  const sl_allocator allocator = failing_allocator();
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.num_threads = 2;
  options.allocator = &allocator;
  return sl_layer_open(directory.c_str(), &options, layer, error);
}

// Input and output of a run, allocated before any allocation fails.
struct Buffers {
  std::vector<float> x = std::vector<float>(1 << 20), y = x;
  std::vector<uint8_t> x_mask = std::vector<uint8_t>(1 << 16, 1), y_mask = x_mask;

  static sl_sequence view(const sl_channel_spec& spec, int64_t steps, std::vector<float>& values,
                          std::vector<uint8_t>& mask) {
    sl_sequence view = SL_SEQUENCE_INIT;
    view.rank = 2 + spec.rank;
    view.dims[0] = 1;
    view.dims[1] = steps;
    std::copy_n(spec.dims, spec.rank, view.dims + 2);
    view.data = values.data();
    view.mask = mask.data();
    return view;
  }
};

sl_status run(const sl_layer* layer, Buffers& buffers, sl_error* error) {
  sl_channel_spec in = SL_CHANNEL_SPEC_INIT, out = SL_CHANNEL_SPEC_INIT;
  int64_t block = 0, numerator = 0, denominator = 0;
  SL_TRY(sl_layer_input_spec(layer, &in, error));
  SL_TRY(sl_layer_output_spec(layer, &in, nullptr, 0, &out, error));
  SL_TRY(sl_layer_block_size(layer, &block, error));
  SL_TRY(sl_layer_output_ratio(layer, &numerator, &denominator, error));
  sl_sequence x = Buffers::view(in, kBlocks * block, buffers.x, buffers.x_mask);
  sl_sequence y = Buffers::view(out, 0, buffers.y, buffers.y_mask);
  SL_TRY(sl_layer_output_shape(layer, SL_MODE_LAYER, &x, nullptr, &y, error));
  SL_TRY(sl_layer_apply(layer, &x, &y, nullptr, error));

  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.input = in;
  sl_state* state = nullptr;
  SL_TRY(sl_state_alloc(layer, &options, &state, error));
  x.dims[1] = block;
  y.dims[1] = block * numerator / denominator;
  const sl_status status = sl_layer_step(layer, state, &x, &y, nullptr, error);
  sl_state_free(state);
  return status;
}

sl_status use(const std::string& model, Buffers& buffers, sl_error* error) {
  sl_layer* layer = nullptr;
  SL_TRY(create(model, &layer, error));
  const sl_status status = run(layer, buffers, error);
  sl_layer_free(layer);
  return status;
}

// The result of one process.
struct Outcome {
  sl_status status = SL_STATUS_OK;  // result of the use in which allocations fail
  bool failed = false;              // whether an allocation was made to fail
  bool works = false;               // whether the same use succeeds afterwards
  int64_t blocks = 0;               // allocated blocks at the end
  sl_error error = SL_ERROR_INIT;
};

Outcome use_with_failures(const std::string& model, Buffers& buffers, Heap heap, int64_t n,
                          Failing failing) {
  Outcome outcome;
  const int64_t before = live_blocks();
  if (n > 0) {
    const AllocationFailures failures(heap, n, failing);
    outcome.status = use(model, buffers, &outcome.error);
    outcome.failed = failures.any_failed();
  }
  sl_error error = SL_ERROR_INIT;
  outcome.works =
      use(model, buffers, &error) == SL_STATUS_OK && use(model, buffers, &error) == SL_STATUS_OK;
  if (!outcome.works) outcome.error = error;
  outcome.blocks = live_blocks() - before;
  return outcome;
}

// Runs fn in a child process. Returns false if that process died.
template <typename Fn>
bool in_child(Fn&& fn, Outcome* outcome) {
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    const Outcome made = fn();
    const bool written = write(ends[1], &made, sizeof(made)) == sizeof(made);
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  const bool got = read(ends[0], outcome, sizeof(*outcome)) == sizeof(*outcome);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return got && status == 0;
}

struct Counts {
  int64_t points = 0, died = 0, leaked = 0, wrong = 0;
};

void count(const Outcome& outcome, int64_t blocks, int64_t n, Counts* counts) {
  const bool right =
      (outcome.status == SL_STATUS_OK || outcome.status == SL_STATUS_OUT_OF_MEMORY) &&
      (outcome.status == SL_STATUS_OK || outcome.error.message[0] != '\0') && outcome.works;
  const bool leaked = outcome.blocks != blocks;
  if (!right || leaked) {
    std::printf("allocation %lld: %s: \"%s\"%s, %lld blocks more\n", static_cast<long long>(n),
                sl_status_name(outcome.status), outcome.error.message,
                outcome.works ? "" : ", and no use afterwards",
                static_cast<long long>(outcome.blocks - blocks));
  }
  counts->wrong += right ? 0 : 1;
  counts->leaked += leaked ? 1 : 0;
}

Counts sweep(const std::string& model, Buffers& buffers, Heap heap, Failing failing) {
  Counts counts;
  Outcome usual, outcome;
  const auto use_nth = [&](int64_t n) {
    return [&, n] { return use_with_failures(model, buffers, heap, n, failing); };
  };
  if (!in_child(use_nth(0), &usual) || !usual.works) {
    std::printf("no use at all: %s\n", usual.error.message);
    return {0, 1, 0, 0};
  }
  for (int64_t n = 1;; ++n) {
    if (!in_child(use_nth(n), &outcome)) {
      std::printf("allocation %lld: the process died\n", static_cast<long long>(n));
      ++counts.died;
      ++counts.points;
      continue;
    }
    count(outcome, usual.blocks, n, &counts);
    if (!outcome.failed) return counts;
    ++counts.points;
  }
}

// The model as a directory. Random weights are made in a child process, as that uses the library.
std::string directory_of(const std::string& path, const std::string& scratch) {
  if (std::filesystem::is_directory(path)) return path;
  Outcome outcome;
  const bool made = in_child(
      [&] {
        std::ostringstream config;
        config << std::ifstream(path).rdbuf();
        std::mt19937 rng(4);
        const Weights weights = make_weights(config.str(), {{"", {4, {}, {}}}}, rng);
        write_model(scratch, config.str(), weights);
        return Outcome();
      },
      &outcome);
  if (!made) std::printf("%s: no weights can be made for it\n", path.c_str());
  return scratch;
}

bool check_model(const std::string& path, const std::string& scratch) {
  const std::string model = directory_of(path, scratch);
  Buffers buffers;
  bool good = true;
  for (const Heap heap : {Heap::kMalloc, Heap::kHook}) {
    for (const Failing failing : {Failing::kOne, Failing::kFromThere}) {
      const Counts counts = sweep(model, buffers, heap, failing);
      std::printf("%s: %s, %s: %lld allocations failed: %lld died, %lld leaked, %lld wrong\n",
                  path.c_str(), heap == Heap::kMalloc ? "malloc" : "sl_allocator",
                  failing == Failing::kOne ? "each alone" : "from each on",
                  static_cast<long long>(counts.points), static_cast<long long>(counts.died),
                  static_cast<long long>(counts.leaked), static_cast<long long>(counts.wrong));
      std::fflush(stdout);
      good = good && counts.points > 0 && counts.died + counts.leaked + counts.wrong == 0;
    }
  }
  return good;
}

}  // namespace
}  // namespace sl::testing

int main(int argc, char** argv) {
  if (!sl::testing::AllocationFailures::available()) {
    std::printf("a sanitizer owns the heap: nothing can be made to fail\n");
    return 0;
  }
  // Printing a message would make the C library keep memory, which would count as a leak.
  sl_log_set([](void*, int32_t, const char*) {}, nullptr, SL_LOG_WARNING);
  std::string scratch = (std::filesystem::temp_directory_path() / "sl_failures_XXXXXX").string();
  bool good = argc > 1 && mkdtemp(scratch.data()) != nullptr;
  for (int i = 1; i < argc && good; ++i) good = sl::testing::check_model(argv[i], scratch);
  std::filesystem::remove_all(scratch);
  return good ? 0 : 1;
}
