#include "cli/source.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <utility>
#include <vector>

#include "cli/audio.h"
#include "cli/npy.h"
#include "cli/output.h"

namespace sl::cli {
namespace {

using sequence_layers::Layer;
using testing::make_array;
using testing::make_sequence;
using testing::Model;
using testing::shape_text;
using testing::Tensor;

// Limit for data from a pipe, which may never end.
constexpr size_t kMaxPiped = size_t{1} << 30;

// An input that can be read repeatedly: data from a pipe is copied to memory.
class InputFile {
 public:
  explicit InputFile(const std::string& path) : path_(path), name_(path) {
    const bool standard = path == "-";
    if (standard) name_ = "standard input";
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::status(path, error);
    if (!standard && !std::filesystem::exists(status)) fail(error ? error.value() : ENOENT);
    if (!standard && std::filesystem::is_directory(status)) fail(EISDIR);
    if (!standard && std::filesystem::is_character_file(status)) {
      throw std::runtime_error("cannot read " + name_ +
                               ": it is a device, expected a file or pipe");
    }
    if (standard || !std::filesystem::is_regular_file(status)) keep(standard);
    std::ifstream start(path_, std::ios::binary);
    if (!start) fail(errno);
    char magic[6] = {};
    start.read(magic, sizeof(magic));
    is_npy_ = std::memcmp(magic, "\x93NUMPY", sizeof(magic)) == 0 || extension(path) == ".npy";
  }
  ~InputFile() {
    if (memory_ >= 0) close(memory_);
  }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& path() const { return path_; }
  const std::string& name() const { return name_; }
  bool is_npy() const { return is_npy_; }

 private:
  [[noreturn]] void fail(int error) const {
    throw std::runtime_error("cannot read " + name_ + ": " + std::strerror(error));
  }

  void keep(bool standard) {
    const int from = standard ? STDIN_FILENO : ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (from < 0) fail(errno);
    memory_ = memfd_create("sl input", MFD_CLOEXEC);
    if (memory_ < 0) fail(errno);
    size_t total = 0;
    std::array<char, 65536> block;
    while (true) {
      const ssize_t got = read(from, block.data(), block.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail(errno);
      if (got == 0) break;
      total += static_cast<size_t>(got);
      if (total > kMaxPiped) {
        throw std::runtime_error("cannot read " + name_ + ": it is larger than 1 GiB");
      }
      if (!write_all(block.data(), static_cast<size_t>(got))) fail(errno);
    }
    if (!standard) close(from);
    if (total == 0) throw std::runtime_error(name_ + " is empty");
    path_ = "/proc/self/fd/" + std::to_string(memory_);
  }

  bool write_all(const char* data, size_t size) const {
    while (size > 0) {
      const ssize_t put = write(memory_, data, size);
      if (put < 0 && errno != EINTR) return false;
      if (put < 0) continue;
      data += put;
      size -= static_cast<size_t>(put);
    }
    return true;
  }

  std::string path_, name_;
  bool is_npy_ = false;
  int memory_ = -1;
};

bool takes(const Layer& layer, const Tensor& x) {
  try {
    layer.output_spec(channel_spec(x));
    return true;
  } catch (const sequence_layers::Error&) {
    return false;
  }
}

Source read_sound(const Model& model, const InputFile& file, const InputOptions& options) {
  Audio audio = read_audio(file.path(), file.name());
  Source source;
  if (const auto rate = model.sample_rate()) audio = resample(std::move(audio), *rate);
  source.sample_rate = audio.sample_rate;
  const auto time = static_cast<int64_t>(audio.samples.size());
  Tensor x = make_sequence(SL_DTYPE_FLOAT32, {1, time});
  std::memcpy(x.bytes.data(), audio.samples.data(), x.bytes.size());
  const auto spec = find_input_spec(model.layer, options);
  const bool one_channel = spec ? spec->rank == 1 && spec->dims[0] == 1 : !takes(model.layer, x);
  if (one_channel) x.dims.push_back(1);
  if (spec && spec->rank != static_cast<int32_t>(x.dims.size()) - 2) {
    throw std::runtime_error("the model takes steps of shape " +
                             shape_text({spec->dims, spec->dims + spec->rank}) +
                             ", not single samples of sound");
  }
  source.input.x = std::move(x);
  return source;
}

bool fits(const Tensor& x, const sl_channel_spec& spec) {
  return x.dtype == spec.dtype && static_cast<int32_t>(x.dims.size()) == spec.rank + 2 &&
         std::equal(spec.dims, spec.dims + spec.rank, x.dims.begin() + 2);
}

bool takes_samples(const sl_channel_spec& spec) {
  return spec.rank == 0 || (spec.rank == 1 && spec.dims[0] == 1);
}

// Converts small integers for a model that takes float32. If the model takes one number per step
// they are sound samples and are scaled, otherwise their values are kept. `note` tells which.
Tensor to_float(const NpyArray& array, const sl_channel_spec& spec, std::string* note) {
  const bool is_signed = array.dtype == "int16", is_sound = takes_samples(spec);
  const double middle = is_sound && !is_signed ? 128 : 0;
  const double scale = is_sound ? (is_signed ? 32768 : 128) : 1;
  Tensor y = make_array(SL_DTYPE_FLOAT32, array.values.dims);
  for (int64_t i = 0; i < y.size(); ++i) y.set(i, (array.values.at(i) - middle) / scale);
  *note = array.dtype + (is_sound ? " samples scaled to [-1, 1)" : " numbers taken as they are");
  return y;
}

Tensor read_values(const InputFile& file, const std::optional<sl_channel_spec>& spec,
                   std::string* note) {
  std::ifstream stream(file.path(), std::ios::binary);
  NpyArray array = read_npy_array(stream, file.name());
  const bool small = array.dtype == "int16" || array.dtype == "uint8";
  if (small && spec && spec->dtype == SL_DTYPE_FLOAT32) return to_float(array, *spec, note);
  return std::move(array.values);
}

Source read_array(const Model& model, const InputFile& file, const InputOptions& options) {
  Source source;
  source.sample_rate = model.sample_rate();
  const auto spec = find_input_spec(model.layer, options);
  Tensor x = read_values(file, spec, &source.note);
  if (x.dims.empty()) throw std::runtime_error(file.name() + " is a single number");
  source.has_batch =
      spec ? static_cast<int32_t>(x.dims.size()) == spec->rank + 2 : x.dims.size() > 2;
  if (!source.has_batch) x.dims.insert(x.dims.begin(), 1);
  if (x.dims.size() > SL_MAX_RANK) {
    throw std::runtime_error(file.name() + " has too many dimensions: " + shape_text(x.dims));
  }
  Tensor sequence = make_sequence(x.dtype, x.dims);
  if (sequence.size() == 0) throw std::runtime_error(file.name() + " is empty");
  sequence.bytes = std::move(x.bytes);
  if (spec && !fits(sequence, *spec)) {
    const std::vector<int64_t> dims(sequence.dims.begin() + (source.has_batch ? 0 : 1),
                                    sequence.dims.end());
    throw std::runtime_error(file.name() + " is " + sl_dtype_name(sequence.dtype) + " " +
                             shape_text(dims) + ", but the model takes steps of " +
                             sl_dtype_name(spec->dtype) + " " +
                             shape_text({spec->dims, spec->dims + spec->rank}));
  }
  source.input.x = std::move(sequence);
  return source;
}

}  // namespace

Source read_source(const Model& model, const std::string& file, const InputOptions& options) {
  const InputFile opened(file);
  Source source =
      opened.is_npy() ? read_array(model, opened, options) : read_sound(model, opened, options);
  source.name =
      file == "-" ? opened.name() : std::filesystem::path(opened.name()).filename().string();
  return source;
}

}  // namespace sl::cli
