#include "core/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "core/status.h"

namespace sl {
namespace {

// A multiple of the size of huge pages.
constexpr size_t kWrittenBlock = size_t{1} << 23;

[[noreturn]] void fail_errno(const std::string& path, std::string_view what) {
  const int error = errno;
  fail(error == ENOMEM ? Code::kOutOfMemory : Code::kIo, "{}: {}: {}", path, what,
       std::strerror(error));
}

std::string_view kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a named pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

void check_regular(const std::string& path, const struct stat& status) {
  if (S_ISREG(status.st_mode)) return;
  fail(Code::kIo, "{}: cannot be read: it is {}, not a file", path, kind_of(status.st_mode));
}

bool same_time(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

}  // namespace

File::File(const std::string& path) : path_(path) {
  // The kind is checked before opening, because opening a device may have effects, and again after
  // it, because the path may have changed. Without O_NONBLOCK a named pipe would wait for a writer.
  if (stat(path.c_str(), &opened_) != 0) fail_errno(path, "cannot be opened");
  check_regular(path, opened_);
  fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd_ < 0) fail_errno(path, "cannot be opened");
  try {
    opened_ = status();
    check_regular(path, opened_);
  } catch (...) {
    close(fd_);
    throw;
  }
}

File::~File() { close(fd_); }

struct stat File::status() const {
  struct stat now {};
  if (fstat(fd_, &now) != 0) fail_errno(path_, "cannot be read");
  return now;
}

std::string File::read(size_t maximum) const {
  std::string text;
  const auto fail_size = [&] { fail(Code::kIo, "{}: is larger than {} bytes", path_, maximum); };
  if (size() > maximum) fail_size();
  // Reads until the end, since the size may change, and is 0 for files that the kernel generates.
  for (size_t filled = 0;;) {
    text.resize(filled + std::max<size_t>(4096, size() + 1 - std::min(filled, size())));
    const ssize_t count =
        pread(fd_, text.data() + filled, text.size() - filled, static_cast<off_t>(filled));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_errno(path_, "cannot be read");
    filled += static_cast<size_t>(count);
    if (filled > maximum) fail_size();
    if (count > 0) continue;
    text.resize(filled);
    return text;
  }
}

void* File::map() const {
  if (size() == 0) return nullptr;
  void* mapping = mmap(nullptr, size(), PROT_READ, MAP_PRIVATE, fd_, 0);
  if (mapping == MAP_FAILED) fail_errno(path_, "cannot be mapped");
#ifdef MADV_HUGEPAGE
  // Where the system reads files into huge pages, steps translate fewer addresses of weights. It is
  // only advice: it may fail, and pages that are in memory already stay as they are.
  madvise(mapping, size(), MADV_HUGEPAGE);
#endif
  return mapping;
}

void File::check_unchanged() const {
  const struct stat now = status();
  if (now.st_size < opened_.st_size) {
    fail(Code::kIo, "{}: was cut short after it was opened, from {} to {} bytes", path_,
         opened_.st_size, now.st_size);
  }
  if (now.st_size != opened_.st_size || !same_time(now.st_mtim, opened_.st_mtim)) {
    fail(Code::kIo, "{}: was written to after it was opened", path_);
  }
}

void touch_pages(const std::byte* data, size_t size) {
  constexpr uintptr_t kPage = 4096;
#ifdef MADV_POPULATE_READ
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data) & ~(kPage - 1);
  const size_t bytes = reinterpret_cast<uintptr_t>(data) + size - begin;
  const int result = madvise(reinterpret_cast<void*>(begin), bytes, MADV_POPULATE_READ);
  if (result == 0 || errno != EINVAL) return;
#endif
  // Where the system does not know the advice.
  for (size_t at = 0; at < size; at += kPage) {
    static_cast<void>(*static_cast<const volatile std::byte*>(data + at));
  }
}

NewFile::NewFile(const std::string& path) : path_(path), temporary_(path + ".XXXXXX") {
  fd_ = mkostemp(temporary_.data(), O_CLOEXEC);
  if (fd_ < 0) fail_errno(path_, "cannot be written");
  fchmod(fd_, 0644);
}

NewFile::~NewFile() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(temporary_.c_str());
}

void NewFile::write(const void* data, size_t size) {
  const auto* from = static_cast<const std::byte*>(data);
  block_.reserve(kWrittenBlock);
  while (size > 0) {
    const size_t count = std::min(size, kWrittenBlock - block_.size());
    block_.insert(block_.end(), from, from + count);
    if (block_.size() == kWrittenBlock) flush();
    from += count;
    size -= count;
  }
}

void NewFile::flush() {
  for (size_t written = 0; written < block_.size();) {
    const ssize_t count = ::write(fd_, block_.data() + written, block_.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_errno(path_, "cannot be written");
    written += static_cast<size_t>(count);
  }
  block_.clear();
}

void NewFile::finish() {
  flush();
  if (rename(temporary_.c_str(), path_.c_str()) != 0) fail_errno(path_, "cannot be written");
  close(fd_);
  fd_ = -1;
}

bool path_exists(const std::string& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) == 0) return true;
  // Any other error means that something exists, and is reported when it is opened.
  return errno != ENOENT && errno != ENOTDIR;
}

}  // namespace sl
