#include "ops/openblas_matmul.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <optional>
#include <string>

#include "core/log.h"
#include "ops/private_library.h"

namespace sl::ops {
namespace {

// The functions of OpenBLAS that are called, of its C interface with integers of 32 bits.
struct Functions {
  void (*set_num_threads)(int) = nullptr;
  int (*get_parallel)() = nullptr;  // 0 if it is built without threads
  char* (*get_config)() = nullptr;
  void (*sgemm)(int order, int transposed_a, int transposed_b, int m, int n, int k, float alpha,
                const float* a, int lda, const float* b, int ldb, float beta, float* c,
                int ldc) = nullptr;
};
constexpr int kRowMajor = 101, kNotTransposed = 111;

// Calls at once. OpenBLAS has a buffer for each, and some versions end the process if there are
// more than were built in, 128 in Debian's.
constexpr int kMaxCalls = 32;
std::atomic<int> g_calls{0};

// Fills the table. Returns the reason if the library cannot be used, or nothing.
std::string bind(void* library, Functions* out) {
  if (!find_function(library, "openblas_set_num_threads", &out->set_num_threads) ||
      !find_function(library, "openblas_get_parallel", &out->get_parallel) ||
      !find_function(library, "openblas_get_config", &out->get_config) ||
      !find_function(library, "cblas_sgemm", &out->sgemm)) {
    return "it is not OpenBLAS";
  }
  const std::string config = out->get_config();
  if (config.find("USE64BITINT") != std::string::npos) return "its integers have 64 bits";
  if (out->get_parallel() == 0) return "it is built without locks, for a single thread";
  out->set_num_threads(1);
  return {};
}

std::string open(const std::string& file, Functions* out) {
  // Its number of threads is the process's, if the process has loaded it before.
  if (void* loaded = dlopen(file.c_str(), RTLD_NOW | RTLD_NOLOAD)) {
    dlclose(loaded);
    return file + ": the process uses it";
  }
  if (!can_bind_deeply() && dlsym(RTLD_DEFAULT, "cblas_sgemm"))
    return file + ": its symbols would be another BLAS's";
  return open_private(file, [&](void* library) { return bind(library, out); });
}

std::optional<Functions> load() {
  Functions functions;
  const PrivateLibrary searched{"OpenBLAS", "SEQUENCE_LAYERS_OPENBLAS", "libopenblas.so.0"};
  const std::string file =
      load_private(searched, [&](const std::string& name) { return open(name, &functions); });
  if (file.empty()) return {};
  log(LogLevel::kDebug, "{} from {}", functions.get_config(), file);
  return functions;
}

const Functions* functions() {
  static const std::optional<Functions> kLoaded = load();
  return kLoaded ? &*kLoaded : nullptr;
}

}  // namespace

std::unique_ptr<ExternalMatmul> OpenBlasMatmul::create(std::vector<float> w, int64_t inputs,
                                                       int64_t outputs) {
  constexpr int64_t kMost = std::numeric_limits<int>::max();
  if (inputs > kMost || outputs > kMost || !functions()) return nullptr;
  return std::unique_ptr<ExternalMatmul>(new OpenBlasMatmul(std::move(w), inputs, outputs));
}

bool OpenBlasMatmul::apply(const float* x, int64_t rows, const float* bias, bool accumulate,
                           float* y) const noexcept {
  if (rows > std::numeric_limits<int>::max()) return false;
  const bool has_turn = g_calls.fetch_add(1, std::memory_order_relaxed) < kMaxCalls;
  if (has_turn) {
    for (int64_t i = 0; i < rows && bias && !accumulate; ++i)
      std::copy_n(bias, outputs_, y + i * outputs_);
    const int m = static_cast<int>(rows), n = static_cast<int>(outputs_),
              k = static_cast<int>(inputs_);
    functions()->sgemm(kRowMajor, kNotTransposed, kNotTransposed, m, n, k, 1, x, k, w_.data(), n,
                       bias || accumulate ? 1.0f : 0.0f, y, n);
  }
  g_calls.fetch_sub(1, std::memory_order_relaxed);
  return has_turn;
}

}  // namespace sl::ops
