// WAV files whose recorder was cut off, or wrote to a pipe: it gave sizes before it knew them.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_LIVE_WAV_H_
#define SEQUENCE_LAYERS_CAPI_CLI_LIVE_WAV_H_

#include <sndfile.h>

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>

namespace sl::cli {

// Such a file, read as if it said how much data it has.
class LiveWav {
 public:
  // Nothing for files that libsndfile reads as they are.
  static std::optional<LiveWav> find(const std::string& path);

  // Reads from this object, which must outlive the handle and stay where it is.
  SNDFILE* open(SF_INFO* info);

 private:
  // Bytes to be read in place of those of the file.
  struct Patch {
    int64_t at = 0;
    std::string bytes;
  };

  explicit LiveWav(const std::string& path);
  std::optional<Patch> find_patch();

  static LiveWav& of(void* self) { return *static_cast<LiveWav*>(self); }
  sf_count_t seek(sf_count_t offset, int whence);
  sf_count_t read(void* out, sf_count_t count);

  int64_t read_at(int64_t at, void* out, int64_t count);
  std::string text_at(int64_t at, int64_t count);
  uint64_t number_at(int64_t at, int64_t count);
  // The chunk after that, with its padding.
  int64_t next_chunk(int64_t at);
  // Whether all from there on are chunks, of which the last ends with the file.
  bool is_chunks(int64_t at);

  std::ifstream file_;
  int64_t size_ = 0;
  std::string id_;  // RIFF, RIFX (big-endian) or RF64 (with 64-bit sizes)
  Patch patch_;
  int64_t position_ = 0;
};

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_LIVE_WAV_H_
