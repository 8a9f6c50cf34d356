// Loads arbitrary bytes as a saved item of a state, or as a saved slot of a decoder: they must be
// refused without changing anything, or give a slot that can be stepped; other slots stay as they
// are.
//
// An input is the index of a model, a kind, and bytes. For kind 0 they are the data of an item, to
// which a valid header and checksum are added, and for kind 1 a whole saved item. For kind 2 they
// are the choices of a decoder's slot and the data of its stream, with headers and checksums, and
// for any other kind a whole saved slot.
#include <cstdlib>

#include "fuzz/saved_states.h"
#include "fuzz/target.h"
#include "sequence_layers/sequence_layers.hpp"

namespace sl::fuzz {
namespace {

using sequence_layers::Decoder;
using Bytes = std::vector<uint8_t>;

// A saved slot begins with magic (8 bytes), version and header size (4 each), the choices, and the
// checksum of all of these (8). The saved item of the stream follows.
constexpr size_t kChoicesAt = 16, kChoicesChecksumAt = 80, kItemAt = 88;
constexpr int64_t kLoaded = 0, kOther = 1;

constexpr const char* kTokens =
    R"({"type":"Serial","layers":[)"
    R"({"type":"Embedding","dimension":4,"num_embeddings":7,"name":"tokens"},)"
    R"({"type":"Residual","layers":[)"
    R"({"type":"DotProductSelfAttention","num_heads":2,"units_per_head":2,)"
    R"("max_past_horizon":-1,"max_future_horizon":0},{"type":"Flatten"}]},)"
    R"({"type":"LSTM","units":4},{"type":"Dense","features":7,"name":"logits"}]})";

// A decoder with two slots, both of which have sampled some tokens.
struct Speaker {
  Speaker() : layer(testing::make_model(kTokens, 4)), decoder(layer, options()) {
    sample(kOther);
    for (int i = 0; i < 4; ++i) {
      sample(kLoaded);
      saves.push_back(save(kLoaded));
    }
  }
  static sl_decoder_options options() {
    sl_decoder_options out = SL_DECODER_OPTIONS_INIT;
    out.batch = 2;
    out.max_length = 8;
    out.temperature = 1;
    return out;
  }
  sl_status sample(int64_t slot) {
    int32_t token = 0;
    return decoder.sample_slots(&slot, 1, &token);
  }
  Bytes save(int64_t slot) const {
    Bytes out(decoder.save_slot_size());
    decoder.save_slot(slot, out.data(), out.size());
    return out;
  }

  testing::Layer layer;
  Decoder decoder;
  std::vector<Bytes> saves;
};

Speaker& speaker() {
  static Speaker one;
  return one;
}

Bytes save_item(Stream& stream, int64_t item) {
  const testing::State& state = stream.stepper->state();
  Bytes out(state.save_item_size());
  state.save_item(item, out.data(), out.size());
  return out;
}

Bytes item_of(Stream& stream, const uint8_t* data, size_t size, bool whole) {
  if (whole) return {data, data + size};
  Bytes save = save_item(stream, kLoaded);
  put_data(data, size, save);
  return save;
}

Bytes slot_of(const uint8_t* data, size_t size, bool whole) {
  if (whole) return {data, data + size};
  Bytes save = speaker().saves.back();
  const size_t choices = std::min(size, kChoicesChecksumAt - kChoicesAt);
  std::copy_n(data, choices, save.data() + kChoicesAt);
  const uint64_t checksum = fnv1a(save.data(), kChoicesChecksumAt);
  std::memcpy(save.data() + kChoicesChecksumAt, &checksum, sizeof(checksum));
  put_data(data + choices, size - choices, std::span(save).subspan(kItemAt));
  return save;
}

void require(bool holds) {
  if (!holds) std::abort();
}

const uint8_t* data_of(const Bytes& bytes) {
  static const uint8_t none = 0;
  return bytes.empty() ? &none : bytes.data();
}

void load_item(Stream& stream, const Bytes& bytes) {
  testing::Stepper& stepper = *stream.stepper;
  const Bytes loaded = save_item(stream, kLoaded), other = save_item(stream, kOther);
  const sl_status status =
      sl_state_load_item(stepper.state().get(), kLoaded, data_of(bytes), bytes.size(), nullptr);
  require(save_item(stream, kOther) == other);
  if (status == SL_STATUS_OK) {
    stepper.run(0, stepper.num_steps());
  } else {
    require(status == SL_STATUS_STATE && save_item(stream, kLoaded) == loaded);
  }
}

void load_slot(const Bytes& bytes) {
  Speaker& all = speaker();
  const Bytes loaded = all.save(kLoaded), other = all.save(kOther);
  const sl_status status =
      sl_decoder_load_slot(all.decoder.get(), kLoaded, data_of(bytes), bytes.size(), nullptr);
  require(all.save(kOther) == other);
  if (status != SL_STATUS_OK) {
    require(status == SL_STATUS_STATE && all.save(kLoaded) == loaded);
    return;
  }
  for (int i = 0; i < 3; ++i) {
    const sl_status sampled = all.sample(kLoaded);
    // A stream can have had all its steps, or numbers from which no token follows.
    require(sampled == SL_STATUS_OK || sampled == SL_STATUS_LENGTH ||
            sampled == SL_STATUS_UNSUPPORTED);
  }
  require(all.save(kOther) == other);
}

std::string input_of(size_t model, char kind, std::span<const uint8_t> bytes) {
  return std::string{static_cast<char>(model), kind} + std::string(bytes.begin(), bytes.end());
}

}  // namespace

std::vector<std::string> corpus() {
  std::vector<std::string> all;
  for (size_t i = 0; i < streams().size(); ++i) {
    const Bytes save = save_item(*streams()[i], kLoaded);
    all.push_back(input_of(i, 0, std::span(save).subspan(kHeaderBytes)));
    all.push_back(input_of(i, 1, save));
  }
  for (const Bytes& save : speaker().saves) {
    Bytes bytes(save.begin() + kChoicesAt, save.begin() + kChoicesChecksumAt);
    bytes.insert(bytes.end(), save.begin() + kItemAt + kHeaderBytes, save.end());
    all.push_back(input_of(0, 2, bytes));
    all.push_back(input_of(0, 3, save));
  }
  return all;
}

std::vector<std::string> dictionary() {
  return {std::string(1, '\0'),
          std::string(8, '\0'),
          std::string(8, '\xff'),
          "SLSTATE",
          "SLTOKENS",
          std::string("\x01\0\0\0", 4),
          std::string("\0\0\xc0\x7f", 4),
          std::string("\0\0\0\x80", 4)};
}

}  // namespace sl::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sl::fuzz;
  if (size < 2) return 0;
  const uint8_t kind = data[1];
  if (kind < 2) {
    Stream& stream = *streams()[data[0] % streams().size()];
    load_item(stream, item_of(stream, data + 2, size - 2, kind == 1));
  } else {
    load_slot(slot_of(data + 2, size - 2, kind > 2));
  }
  return 0;
}
