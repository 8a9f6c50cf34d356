// The saved form of streams: what a state or one item of it is as bytes.
#include <algorithm>
#include <cstring>
#include <map>

#include "core/status.h"
#include "model/stream.h"

namespace sl {
namespace {

constexpr char kMagic[8] = {'S', 'L', 'S', 'T', 'A', 'T', 'E', '\0'};
constexpr uint32_t kSaveVersion = 1;

// The header of a saved state. The data follow it, and then the options as text, which tells how
// they differ from those of the stream that is to load it.
struct SaveHeader {
  char magic[8];
  uint32_t version;
  uint32_t header_bytes;
  uint64_t fingerprint;  // of model, options and layout
  uint64_t model_fingerprint;
  uint64_t data_bytes;
  uint64_t options_bytes;
  uint64_t checksum;  // of data and options
};

size_t saved_bytes(const StreamPlan::Layout& layout) {
  return sizeof(SaveHeader) + layout.bytes + layout.options.size();
}

// Completes a saved state whose data are in `out` behind the header.
void finish_save(const Model& model, const StreamPlan::Layout& layout, std::byte* out) {
  SaveHeader header{};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kSaveVersion;
  header.header_bytes = sizeof(SaveHeader);
  header.fingerprint = layout.fingerprint;
  header.model_fingerprint = model.fingerprint();
  header.data_bytes = layout.bytes;
  header.options_bytes = layout.options.size();
  std::byte* const data = out + sizeof(header);
  std::memcpy(data + header.data_bytes, layout.options.data(), header.options_bytes);
  header.checksum = hash_bytes(data, header.data_bytes + header.options_bytes);
  std::memcpy(out, &header, sizeof(header));
}

// The data of a saved state, if it is one of that model and layout.
const std::byte* read_save(const Model& model, const StreamPlan::Layout& layout,
                           const std::byte* in, size_t size) {
  SaveHeader header{};
  if (size < sizeof(header)) fail(Code::kState, "not a saved state: {} bytes", size);
  std::memcpy(&header, in, sizeof(header));
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0)
    fail(Code::kState, "not a saved state");
  if (header.version != kSaveVersion) {
    fail(Code::kState, "a saved state of version {}: expected version {}", header.version,
         kSaveVersion);
  }
  if (header.header_bytes != sizeof(header)) fail(Code::kState, "not a saved state");
  if (header.model_fingerprint != model.fingerprint())
    fail(Code::kState, "the saved state is of another model");
  const std::byte* const data = in + sizeof(header);
  size -= sizeof(header);
  if (header.data_bytes > size || header.options_bytes != size - header.data_bytes) {
    fail(Code::kState,
         "the saved state has {} bytes: expected {} of data and {} of options behind "
         "its first {}",
         size + sizeof(header), header.data_bytes, header.options_bytes, sizeof(header));
  }
  if (hash_bytes(data, size) != header.checksum)
    fail(Code::kState, "the saved state is damaged: its checksum differs");
  if (header.fingerprint != layout.fingerprint) {
    layout.fail_options("the saved state", {reinterpret_cast<const char*>(data) + header.data_bytes,
                                            header.options_bytes});
  }
  if (header.data_bytes != layout.bytes)
    fail(Code::kState, "the saved state is damaged: it has {} bytes of data", header.data_bytes);
  return data;
}

// The lines of a stream's options by the options' names. Lines of a saved state can hold anything:
// what is no line of options is skipped.
std::map<std::string, std::string> parse_options(std::string_view text) {
  std::map<std::string, std::string> out;
  for (size_t end; (end = text.find('\n')) != std::string_view::npos; text.remove_prefix(end + 1)) {
    const std::string_view line = text.substr(0, end);
    // The name of a constant, which is in quotes, can have spaces.
    const size_t quote = line.rfind('"');
    const size_t space = line.find(' ', quote == std::string_view::npos ? 0 : quote);
    if (space == std::string_view::npos) continue;
    out.emplace(line.substr(0, space), line.substr(space + 1));
  }
  return out;
}

}  // namespace

void StreamPlan::Layout::fail_options(std::string_view what, std::string_view others) const {
  std::map<std::string, std::string> own = parse_options(options), other = parse_options(others);
  std::string text;
  for (const auto& [name, value] : own) other.emplace(name, "none");
  for (const auto& [name, value] : other) {
    const auto it = own.find(name);
    const std::string expected = it == own.end() ? "none" : it->second;
    if (value == expected) continue;
    text += fmt::format("{}{} is {}, not {}", text.empty() ? "" : ", ", name, value, expected);
  }
  if (text.empty()) fail(Code::kState, "{} has another layout, as of another version", what);
  fail(Code::kState, "{} is of a stream of other options: {}", what, text);
}

void StreamPlan::check_data(const Layout& layout, const std::byte* data) const {
  const StateTensors all = layout.tensors(data);
  for (size_t i = 0; i < all.size(); ++i) {
    const StateSpec& spec = layout.specs[i];
    if (!spec.is_index()) continue;
    for (int64_t j = 0; j < spec.shape.size(); ++j) {
      const int64_t value = index_at(all[i], j);
      if (value < spec.minimum || value > spec.maximum) {
        fail(Code::kState, "the saved state is damaged: its \"{}\" is {}: expected {} to {}",
             spec.name, value, spec.minimum, spec.maximum);
      }
      if (!spec.is_position) continue;
      const int64_t moved = (value - spec.minimum) * input_.max_length;
      if (const int64_t steps = length(all, j); moved != steps * (spec.maximum - spec.minimum)) {
        fail(Code::kState, "the saved state is damaged: its \"{}\" is {} after {} steps", spec.name,
             value, steps);
      }
    }
  }
}

void StreamPlan::take_item(const std::byte* data, int64_t item, std::byte* out) const {
  const StateTensors all = tensors(data);
  for (size_t i = 0; i < all.size(); ++i) {
    const size_t begin = item_layout_.offsets[i], bytes = state()[i].item_bytes();
    const size_t end = i + 1 < all.size() ? item_layout_.offsets[i + 1] : item_layout_.bytes;
    std::copy_n(all[i].item(item), bytes, out + begin);
    std::fill_n(out + begin + bytes, end - begin - bytes, std::byte{0});
  }
}

void StreamPlan::put_item(std::byte* data, int64_t item, const std::byte* in) const {
  const StateTensors all = tensors(data);
  for (size_t i = 0; i < all.size(); ++i)
    std::copy_n(in + item_layout_.offsets[i], state()[i].item_bytes(), all[i].item(item));
}

size_t Stream::save_bytes() const { return saved_bytes(plan_.layout()); }
size_t Stream::save_item_bytes() const { return saved_bytes(plan_.item_layout()); }

void Stream::save(std::byte* out) const {
  std::copy_n(data_, plan_.data_bytes(), out + sizeof(SaveHeader));
  finish_save(plan_.model(), plan_.layout(), out);
}

void Stream::save_item(int64_t item, std::byte* out) const {
  plan_.take_item(data_, item, out + sizeof(SaveHeader));
  finish_save(plan_.model(), plan_.item_layout(), out);
}

void Stream::load(const std::byte* in, size_t size) {
  const std::byte* const data = read_save(plan_.model(), plan_.layout(), in, size);
  plan_.check_data(plan_.layout(), data);
  std::copy_n(data, plan_.data_bytes(), data_);
}

void Stream::check_saved_item(const std::byte* in, size_t size) const {
  plan_.check_data(plan_.item_layout(), read_save(plan_.model(), plan_.item_layout(), in, size));
}

void Stream::load_item(int64_t item, const std::byte* in, size_t size) {
  const std::byte* const data = read_save(plan_.model(), plan_.item_layout(), in, size);
  plan_.check_data(plan_.item_layout(), data);
  plan_.put_item(data_, item, data);
}

}  // namespace sl
