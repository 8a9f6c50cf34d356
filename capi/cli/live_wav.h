// Reads WAV files that libsndfile must not read directly: those whose header has wrong sizes,
// because the recorder was killed or wrote to a pipe, and those with LIST chunks (texts and marks),
// in which a size of 2^31 or more makes libsndfile read the same bytes forever.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_LIVE_WAV_H_
#define SEQUENCE_LAYERS_CAPI_CLI_LIVE_WAV_H_

#include <sndfile.h>

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace sl::cli {

// Such a WAV file, read as if its header had the right sizes and its lists were unknown chunks.
class LiveWav {
 public:
  // Returns nothing for files that libsndfile can read directly.
  static std::optional<LiveWav> find(const std::string& path);

  // The handle reads from this object, which must outlive it and must not move.
  SNDFILE* open(SF_INFO* info);

 private:
  // Bytes that replace those of the file when it is read.
  struct Patch {
    int64_t at = 0;
    std::string bytes;
  };

  explicit LiveWav(const std::string& path);
  void find_patches();
  // The size that the data chunk at that position should have given, if it gave none.
  std::optional<Patch> find_size(int64_t at, int64_t long_size);

  static LiveWav& of(void* self) { return *static_cast<LiveWav*>(self); }
  sf_count_t seek(sf_count_t offset, int whence);
  sf_count_t read(void* out, sf_count_t count);

  int64_t read_at(int64_t at, void* out, int64_t count);
  std::string text_at(int64_t at, int64_t count);
  uint64_t number_at(int64_t at, int64_t count);
  // Position of the chunk after the one at `at` and its padding.
  int64_t next_chunk(int64_t at);
  // Whether the rest of the file consists of chunks, the last of which ends with the file.
  bool is_chunks(int64_t at);

  std::ifstream file_;
  int64_t size_ = 0;
  std::string id_;  // RIFF, RIFX (big-endian) or RF64 (with 64-bit sizes)
  std::vector<Patch> patches_;
  int64_t position_ = 0;
};

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_LIVE_WAV_H_
