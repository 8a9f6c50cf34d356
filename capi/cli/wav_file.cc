#include "cli/wav_file.h"

#include <algorithm>
#include <climits>
#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <system_error>

namespace sl::cli {
namespace {

constexpr int64_t kHeadSize = 8;  // of a chunk: its name and its size
constexpr int64_t kFirstChunk = 12;
// Limits the search: no recorder writes that many chunks.
constexpr int kMaxChunks = 1000;
constexpr int64_t kUnknown = 0xffffffff;

// Format tags of the fmt chunk.
enum Tag : uint64_t { kPcm = 1, kFloat = 3, kALaw = 6, kMuLaw = 7, kExtensible = 0xfffe };

// libsndfile's name of an encoding with that many bytes a sample, or 0 if it is not read.
int encoding(uint64_t tag, int64_t bytes) {
  if (tag == kPcm && bytes == 1) return SF_FORMAT_PCM_U8;
  if (tag == kPcm && bytes == 2) return SF_FORMAT_PCM_16;
  if (tag == kPcm && bytes == 3) return SF_FORMAT_PCM_24;
  if (tag == kPcm && bytes == 4) return SF_FORMAT_PCM_32;
  if (tag == kFloat && bytes == 4) return SF_FORMAT_FLOAT;
  if (tag == kFloat && bytes == 8) return SF_FORMAT_DOUBLE;
  if (tag == kALaw && bytes == 1) return SF_FORMAT_ALAW;
  if (tag == kMuLaw && bytes == 1) return SF_FORMAT_ULAW;
  return 0;
}

}  // namespace

std::optional<WavFile> WavFile::find(const std::string& path) {
  std::error_code ignored;  // opening the file will report the error
  if (!std::filesystem::is_regular_file(path, ignored)) return std::nullopt;
  WavFile file(path);
  if (file.id_.empty()) return std::nullopt;
  file.find_samples();
  return file;
}

WavFile::WavFile(const std::string& path)
    : file_(path, std::ios::binary),
      file_size_(static_cast<int64_t>(std::filesystem::file_size(path))) {
  const std::string head = text_at(0, kFirstChunk);
  const std::string id = head.substr(0, 4);
  if (head.ends_with("WAVE") && (id == "RIFF" || id == "RIFX" || id == "RF64")) id_ = id;
}

void WavFile::find_samples() {
  std::optional<Chunk> format, long_sizes;
  int64_t at = kFirstChunk;
  for (int i = 0; i < kMaxChunks && at + kHeadSize <= file_size_; ++i) {
    const std::string name = text_at(at, 4);
    Chunk chunk = chunk_at(at);
    if (name == "fmt ") format = chunk;
    if (name == "ds64") long_sizes = chunk;
    if (name == "data") {
      if (!format) throw std::runtime_error("it has no fmt chunk before its data");
      read_format(*format);
      samples_ = {chunk.begin, data_size(chunk, long_sizes)};
      return;
    }
    at = chunk.begin + chunk.size + chunk.size % 2;
  }
  throw std::runtime_error("it has no data chunk");
}

void WavFile::read_format(const Chunk& chunk) {
  constexpr int64_t kSmallest = 16, kSmallestExtensible = 40, kSubformat = 24;
  if (chunk.size < kSmallest || chunk.begin + kSmallest > file_size_) {
    throw std::runtime_error("its fmt chunk is shorter than 16 bytes");
  }
  uint64_t tag = number_at(chunk.begin, 2);
  const auto channels = static_cast<int64_t>(number_at(chunk.begin + 2, 2));
  const uint64_t rate = number_at(chunk.begin + 4, 4);
  const auto frame = static_cast<int64_t>(number_at(chunk.begin + 12, 2));
  const auto bits = static_cast<int64_t>(number_at(chunk.begin + 14, 2));
  if (tag == kExtensible && chunk.size >= kSmallestExtensible) {
    tag = number_at(chunk.begin + kSubformat, 2);
  }
  if (channels == 0) throw std::runtime_error("its fmt chunk has 0 channels");
  if (rate == 0 || rate > INT_MAX) {
    throw std::runtime_error("its fmt chunk has a sample rate of " + std::to_string(rate) + " Hz");
  }
  // Samples of 20 bits may be in 3 or 4 bytes.
  const int64_t bytes = frame > 0 && frame % channels == 0 ? frame / channels : (bits + 7) / 8;
  const int known = encoding(tag, bytes);
  if (known == 0) {
    throw std::runtime_error("its samples have format tag " + std::to_string(tag) + " and " +
                             std::to_string(bytes) +
                             " bytes; expected PCM (1), float (3), A-law (6) or mu-law (7)");
  }
  info_.samplerate = static_cast<int>(rate);
  info_.channels = static_cast<int>(channels);
  info_.format = SF_FORMAT_RAW | known | (id_ == "RIFX" ? SF_ENDIAN_BIG : SF_ENDIAN_LITTLE);
}

int64_t WavFile::data_size(const Chunk& data, std::optional<Chunk> long_sizes) {
  const int64_t left = file_size_ - data.begin;
  int64_t size = data.size;
  if (size == kUnknown && long_sizes) {
    constexpr int64_t kDataSize = 8;  // position in the ds64 chunk
    const uint64_t long_size = number_at(long_sizes->begin + kDataSize, 8);
    size = long_size == 0 ? left : static_cast<int64_t>(std::min<uint64_t>(long_size, INT64_MAX));
  } else if (size == 0 && !is_chunks(data.begin)) {
    size = left;
  }
  return std::min(size, left);
}

SNDFILE* WavFile::open(SF_INFO* info) {
  static SF_VIRTUAL_IO calls = {
      [](void* self) -> sf_count_t { return of(self).samples_.size; },
      [](sf_count_t offset, int whence, void* self) { return of(self).seek(offset, whence); },
      [](void* out, sf_count_t count, void* self) { return of(self).read(out, count); },
      [](const void*, sf_count_t, void*) -> sf_count_t { return 0; },
      [](void* self) -> sf_count_t { return of(self).position_; }};
  *info = info_;
  return sf_open_virtual(&calls, SFM_READ, info, this);
}

sf_count_t WavFile::seek(sf_count_t offset, int whence) {
  const int64_t from = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? position_ : samples_.size;
  return position_ = std::clamp<int64_t>(from + offset, 0, samples_.size);
}

sf_count_t WavFile::read(void* out, sf_count_t count) {
  const int64_t wanted = std::min(count, samples_.size - position_);
  const int64_t got = read_at(samples_.begin + position_, out, wanted);
  position_ += got;
  return got;
}

int64_t WavFile::read_at(int64_t at, void* out, int64_t count) {
  file_.clear();
  file_.seekg(at);
  file_.read(static_cast<char*>(out), count);
  return file_.gcount();
}

std::string WavFile::text_at(int64_t at, int64_t count) {
  std::string bytes(static_cast<size_t>(count), '\0');
  bytes.resize(static_cast<size_t>(read_at(at, bytes.data(), count)));
  return bytes;
}

uint64_t WavFile::number_at(int64_t at, int64_t count) {
  std::string bytes = text_at(at, count);
  if (id_ != "RIFX") std::reverse(bytes.begin(), bytes.end());
  uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

WavFile::Chunk WavFile::chunk_at(int64_t at) {
  return {at + kHeadSize, static_cast<int64_t>(number_at(at + 4, 4))};
}

bool WavFile::is_chunks(int64_t at) {
  for (int i = 0; i < kMaxChunks && at + kHeadSize <= file_size_; ++i) {
    const std::string name = text_at(at, 4);
    if (!std::ranges::all_of(name, [](char c) { return c >= ' ' && c <= '~'; })) return false;
    const Chunk chunk = chunk_at(at);
    at = chunk.begin + chunk.size + chunk.size % 2;
  }
  return at == file_size_;
}

}  // namespace sl::cli
