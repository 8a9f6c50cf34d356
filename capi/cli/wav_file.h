// Reads the headers of WAV files, and lets libsndfile decode the samples. libsndfile 1.2.0 does not
// read headers whose sizes are wrong because the recorder was killed or wrote to a pipe, and reads
// some malformed headers forever.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_WAV_FILE_H_
#define SEQUENCE_LAYERS_CAPI_CLI_WAV_FILE_H_

#include <sndfile.h>

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>

namespace sl::cli {

// A WAV file (RIFF, RIFX or RF64) of PCM, float, A-law or mu-law samples.
class WavFile {
 public:
  // Returns nothing for files of other formats and for pipes. Throws std::runtime_error if a WAV
  // file has no samples that can be decoded.
  static std::optional<WavFile> find(const std::string& path);

  // The handle reads from this object, which must outlive it and must not move.
  SNDFILE* open(SF_INFO* info);

 private:
  struct Chunk {
    int64_t begin = 0, size = 0;  // without the chunk's head
  };

  explicit WavFile(const std::string& path);
  void find_samples();
  // Fills info_ from the fmt chunk.
  void read_format(const Chunk& chunk);
  // Size of the data chunk, which extends to the end of the file if its head has no size.
  int64_t data_size(const Chunk& data, std::optional<Chunk> long_sizes);

  static WavFile& of(void* self) { return *static_cast<WavFile*>(self); }
  sf_count_t seek(sf_count_t offset, int whence);
  sf_count_t read(void* out, sf_count_t count);

  int64_t read_at(int64_t at, void* out, int64_t count);
  std::string text_at(int64_t at, int64_t count);
  uint64_t number_at(int64_t at, int64_t count);
  Chunk chunk_at(int64_t at);
  // Whether the rest of the file consists of chunks, the last of which ends with the file.
  bool is_chunks(int64_t at);

  std::ifstream file_;
  int64_t file_size_ = 0;
  std::string id_;  // RIFF, RIFX (big-endian) or RF64 (with 64-bit sizes)
  SF_INFO info_{};
  Chunk samples_;
  int64_t position_ = 0;  // in the samples
};

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_WAV_FILE_H_
