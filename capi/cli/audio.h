// Reads, writes and resamples audio.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_AUDIO_H_
#define SEQUENCE_LAYERS_CAPI_CLI_AUDIO_H_

#include <cstdint>
#include <string>
#include <vector>

namespace sl::cli {

struct Audio {
  std::vector<float> samples;  // mono
  double sample_rate = 0;

  double seconds() const { return static_cast<double>(samples.size()) / sample_rate; }
};

// Averages the channels. If the header of a WAV file gives a data size of 0 but data follow, they
// are read to the end of the file. Error messages call the file `name`.
Audio read_audio(const std::string& path, const std::string& name);
inline Audio read_audio(const std::string& path) { return read_audio(path, path); }

// A sound to be written as a float32 WAV file.
struct Sound {
  std::vector<float> samples;  // [time, channels]
  int32_t channels = 1;
  int32_t sample_rate = 0;
};
constexpr int64_t kMaxSoundChannels = 1024;
// Limit of the 32-bit size fields of a WAV file, less room for its header.
constexpr int64_t kMaxSoundBytes = (int64_t{1} << 32) - 4096;

void write_wav(const std::string& path, const Sound& sound);

// Resamples with libsamplerate's best sinc converter; returns the audio as it is if it already has
// that rate.
Audio resample(Audio audio, double sample_rate);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_AUDIO_H_
