#include "cli/live_wav.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

namespace sl::cli {
namespace {

constexpr int64_t kFirstChunk = 12;
// Limits the search: no recorder writes that many chunks.
constexpr int kMaxChunks = 1000;
constexpr uint64_t kUnknown = 0xffffffff;

std::string riff_number(uint64_t value, size_t size, bool big_endian) {
  std::string bytes;
  for (size_t i = 0; i < size; ++i) bytes += static_cast<char>(value >> (8 * i) & 255);
  if (big_endian) std::reverse(bytes.begin(), bytes.end());
  return bytes;
}

}  // namespace

std::optional<LiveWav> LiveWav::find(const std::string& path) {
  std::error_code ignored;  // opening the file will report the error
  if (!std::filesystem::is_regular_file(path, ignored)) return std::nullopt;
  LiveWav file(path);
  file.find_patches();
  if (file.patches_.empty()) return std::nullopt;
  return file;
}

LiveWav::LiveWav(const std::string& path)
    : file_(path, std::ios::binary), size_(static_cast<int64_t>(std::filesystem::file_size(path))) {
  const std::string head = text_at(0, kFirstChunk);
  if (head.ends_with("WAVE")) id_ = head.substr(0, 4);
}

void LiveWav::find_patches() {
  if (id_ != "RIFF" && id_ != "RIFX" && id_ != "RF64") return;
  int64_t long_size = 0;  // position of the data size in RF64
  int64_t at = kFirstChunk;
  for (int i = 0; i < kMaxChunks && at + 8 <= size_; ++i, at = next_chunk(at)) {
    const std::string id = text_at(at, 4);
    if (id == "ds64") long_size = at + 16;
    if (id == "LIST") patches_.push_back({at, "JUNK"});
    if (id != "data") continue;
    std::optional<Patch> size = find_size(at, long_size);
    if (!size) continue;
    patches_.push_back(std::move(*size));
    return;
  }
}

std::optional<LiveWav::Patch> LiveWav::find_size(int64_t at, int64_t long_size) {
  const int64_t left = size_ - at - 8;
  const uint64_t said = number_at(at + 4, 4);
  if (said == kUnknown && long_size != 0) {
    const uint64_t size = number_at(long_size, 8);
    if (size != 0 && size <= INT64_MAX) return std::nullopt;
    return Patch{long_size, riff_number(static_cast<uint64_t>(left), 8, false)};
  }
  if (said != 0 || left == 0 || is_chunks(at + 8)) return std::nullopt;
  const uint64_t size = std::min(static_cast<uint64_t>(left), kUnknown);
  return Patch{at + 4, riff_number(size, 4, id_ == "RIFX")};
}

SNDFILE* LiveWav::open(SF_INFO* info) {
  static SF_VIRTUAL_IO calls = {
      [](void* self) -> sf_count_t { return of(self).size_; },
      [](sf_count_t offset, int whence, void* self) { return of(self).seek(offset, whence); },
      [](void* out, sf_count_t count, void* self) { return of(self).read(out, count); },
      [](const void*, sf_count_t, void*) -> sf_count_t { return 0; },
      [](void* self) -> sf_count_t { return of(self).position_; }};
  return sf_open_virtual(&calls, SFM_READ, info, this);
}

sf_count_t LiveWav::seek(sf_count_t offset, int whence) {
  const int64_t from = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? position_ : size_;
  return position_ = std::clamp<int64_t>(from + offset, 0, size_);
}

sf_count_t LiveWav::read(void* out, sf_count_t count) {
  const int64_t got = read_at(position_, out, count);
  for (const Patch& patch : patches_) {
    for (size_t i = 0; i < patch.bytes.size(); ++i) {
      const int64_t at = patch.at + static_cast<int64_t>(i) - position_;
      if (at >= 0 && at < got) static_cast<char*>(out)[at] = patch.bytes[i];
    }
  }
  position_ += got;
  return got;
}

int64_t LiveWav::read_at(int64_t at, void* out, int64_t count) {
  file_.clear();
  file_.seekg(at);
  file_.read(static_cast<char*>(out), count);
  return file_.gcount();
}

std::string LiveWav::text_at(int64_t at, int64_t count) {
  std::string bytes(static_cast<size_t>(count), '\0');
  bytes.resize(static_cast<size_t>(read_at(at, bytes.data(), count)));
  return bytes;
}

uint64_t LiveWav::number_at(int64_t at, int64_t count) {
  std::string bytes = text_at(at, count);
  if (id_ != "RIFX") std::reverse(bytes.begin(), bytes.end());
  uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

int64_t LiveWav::next_chunk(int64_t at) {
  const auto size = static_cast<int64_t>(number_at(at + 4, 4));
  return at + 8 + size + size % 2;
}

bool LiveWav::is_chunks(int64_t at) {
  for (int i = 0; i < kMaxChunks && at + 8 <= size_; ++i) {
    const std::string id = text_at(at, 4);
    if (!std::ranges::all_of(id, [](char c) { return c >= ' ' && c <= '~'; })) return false;
    at = next_chunk(at);
  }
  return at == size_;
}

}  // namespace sl::cli
