#include "core/available_memory.h"

#include <algorithm>
#include <cstdint>

#ifdef __linux__
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#endif

namespace sl {

#ifdef __linux__
namespace {

// Reads the start of a small file without allocating. The text is empty if it cannot be read.
class SmallFile {
 public:
  explicit SmallFile(const char* path) {
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    ssize_t count = 0;
    while (size_ < text_.size() &&
           (count = read(file, text_.data() + size_, text_.size() - size_)) > 0)
      size_ += static_cast<size_t>(count);
    close(file);
  }
  std::string_view text() const { return {text_.data(), size_}; }

 private:
  std::array<char, 2048> text_;
  size_t size_ = 0;
};

std::optional<size_t> leading_number(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  return number;
}

// The number behind `key` at the start of a line; 0 if there is none.
size_t number_of(std::string_view text, std::string_view key) {
  for (size_t at = text.find(key); at != std::string_view::npos; at = text.find(key, at + 1)) {
    if (at == 0 || text[at - 1] == '\n')
      return leading_number(text.substr(at + key.size())).value_or(0);
  }
  return 0;
}

// The names of one version of the cgroup interface.
struct CgroupFiles {
  const char* root;
  std::string_view controller;  // the text before the path in /proc/self/cgroup
  const char* limit;
  const char* usage;
  std::string_view cache;
};
constexpr CgroupFiles kCgroupVersions[] = {
    {"/sys/fs/cgroup", "0::", "memory.max", "memory.current", "inactive_file"},
    {"/sys/fs/cgroup/memory", ":memory:", "memory.limit_in_bytes", "memory.usage_in_bytes",
     "total_inactive_file"},
};

size_t left_in_cgroup(const CgroupFiles& files, const std::string& directory) {
  const auto text = [&](const char* name) { return SmallFile((directory + '/' + name).c_str()); };
  // An unlimited group has "max" in place of a number.
  const auto limit = leading_number(text(files.limit).text());
  const auto usage = leading_number(text(files.usage).text());
  if (!limit || !usage) return SIZE_MAX;
  const size_t cache = number_of(text("memory.stat").text(), files.cache);
  const size_t held = *usage - std::min(cache, *usage);
  return *limit - std::min(held, *limit);
}

// The minimum of the memory left in the process's group and in all groups above it. In a container
// the path may be that of the host; only the visible root group is read in that case.
size_t left_in_cgroups(const CgroupFiles& files) {
  const SmallFile groups("/proc/self/cgroup");
  const size_t at = groups.text().find(files.controller);
  if (at == std::string_view::npos) return SIZE_MAX;
  std::string_view path = groups.text().substr(at + files.controller.size());
  path = path.substr(0, path.find('\n'));
  size_t left = left_in_cgroup(files, files.root);
  while (path.size() > 1) {
    left = std::min(left, left_in_cgroup(files, files.root + std::string(path)));
    path = path.substr(0, path.rfind('/'));
  }
  return left;
}

}  // namespace

size_t available_memory() {
  constexpr size_t kKibibyte = 1024;
  const SmallFile file("/proc/meminfo");
  const size_t memory = number_of(file.text(), "MemAvailable:");
  if (memory == 0) return SIZE_MAX;
  size_t left = (memory + number_of(file.text(), "SwapFree:")) * kKibibyte;
  for (const CgroupFiles& files : kCgroupVersions) left = std::min(left, left_in_cgroups(files));
  return left;
}

#else

size_t available_memory() { return SIZE_MAX; }

#endif

}  // namespace sl
