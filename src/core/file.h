// Files named by the caller. Only regular files are opened, so that none can block or be endless.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <string>
#include <vector>

namespace sl {

// A regular file open for reading.
class File {
 public:
  // Opens the file. Fails with kIo, the path and the reason, at once also if the path is a
  // directory, a named pipe, a device or a socket.
  explicit File(const std::string& path);
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File();

  // The size when the file was opened, in bytes.
  size_t size() const { return static_cast<size_t>(opened_.st_size); }
  // Reads the whole file. Fails if it has more than `maximum` bytes.
  std::string read(size_t maximum) const;
  // Maps size() bytes for reading; null if the file is empty. The caller must unmap it. Reading a
  // part that another process has cut off since then raises SIGBUS.
  void* map() const;
  // Fails if the file has been written to or shortened since it was opened.
  void check_unchanged() const;

 private:
  struct stat status() const;

  std::string path_;
  int fd_ = -1;
  struct stat opened_ {};
};

// Makes the system map all pages of that memory now, and read those of a file that it has not yet
// read.
void touch_pages(const std::byte* data, size_t size);

// A file that replaces the one at its path, if there is one, once it is written whole.
class NewFile {
 public:
  // Creates a temporary file beside the path. Fails with kIo, the path and the reason.
  explicit NewFile(const std::string& path);
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  // Removes the temporary file if it was not moved.
  ~NewFile();

  // Collects what is small and writes large blocks, which the system can keep in huge pages: steps
  // that read weights there translate fewer addresses.
  void write(const void* data, size_t size);
  // Moves the file to its path.
  void finish();

 private:
  void flush();

  std::string path_, temporary_;
  int fd_ = -1;
  std::vector<std::byte> block_;  // to be written next
};

// Whether the path exists, as any kind of file, including a dangling link.
bool path_exists(const std::string& path);

}  // namespace sl
