#include "ops/onednn_library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <optional>
#include <string>
#include <type_traits>

#include "core/log.h"
#include "ops/private_library.h"

namespace sl::ops {
namespace {

// Fills the table with the functions of a loaded library. Returns the reason if the library cannot
// be used, or nothing.
std::string bind(void* library, OneDnnFunctions* out) {
  // The version is checked first, since other versions have functions of the same names with other
  // arguments.
  if (!find_function(library, "dnnl_version", &out->dnnl_version)) return "it is not oneDNN";
  const dnnl_version_t version = *out->dnnl_version();
  if (version.major != DNNL_VERSION_MAJOR) {
    return fmt::format("it is oneDNN {}.{}.{}, not {}", version.major, version.minor, version.patch,
                       DNNL_VERSION_MAJOR);
  }
  std::string missing;
#define SL_ONEDNN_FIND(name) \
  if (!find_function(library, #name, &out->name)) missing = "it has no " #name;
  SL_ONEDNN_FUNCTIONS(SL_ONEDNN_FIND)
#undef SL_ONEDNN_FIND
  if (!missing.empty()) return missing;
  switch (version.cpu_runtime) {
    case DNNL_RUNTIME_SEQ:
    case DNNL_RUNTIME_THREADPOOL:  // runs on the calling thread if it is given no pool
      return {};
    case DNNL_RUNTIME_OMP:
      if (find_function(library, "omp_get_max_threads", &out->omp_get_max_threads) &&
          find_function(library, "omp_set_num_threads", &out->omp_set_num_threads)) {
        return {};
      }
      return "its OpenMP cannot be found";
    default:
      return "it cannot be kept on the calling thread";
  }
}

// Loads the file and fills the table. Returns the reason if the file cannot be used, or nothing.
std::string open(const std::string& file, OneDnnFunctions* out) {
  if (!can_bind_deeply() && dlsym(RTLD_DEFAULT, "dnnl_version"))
    return file + ": its symbols would be another oneDNN's";
  return open_private(file, [&](void* library) { return bind(library, out); });
}

std::optional<OneDnnFunctions> load() {
  OneDnnFunctions functions;
  const PrivateLibrary searched{"oneDNN", "SEQUENCE_LAYERS_ONEDNN", "libdnnl.so.3"};
  const std::string file =
      load_private(searched, [&](const std::string& name) { return open(name, &functions); });
  if (file.empty()) return {};
  const dnnl_version_t& version = *functions.dnnl_version();
  log(LogLevel::kDebug, "oneDNN {}.{}.{} from {}", version.major, version.minor, version.patch,
      file);
  return functions;
}

}  // namespace

const OneDnnFunctions* onednn_functions() {
  // The table needs no destructor, because calls may come from a program's own static destructors.
  static_assert(std::is_trivially_destructible_v<std::optional<OneDnnFunctions>>);
  static const std::optional<OneDnnFunctions> kFunctions = load();
  return kFunctions ? &*kFunctions : nullptr;
}

}  // namespace sl::ops
