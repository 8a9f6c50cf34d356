// Libraries that are loaded at their first use, with symbols of their own: neither does the process
// see them, nor do they call what another copy in the process has under the same names.
#pragma once

#include <dlfcn.h>

#include <functional>
#include <string>

namespace sl::ops {

struct PrivateLibrary {
  const char* name;
  // The environment variable that names another file, or none if it is empty.
  const char* variable;
  // Searched beside this library, and then by the system's loader.
  const char* file;
};

// Calls open(file) for the files until it returns no reason why one cannot be used, and returns
// that file. Else logs the reasons, once for each call, and returns nothing.
std::string load_private(const PrivateLibrary& library,
                         const std::function<std::string(const std::string& file)>& open);

// Loads a file and calls bind(handle). Returns the reason if the file cannot be loaded, or what
// bind returns: a reason not to use the library, which is then unloaded, or nothing.
std::string open_private(const std::string& file,
                         const std::function<std::string(void* library)>& bind);

// Whether a library can be loaded with RTLD_DEEPBIND, so that its own symbols precede all others.
// Sanitizers end a process that asks for it.
bool can_bind_deeply();

template <typename Fn>
bool find_function(void* library, const char* name, Fn** out) {
  *out = reinterpret_cast<Fn*>(dlsym(library, name));
  return *out != nullptr;
}

}  // namespace sl::ops
