// Files that come from outside: regular ones only, so that none can block or go on without end.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <string>

namespace sl {

// A regular file open for reading.
class File {
 public:
  // Fails with kIo, naming the path and why: also at once where it is a directory, a named pipe, a
  // device or a socket.
  explicit File(const std::string& path);
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File();

  // When it was opened.
  size_t size() const { return static_cast<size_t>(opened_.st_size); }
  // All of it. Fails if there is more than `most` bytes.
  std::string read(size_t most) const;
  // Maps `size()` bytes for reading, null for none; the mapping is the caller's to unmap. Touching
  // what another process has cut off since raises SIGBUS.
  void* map() const;
  // Fails if it has been written to or cut short since it was opened.
  void check_unchanged() const;

 private:
  struct stat status() const;

  std::string path_;
  int fd_ = -1;
  struct stat opened_ {};
};

// Whether there is anything of that name, of any kind, be it a link that leads nowhere.
bool path_exists(const std::string& path);

}  // namespace sl
