#include "cli/output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <utility>

namespace sl::cli {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
  throw std::runtime_error("cannot write " + path + ": " + reason);
}

// A temporary file beside the target, removed unless it is renamed to it.
class Draft {
 public:
  Draft(const std::string& path, const std::string& target) : name_(path), target_(target) {
    for (int i = 0; i < 100; ++i) {
      draft_ = target + "." + std::to_string(getpid()) + "-" + std::to_string(i) + ".part";
      const int file = ::open(draft_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (file >= 0) {
        close(file);
        return;
      }
      if (errno != EEXIST) break;
    }
    const int reason = errno;
    draft_.clear();
    refuse(name_, std::strerror(reason));
  }
  ~Draft() {
    if (!draft_.empty()) unlink(draft_.c_str());
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;

  const std::string& path() const { return draft_; }

  void publish() {
    struct stat old {};
    // The new file gets the mode of the one that it replaces.
    if (stat(target_.c_str(), &old) == 0) chmod(draft_.c_str(), old.st_mode & 07777);
    if (rename(draft_.c_str(), target_.c_str()) != 0) refuse(name_, std::strerror(errno));
    draft_.clear();
  }

 private:
  std::string name_, target_, draft_;
};

}  // namespace

std::string extension(const std::string& path) {
  std::string text = fs::path(path).extension().string();
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

OutputFile::OutputFile(std::string path) : path_(std::move(path)) {
  std::error_code error;
  const fs::file_status status = fs::status(path_, error);
  if (fs::is_directory(status)) refuse(path_, "it is a directory");
  if (fs::exists(status) && access(path_.c_str(), W_OK) != 0) refuse(path_, std::strerror(errno));
  special_ = fs::exists(status) && !fs::is_regular_file(status);
  if (special_) {
    target_ = path_;
    return;
  }
  target_ = fs::weakly_canonical(path_, error).string();
  if (error) refuse(path_, error.message());
  const Draft probe(path_, target_);
}

void OutputFile::write(const std::function<void(const std::string&)>& write) const {
  if (special_) return write(target_);
  Draft draft(path_, target_);
  try {
    write(draft.path());
  } catch (const std::exception& error) {
    std::string text = error.what();
    const size_t at = text.find(draft.path());
    if (at != std::string::npos) text.replace(at, draft.path().size(), path_);
    throw std::runtime_error(text);
  }
  draft.publish();
}

}  // namespace sl::cli
