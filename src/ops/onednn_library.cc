#include "ops/onednn_library.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <link.h>
#include <stdlib.h>

#include <climits>
#include <filesystem>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "core/log.h"

namespace sl::ops {
namespace {

constexpr char kFile[] = "libdnnl.so.3";

// Reads the address of this library's or program's own code.
void anchor() {}

// Directory of the shared library, or of the program, that holds this code. Empty if unknown.
std::string own_directory() {
  Dl_info info;
  link_map* map = nullptr;
  if (!dladdr1(reinterpret_cast<void*>(&anchor), &info, reinterpret_cast<void**>(&map),
               RTLD_DL_LINKMAP) ||
      !map) {
    return {};
  }
  std::filesystem::path path = map->l_name;
  if (path.empty()) {  // the main program has no path here
    std::error_code error;
    path = std::filesystem::read_symlink("/proc/self/exe", error);
  } else if (path.is_relative()) {  // relative to the working directory when it was loaded
    char origin[PATH_MAX];
    return dlinfo(map, RTLD_DI_ORIGIN, origin) == 0 ? origin : "";
  }
  return path.parent_path();
}

// Whether a library can be loaded with RTLD_DEEPBIND, so that its own symbols precede all others.
// Sanitizers end a process that asks for it.
bool can_bind_deeply() { return dlsym(RTLD_DEFAULT, "__sanitizer_print_stack_trace") == nullptr; }

template <typename Fn>
bool find(void* library, const char* name, Fn** out) {
  *out = reinterpret_cast<Fn*>(dlsym(library, name));
  return *out != nullptr;
}

// Fills the table with the functions of a loaded library. Returns the reason if the library cannot
// be used, or nothing.
std::string bind(void* library, OneDnnFunctions* out) {
  // The version is checked first, since other versions have functions of the same names with other
  // arguments.
  if (!find(library, "dnnl_version", &out->dnnl_version)) return "it is not oneDNN";
  const dnnl_version_t version = *out->dnnl_version();
  if (version.major != DNNL_VERSION_MAJOR) {
    return fmt::format("it is oneDNN {}.{}.{}, not {}", version.major, version.minor, version.patch,
                       DNNL_VERSION_MAJOR);
  }
  std::string missing;
#define SL_ONEDNN_FIND(name) \
  if (!find(library, #name, &out->name)) missing = "it has no " #name;
  SL_ONEDNN_FUNCTIONS(SL_ONEDNN_FIND)
#undef SL_ONEDNN_FIND
  if (!missing.empty()) return missing;
  switch (version.cpu_runtime) {
    case DNNL_RUNTIME_SEQ:
    case DNNL_RUNTIME_THREADPOOL:  // runs on the calling thread if it is given no pool
      return {};
    case DNNL_RUNTIME_OMP:
      if (find(library, "omp_get_max_threads", &out->omp_get_max_threads) &&
          find(library, "omp_set_num_threads", &out->omp_set_num_threads)) {
        return {};
      }
      return "its OpenMP cannot be found";
    default:
      return "it cannot be kept on the calling thread";
  }
}

struct Candidates {
  std::vector<std::string> files;
  bool asked_for = false;  // whether the environment variable names the file
};

Candidates candidates() {
  if (const char* asked = secure_getenv("SEQUENCE_LAYERS_ONEDNN")) {
    if (*asked == '\0') return {};
    return {{asked}, true};
  }
  Candidates out;
  const std::string directory = own_directory();
  if (!directory.empty()) out.files.push_back(directory + "/" + kFile);
  out.files.emplace_back(kFile);
  return out;
}

// Loads the file and fills the table. Returns the reason if the file cannot be used, or nothing.
std::string open(const std::string& file, OneDnnFunctions* out) {
  const bool deeply = can_bind_deeply();
  if (!deeply && dlsym(RTLD_DEFAULT, "dnnl_version"))
    return file + ": its symbols would be another oneDNN's";
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | (deeply ? RTLD_DEEPBIND : 0));
  if (!library) return dlerror();
  const std::string reason = bind(library, out);
  if (reason.empty()) return {};
  dlclose(library);
  return fmt::format("{}: {}", file, reason);
}

std::optional<OneDnnFunctions> load() {
  const Candidates tried = candidates();
  std::string reasons;
  for (const std::string& file : tried.files) {
    OneDnnFunctions functions;
    const std::string reason = open(file, &functions);
    if (reason.empty()) {
      const dnnl_version_t& version = *functions.dnnl_version();
      log(LogLevel::kDebug, "oneDNN {}.{}.{} from {}", version.major, version.minor, version.patch,
          file);
      return functions;
    }
    reasons += (reasons.empty() ? "" : "; ") + reason;
  }
  log(tried.asked_for ? LogLevel::kWarning : LogLevel::kInfo,
      "without oneDNN, large products run on the library's own kernels: {}",
      reasons.empty() ? "SEQUENCE_LAYERS_ONEDNN is empty" : reasons);
  return {};
}

}  // namespace

const OneDnnFunctions* onednn_functions() {
  // The table needs no destructor, because calls may come from a program's own static destructors.
  static_assert(std::is_trivially_destructible_v<std::optional<OneDnnFunctions>>);
  static const std::optional<OneDnnFunctions> functions = load();
  return functions ? &*functions : nullptr;
}

}  // namespace sl::ops
