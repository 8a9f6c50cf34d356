#include "cli/result_file.h"

#include <cmath>
#include <filesystem>
#include <stdexcept>
#include <utility>

#include "cli/audio.h"
#include "cli/media.h"
#include "cli/npy.h"

namespace sl::cli {
namespace {

using testing::is_floating;
using testing::Model;
using testing::shape_text;
using testing::Tensor;

// Whether the path has the second of two allowed extensions.
bool is_second(const std::string& option, const std::string& path, const std::string& first,
               const std::string& second) {
  const std::string found = extension(path);
  if (found == first || found == second) return found == second;
  throw std::invalid_argument(option + " writes " + first + " or " + second + ", not " + path);
}

bool has_sound_name(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::file_status status = std::filesystem::status(path, ignored);
  if (std::filesystem::is_fifo(status) || std::filesystem::is_character_file(status)) {
    return extension(path) == ".wav";
  }
  return is_second("--output", path, ".npy", ".wav");
}

bool is_sound(const std::string& path) {
  const bool sound = has_sound_name(path);
  if (sound) require_media(path);
  return sound;
}

PlotFormat plot_format(const std::string& path) {
  const bool is_svg = is_second("--plot", path, ".png", ".svg");
  require_media(path);
  return is_svg ? PlotFormat::kSvg : PlotFormat::kPng;
}

[[noreturn]] void no_sound(const std::string& reason) {
  throw std::runtime_error("the output cannot be written as sound: " + reason);
}

// The sample rate of the output, which a WAV file stores as an integer.
int32_t sound_rate(const Model& model, const Source& source) {
  if (!source.sample_rate) no_sound("the model's metadata has no sample_rate");
  const double rate = output_rate(model, *source.sample_rate), whole = std::round(rate);
  if (whole < 1 || whole > INT32_MAX || std::fabs(rate - whole) > 1e-9 * whole) {
    no_sound("it has " + std::to_string(rate) + " steps a second, not a whole number");
  }
  return static_cast<int32_t>(whole);
}

void check_sound(sl_dtype dtype, const int64_t* dims, int32_t rank) {
  if (!is_floating(dtype) || dtype == SL_DTYPE_COMPLEX64) {
    no_sound(std::string("it is ") + sl_dtype_name(dtype) + ", not real numbers");
  }
  const std::string shape = shape_text({dims, dims + rank});
  if (dims[0] != 1) no_sound("it is a batch of several, " + shape);
  if (rank > 3) no_sound("its steps have several axes, " + shape);
  const int64_t channels = rank == 3 ? dims[2] : 1;
  if (channels < 1 || channels > kMaxSoundChannels) {
    no_sound("it does not have 1 to " + std::to_string(kMaxSoundChannels) + " channels, " + shape);
  }
  if (dims[1] > kMaxSoundBytes / 4 / channels) no_sound("it takes more than 4 GiB, " + shape);
}

}  // namespace

double output_rate(const Model& model, double input_rate) {
  const auto [numerator, denominator] = model.layer.output_ratio();
  return input_rate * static_cast<double>(numerator) / static_cast<double>(denominator);
}

ResultFile::ResultFile(const std::string& path) : sound_(is_sound(path)), file_(path) {}

void ResultFile::check(const Model& model, const Source& source) const {
  if (!sound_) return;
  sound_rate(model, source);
  const sl_sequence shape = output_shape(model.layer, source.input);
  check_sound(shape.dtype, shape.dims, shape.rank);
}

void ResultFile::write(const Model& model, const Source& source, Tensor y) const {
  if (!sound_) {
    if (!source.has_batch) y.dims.erase(y.dims.begin());
    return file_.write([&](const std::string& path) { write_npy(path, y); });
  }
  check_sound(y.dtype, y.dims.data(), static_cast<int32_t>(y.dims.size()));
  int64_t time = y.time();
  while (time > 0 && !y.valid(0, time - 1)) --time;
  Sound sound;
  sound.channels = static_cast<int32_t>(y.dims.size() == 3 ? y.dims[2] : 1);
  sound.sample_rate = sound_rate(model, source);
  for (int64_t i = 0; i < time * sound.channels; ++i) {
    sound.samples.push_back(static_cast<float>(y.at(i).real()));
  }
  file_.write([&](const std::string& path) { write_wav(path, sound); });
}

PlotFile::PlotFile(const std::string& path) : format_(plot_format(path)), file_(path) {}

void PlotFile::write(const Plot& plot) const {
  file_.write([&](const std::string& path) { write_plot(plot, path, format_); });
}

}  // namespace sl::cli
