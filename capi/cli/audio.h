// Audio files in and out, speech segments.
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

// Channels are averaged. Of a WAV file of a data size of 0 that goes on, what follows is read.
// Errors call the file `name`.
Audio read_audio(const std::string& path, const std::string& name);
inline Audio read_audio(const std::string& path) { return read_audio(path, path); }

// A sound as a float32 WAV file holds it.
struct Sound {
  std::vector<float> samples;  // [time, channels]
  int32_t channels = 1;
  int32_t sample_rate = 0;
};
constexpr int64_t kMaxSoundChannels = 1024;
// What the sizes in a WAV file can count.
constexpr int64_t kMaxSoundBytes = (int64_t{1} << 32) - 4096;

void write_wav(const std::string& path, const Sound& sound);

// By libsamplerate's best sinc converter; the same audio if the rate is already that.
Audio resample(Audio audio, double sample_rate);

struct Segment {
  double start = 0, end = 0;  // seconds
};

// Where probabilities say speech, one every `step_seconds`: it begins above the threshold, and ends
// when they stay below threshold - 0.15 for 100 ms; under 250 ms is none; 30 ms are added around,
// and the gap is shared where that is too much.
std::vector<Segment> find_segments(const std::vector<double>& probabilities, double step_seconds,
                                   double threshold);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_AUDIO_H_
