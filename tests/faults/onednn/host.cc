// A program that loads the library as a plugin host does, also beside another oneDNN:
//
//   onednn_host small LIBRARY           a small model must load neither oneDNN nor OpenMP
//   onednn_host product LIBRARY         a large product
//   onednn_host before LIBRARY OTHER    loads OTHER into the global scope, then a large product
//   onednn_host after LIBRARY OTHER     a large product before and after OTHER is loaded
//   onednn_host reload LIBRARY COUNT    loads, multiplies, unloads; prints how memory grew
//
// Every mode prints whether results are right. "+onednn" or "+openblas" after LIBRARY chooses who
// computes large products.
#include <dlfcn.h>
#include <sequence_layers/sequence_layers.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

[[noreturn]] void give_up(const std::string& what) {
  std::printf("%s\n", what.c_str());
  std::exit(1);
}

// The functions of the library that are used here.
class Library {
 public:
  explicit Library(const std::string& name)
      : handle_(dlopen(file_of(name).c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (!handle_) give_up(dlerror());
    if (name.ends_with("+onednn")) backend_ = SL_MATMUL_BACKEND_ONEDNN;
    if (name.ends_with("+openblas")) backend_ = SL_MATMUL_BACKEND_OPENBLAS;
  }
  static std::string file_of(const std::string& name) { return name.substr(0, name.find('+')); }
  sl_matmul_backend backend() const { return backend_; }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() { dlclose(handle_); }

  template <typename Fn>
  Fn* function(const char* name) const {
    void* found = dlsym(handle_, name);
    if (!found) give_up(dlerror());
    return reinterpret_cast<Fn*>(found);
  }
#define CALL(library, name) (library).function<decltype(::name)>(#name)

 private:
  void* handle_;
  sl_matmul_backend backend_ = SL_MATMUL_BACKEND_DEFAULT;
};

void check(sl_status status, const sl_error& error) {
  if (status != SL_STATUS_OK) give_up(error.message);
}

std::vector<float> numbers(int64_t count) {
  std::vector<float> out(static_cast<size_t>(count));
  for (float& v : out) v = static_cast<float>(std::rand() % 2001 - 1000) / 1000;
  return out;
}

sl_sequence view(std::vector<int64_t> dims, std::vector<float>& data) {
  sl_sequence out = SL_SEQUENCE_INIT;
  for (const int64_t dim : dims) out.dims[out.rank++] = dim;
  out.data = data.data();
  return out;
}

double worst_error(const std::vector<float>& x, const std::vector<float>& w,
                   const std::vector<float>& y, size_t inputs, size_t outputs) {
  double worst = 0;
  for (size_t at = 0; at < y.size(); at += 97) {
    double sum = 0;
    for (size_t i = 0; i < inputs; ++i)
      sum += double{x[at / outputs * inputs + i]} * w[i * outputs + at % outputs];
    worst = std::max(worst, std::abs(sum - y[at]));
  }
  return worst;
}

// The largest error of a Dense layer on that many steps.
double product(const Library& library, int64_t time, int64_t inputs, int64_t outputs) {
  sl_error error = SL_ERROR_INIT;
  sl_weights* weights = nullptr;
  sl_layer* layer = nullptr;
  std::vector<float> w = numbers(inputs * outputs), x = numbers(time * inputs);
  std::vector<float> y(static_cast<size_t>(time * outputs));
  check(CALL(library, sl_weights_create)(&weights, &error), error);
  const sl_sequence kernel = view({inputs, outputs}, w);
  check(CALL(library, sl_weights_add)(weights, "params.kernel", &kernel, &error), error);
  const std::string config =
      R"({"type":"Dense","use_bias":false,"features":)" + std::to_string(outputs) + "}";
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.matmul_backend = library.backend();
  check(CALL(library, sl_layer_create)(config.data(), config.size(), weights, &options, &layer,
                                       &error),
        error);
  const sl_sequence in = view({1, time, inputs}, x);
  sl_sequence out = view({1, time, outputs}, y);
  check(CALL(library, sl_layer_apply)(layer, &in, &out, nullptr, &error), error);
  CALL(library, sl_layer_free)(layer);
  CALL(library, sl_weights_free)(weights);
  return worst_error(x, w, y, static_cast<size_t>(inputs), static_cast<size_t>(outputs));
}

void print_product(const Library& library, int64_t outputs) {
  const double error = product(library, 1000, 512, outputs);
  std::printf("product %s\n", error < 1e-4 ? "right" : "wrong");
}

// Runs steps of a small model.
void print_small(const Library& library) {
  sl_error error = SL_ERROR_INIT;
  sl_layer* layer = nullptr;
  sl_state* state = nullptr;
  check(CALL(library, sl_layer_create)(R"({"type":"Relu"})", 15, nullptr, nullptr, &layer, &error),
        error);
  const sl_state_options options = SL_STATE_OPTIONS_INIT;
  check(CALL(library, sl_state_alloc)(layer, &options, &state, &error), error);
  std::vector<float> x{-1}, y{9};
  const sl_sequence in = view({1, 1}, x);
  sl_sequence out = view({1, 1}, y);
  check(CALL(library, sl_layer_step)(layer, state, &in, &out, nullptr, &error), error);
  CALL(library, sl_state_free)(state);
  CALL(library, sl_layer_free)(layer);
  std::printf("step %s\n", y[0] == 0 ? "right" : "wrong");
}

bool mapped(const std::string& name) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(name) != std::string::npos) return true;
  }
  return false;
}

// Memory in KiB that belongs to this process alone.
long anonymous_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::atol(line.c_str() + std::strlen("RssAnon:"));
  }
  return 0;
}

void load_other(const char* path) {
  void* other = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  if (!other || !dlsym(RTLD_DEFAULT, "dnnl_version")) give_up("no other oneDNN");
}

void reload(const char* path, int count) {
  long after_warm_up = 0;
  bool right = true;
  for (int i = 0; i < count; ++i) {
    if (i == count / 10) after_warm_up = anonymous_memory();
    const Library library(path);
    right = right && product(library, 40, 128, 160) < 1e-4;
  }
  std::printf("product %s\ngrew by %ld KiB\n", right ? "right" : "wrong",
              anonymous_memory() - after_warm_up);
  const bool stays = mapped(std::filesystem::canonical(Library::file_of(path)).string());
  std::printf("library %s\n", stays ? "mapped" : "unmapped");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) give_up("usage: onednn_host MODE LIBRARY [OTHER | COUNT]");
  const std::string mode = argv[1];
  const char* path = argv[2];
  if (mode == "reload") {
    reload(path, std::atoi(argv[3]));
    return 0;
  }
  if (mode == "before") load_other(argv[3]);
  const Library library(path);
  if (mode == "small") {
    print_small(library);
  } else {
    print_product(library, 1024);
  }
  if (mode == "after") {
    load_other(argv[3]);
    print_product(library, 768);
  }
  std::printf("oneDNN 3 %s\n", mapped("libdnnl.so.3") ? "mapped" : "unmapped");
  std::printf("OpenMP %s\n", mapped("libgomp.so") ? "mapped" : "unmapped");
  std::printf("OpenBLAS %s\n", !mapped("libopenblas")               ? "unmapped"
                               : dlsym(RTLD_DEFAULT, "cblas_sgemm") ? "mapped, visible"
                                                                    : "mapped, hidden");
  return 0;
}
