// Products of one row and of many rows with weights in each format, and a loop that only reads as
// many bytes. Sets of weights larger than the caches are read in turns, one thread.
// formats_bench [rows...]
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/gemm.h"
#include "kernels/gemm_bf16.h"
#include "kernels/gemm_quantized.h"

namespace {

using sl::kernels::Quantized;

constexpr int64_t kSetBytes = int64_t{600} << 20;
constexpr int kRounds = 5;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Problem {
  int64_t m, k, n;
};

// A format: bytes of packed weights, and functions that pack them and multiply with them.
struct Format {
  std::string name;
  std::function<int64_t(int64_t k, int64_t n)> bytes;
  std::function<void(const float* w, int64_t k, int64_t n, char* packed)> pack;
  std::function<void(const Problem& p, const float* x, const char* packed, float* y)> multiply;
};

Format quantized(const char* name, Quantized type) {
  return {
      name, [=](int64_t k, int64_t n) { return sl::kernels::packed_quantized_bytes(type, k, n); },
      [=](const float* w, int64_t k, int64_t n, char* packed) {
        sl::kernels::pack_quantized(type, w, n, 1, k, n, packed);
      },
      [=](const Problem& p, const float* x, const char* packed, float* y) {
        sl::kernels::gemm_quantized(type, x, p.k, packed, p.m, p.k, p.n, nullptr, false, y, p.n);
      }};
}

// Sums of 64-bit words, in four places at a time as the kernels read.
void read_bytes(const char* from, int64_t bytes, float* out) {
  const auto* words = reinterpret_cast<const uint64_t*>(from);
  const int64_t part = bytes / 8 / 32 * 8;
  uint64_t sums[32] = {};
  for (int64_t i = 0; i < part; i += 8) {
    for (int64_t j = 0; j < 4; ++j) {
      __builtin_prefetch(words + j * part + i + 256, 0, 2);
      for (int64_t l = 0; l < 8; ++l) sums[8 * j + l] += words[j * part + i + l];
    }
  }
  uint64_t total = 0;
  for (const uint64_t sum : sums) total += sum;
  *out = static_cast<float>(total);
}

std::vector<Format> formats() {
  const auto float_bytes = [](int64_t k, int64_t n) { return sl::kernels::packed_size(k, n) * 4; };
  const auto float_pack = [](const float* w, int64_t k, int64_t n, char* packed) {
    sl::kernels::pack(w, n, 1, k, n, reinterpret_cast<float*>(packed));
  };
  return {{"read loop", float_bytes, float_pack,
           [=](const Problem& p, const float*, const char* packed, float* y) {
             read_bytes(packed, float_bytes(p.k, p.n), y);
           }},
          {"float32", float_bytes, float_pack,
           [](const Problem& p, const float* x, const char* packed, float* y) {
             sl::kernels::gemm_packed(x, p.k, reinterpret_cast<const float*>(packed), p.m, p.k, p.n,
                                      nullptr, false, y, p.n);
           }},
          {"bfloat16", sl::kernels::packed_bf16_bytes,
           [](const float* w, int64_t k, int64_t n, char* packed) {
             sl::kernels::pack_bf16(w, n, 1, k, n, packed);
           },
           [](const Problem& p, const float* x, const char* packed, float* y) {
             sl::kernels::gemm_bf16(x, p.k, packed, p.m, p.k, p.n, nullptr, false, y, p.n);
           }},
          quantized("int8", Quantized::kInt8),
          quantized("int4", Quantized::kInt4)};
}

// Copies of one packed matrix that together exceed the caches.
class Set {
 public:
  Set(const Format& format, const Problem& p, const std::vector<float>& w, int64_t set_bytes)
      : format_(&format), bytes_(format.bytes(p.k, p.n)) {
    copies_ = std::max<int64_t>(1, set_bytes / bytes_);
    const auto size = static_cast<size_t>((copies_ * bytes_ + 4095) / 4096 * 4096);
    data_ = static_cast<char*>(std::aligned_alloc(4096, size));
    format.pack(w.data(), p.k, p.n, data_);
    for (int64_t i = 1; i < copies_; ++i) std::copy_n(data_, bytes_, data_ + i * bytes_);
  }
  ~Set() { std::free(data_); }
  Set(const Set&) = delete;

  // Seconds of a pass over all copies.
  double pass(const Problem& p, const float* x, float* y) const {
    const double start = seconds();
    for (int64_t i = 0; i < copies_; ++i) format_->multiply(p, x, data_ + i * bytes_, y);
    return seconds() - start;
  }
  int64_t copies() const { return copies_; }
  int64_t bytes() const { return bytes_; }

 private:
  const Format* format_;
  int64_t bytes_;
  int64_t copies_;
  char* data_;
};

void measure(const Problem& p) {
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  std::vector<float> w(static_cast<size_t>(p.k * p.n)), x(static_cast<size_t>(p.m * p.k));
  for (float& v : w) v = normal(generator);
  for (float& v : x) v = normal(generator);
  std::vector<float> y(static_cast<size_t>(p.m * p.n));
  const std::vector<Format> all = formats();
  std::vector<std::unique_ptr<Set>> sets;
  for (const Format& format : all)
    sets.push_back(std::make_unique<Set>(format, p, w, p.m == 1 ? kSetBytes : 0));
  std::vector<std::vector<double>> times(all.size());
  for (int round = 0; round <= kRounds; ++round) {
    for (size_t i = 0; i < all.size(); ++i) {
      const double time = sets[i]->pass(p, x.data(), y.data());
      if (round > 0) times[i].push_back(time / static_cast<double>(sets[i]->copies()));
    }
  }
  std::printf("%lld x %lld x %lld\n", static_cast<long long>(p.m), static_cast<long long>(p.k),
              static_cast<long long>(p.n));
  double read = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    std::ranges::sort(times[i]);
    const double time = times[i][times[i].size() / 2];
    const double rate = static_cast<double>(sets[i]->bytes()) / time * 1e-9;
    if (i == 0) read = rate;
    std::printf("  %-9s %9.1f us %7.2f GB/s (%3.0f %% of reading) %8.1f GFLOP/s\n",
                all[i].name.c_str(), time * 1e6, rate, 100 * rate / read,
                2e-9 * static_cast<double>(p.m * p.k * p.n) / time);
  }
}

}  // namespace

int main(int argc, char** argv) {
  sl::kernels::warm_dispatch();
  std::printf("%s\n", sl::kernels::active_target());
  std::vector<int64_t> rows;
  for (int i = 1; i < argc; ++i) rows.push_back(std::atoll(argv[i]));
  if (rows.empty()) rows = {1, 4, 64, 1000};
  for (const int64_t m : rows) {
    measure({m, 1024, 4096});
    if (m == 1) measure({m, 4096, 1024});
  }
  return 0;
}
