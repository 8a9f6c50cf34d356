#include "cli/audio.h"

#include <samplerate.h>
#include <sndfile.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>

#include "cli/wav_file.h"

namespace sl::cli {
namespace {

// Memory that libsndfile writes a file to.
struct MemoryFile {
  std::string bytes;
  sf_count_t position = 0;

  static MemoryFile& of(void* self) { return *static_cast<MemoryFile*>(self); }

  static SF_VIRTUAL_IO* calls() {
    static SF_VIRTUAL_IO io = {
        [](void* self) { return static_cast<sf_count_t>(of(self).bytes.size()); },
        [](sf_count_t offset, int whence, void* self) {
          MemoryFile& file = of(self);
          const auto size = static_cast<sf_count_t>(file.bytes.size());
          const sf_count_t from = whence == SEEK_SET   ? 0
                                  : whence == SEEK_CUR ? file.position
                                                       : size;
          return file.position = std::clamp<sf_count_t>(from + offset, 0, size);
        },
        [](void* out, sf_count_t count, void* self) {
          MemoryFile& file = of(self);
          const auto left = static_cast<sf_count_t>(file.bytes.size()) - file.position;
          const sf_count_t got = std::min(count, left);
          std::memcpy(out, file.bytes.data() + file.position, static_cast<size_t>(got));
          file.position += got;
          return got;
        },
        [](const void* data, sf_count_t count, void* self) {
          MemoryFile& file = of(self);
          const auto end = static_cast<size_t>(file.position + count);
          if (end > file.bytes.size()) file.bytes.resize(end);
          std::memcpy(file.bytes.data() + file.position, data, static_cast<size_t>(count));
          file.position += count;
          return count;
        },
        [](void* self) { return of(self).position; }};
    return &io;
  }
};

std::optional<WavFile> find_wav(const std::string& path, const std::string& name) try {
  return WavFile::find(path);
} catch (const std::runtime_error& error) {
  throw std::runtime_error("cannot read " + name + ": " + error.what());
}

}  // namespace

Audio read_audio(const std::string& path, const std::string& name) {
  SF_INFO info{};
  std::optional<WavFile> wav = find_wav(path, name);
  SNDFILE* opened = wav ? wav->open(&info) : sf_open(path.c_str(), SFM_READ, &info);
  const std::unique_ptr<SNDFILE, int (*)(SNDFILE*)> file(opened, sf_close);
  if (file == nullptr) {
    const bool system = sf_error(nullptr) == SF_ERR_SYSTEM;
    throw std::runtime_error("cannot read " + name + ": " +
                             (system ? std::strerror(errno) : sf_strerror(nullptr)));
  }
  const auto channels = static_cast<size_t>(info.channels);
  std::vector<float> block(4096 * channels);
  Audio audio;
  audio.sample_rate = info.samplerate;
  while (const sf_count_t frames = sf_readf_float(file.get(), block.data(), 4096)) {
    for (size_t i = 0; i < static_cast<size_t>(frames); ++i) {
      float sum = 0;
      for (size_t c = 0; c < channels; ++c) sum += block[i * channels + c];
      audio.samples.push_back(sum / static_cast<float>(channels));
    }
  }
  if (audio.samples.empty()) throw std::runtime_error(name + " has no samples");
  return audio;
}

void write_wav(const std::string& path, const Sound& sound) {
  SF_INFO info{};
  info.samplerate = sound.sample_rate;
  info.channels = sound.channels;
  info.format = SF_FORMAT_WAV | SF_FORMAT_FLOAT;
  // The file is made in memory first: libsndfile updates the header at the end, which is impossible
  // in a pipe.
  MemoryFile memory;
  const std::unique_ptr<SNDFILE, int (*)(SNDFILE*)> file(
      sf_open_virtual(MemoryFile::calls(), SFM_WRITE, &info, &memory), sf_close);
  if (file == nullptr) {
    throw std::runtime_error("cannot write " + path + ": " + sf_strerror(nullptr));
  }
  // The PEAK chunk holds the time of writing: without it, equal sounds give equal files.
  sf_command(file.get(), SFC_SET_ADD_PEAK_CHUNK, nullptr, SF_FALSE);
  const auto frames =
      static_cast<sf_count_t>(sound.samples.size() / static_cast<size_t>(sound.channels));
  const bool whole = sf_writef_float(file.get(), sound.samples.data(), frames) == frames;
  sf_write_sync(file.get());
  sf_command(file.get(), SFC_UPDATE_HEADER_NOW, nullptr, 0);
  std::ofstream out(path, std::ios::binary);
  out.write(memory.bytes.data(), static_cast<std::streamsize>(memory.bytes.size()));
  if (!whole || !out.flush()) throw std::runtime_error("cannot write " + path);
}

Audio resample(Audio audio, double sample_rate) {
  const double ratio = sample_rate / audio.sample_rate;
  if (ratio == 1) return audio;
  if (src_is_valid_ratio(ratio) == 0) {
    throw std::runtime_error("cannot resample " + std::to_string(audio.sample_rate) + " Hz to " +
                             std::to_string(sample_rate) + " Hz: more than 256 times apart");
  }
  Audio out;
  out.sample_rate = sample_rate;
  const double length = std::ceil(static_cast<double>(audio.samples.size()) * ratio);
  out.samples.resize(static_cast<size_t>(length) + 1);
  SRC_DATA data{};
  data.data_in = audio.samples.data();
  data.input_frames = static_cast<long>(audio.samples.size());
  data.data_out = out.samples.data();
  data.output_frames = static_cast<long>(out.samples.size());
  data.src_ratio = ratio;
  if (const int error = src_simple(&data, SRC_SINC_BEST_QUALITY, 1); error != 0) {
    throw std::runtime_error(std::string("cannot resample: ") + src_strerror(error));
  }
  out.samples.resize(static_cast<size_t>(data.output_frames_gen));
  return out;
}

}  // namespace sl::cli
