// Reads arbitrary bytes as a Standard MIDI File: they must be refused with a reason, or give events
// in the order of their times, all of which apply.
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "fuzz/target.h"
#include "magenta_live/midi.h"

namespace sl::fuzz {
namespace {

std::string bytes(std::initializer_list<int> values) {
  std::string made;
  for (const int value : values) made.push_back(static_cast<char>(value));
  return made;
}

std::string track(const std::string& content) {
  return "MTrk" + bytes({0, 0, 0, static_cast<int>(content.size())}) + content;
}

}  // namespace

std::vector<std::string> corpus() {
  const std::string start = "MThd" + bytes({0, 0, 0, 6}), end = bytes({0, 0xff, 0x2f, 0});
  const std::string notes = bytes({0, 0x90, 60, 64, 50, 64, 1, 50, 60, 0, 0, 64, 0}) + end;
  const std::string drums = bytes({100, 0x99, 36, 100, 0x82, 0x2c, 36, 90, 0, 0xb0, 123, 0}) + end;
  const std::string tempo = bytes({0, 0xff, 0x51, 3, 15, 66, 64, 96, 0xff, 0x51, 3, 7, 9, 2}) + end;
  const std::string other = bytes({0, 0xff, 1, 2, 1, 1, 0, 0xf0, 2, 1, 0xf7, 0, 0xc0, 5}) + end;
  return {start + bytes({0, 0, 0, 1, 0, 96}) + track(notes),
          start + bytes({0, 1, 0, 3, 1, 224}) + track(tempo) + track(notes) + track(drums),
          start + bytes({0, 0, 0, 1, 0xe7, 40}) + track(drums),
          start + bytes({0, 1, 0, 1, 0, 1}) + "XFIH" + bytes({0, 0, 0, 1, 7}) + track(other)};
}

std::vector<std::string> dictionary() {
  return {"MThd",
          "MTrk",
          bytes({0xff, 0x2f, 0}),
          bytes({0xff, 0x51, 3}),
          bytes({0x90, 60, 1}),
          bytes({0x99, 36, 1}),
          bytes({0xb0, 123, 0}),
          bytes({0xf0}),
          bytes({0xff, 0xff, 0xff, 0x7f}),
          bytes({0xff, 0xff, 0xff, 0xff})};
}

}  // namespace sl::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  live_score score;
  char message[128] = "";
  if (live_midi_parse(&score, data, size, message, sizeof(message)) != 0) {
    if (std::strlen(message) == 0 || score.count != 0) std::abort();
    return 0;
  }
  live_controls controls;
  live_controls_init(&controls);
  for (size_t i = 0; i < score.count; ++i) {
    const live_event& event = score.events[i];
    if (!std::isfinite(event.seconds)) std::abort();
    if (event.seconds < (i > 0 ? score.events[i - 1].seconds : 0)) std::abort();
    if (live_controls_apply(&controls, event.text, message, sizeof(message)) != 0) std::abort();
  }
  live_score_free(&score);
  return 0;
}
