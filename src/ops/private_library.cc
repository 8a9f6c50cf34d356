#include "ops/private_library.h"

#include <fmt/format.h>
#include <link.h>
#include <stdlib.h>

#include <climits>
#include <filesystem>
#include <vector>

#include "core/log.h"

namespace sl::ops {
namespace {

// Its address is one of this library's or program's own code.
void anchor() {}

// Directory of the shared library, or of the program, that holds this code. Empty if unknown.
std::string own_directory() {
  Dl_info info;
  link_map* map = nullptr;
  if (!dladdr1(reinterpret_cast<void*>(&anchor), &info, reinterpret_cast<void**>(&map),
               RTLD_DL_LINKMAP) ||
      !map)
    return {};
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

struct Candidates {
  std::vector<std::string> files;
  bool asked_for = false;  // whether the environment variable names the file
};

Candidates candidates(const PrivateLibrary& library) {
  if (const char* asked = secure_getenv(library.variable)) {
    if (*asked == '\0') return {};
    return {{asked}, true};
  }
  Candidates out;
  const std::string directory = own_directory();
  if (!directory.empty()) out.files.push_back(directory + "/" + library.file);
  out.files.emplace_back(library.file);
  return out;
}

}  // namespace

bool can_bind_deeply() { return dlsym(RTLD_DEFAULT, "__sanitizer_print_stack_trace") == nullptr; }

std::string open_private(const std::string& file,
                         const std::function<std::string(void* library)>& bind) {
  const int deeply = can_bind_deeply() ? RTLD_DEEPBIND : 0;
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | deeply);
  if (!library) return dlerror();
  const std::string reason = bind(library);
  if (reason.empty()) return {};
  dlclose(library);
  return fmt::format("{}: {}", file, reason);
}

std::string load_private(const PrivateLibrary& library,
                         const std::function<std::string(const std::string& file)>& open) {
  const Candidates tried = candidates(library);
  std::string reasons;
  for (const std::string& file : tried.files) {
    const std::string reason = open(file);
    if (reason.empty()) return file;
    reasons += (reasons.empty() ? "" : "; ") + reason;
  }
  log(tried.asked_for ? LogLevel::kWarning : LogLevel::kInfo,
      "without {}, large products run on the library's own kernels: {}", library.name,
      reasons.empty() ? fmt::format("{} is empty", library.variable) : reasons);
  return {};
}

}  // namespace sl::ops
