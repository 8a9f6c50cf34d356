// Tests how the example that plays Magenta RealTime reads notes of MIDI files and messages.
#include "magenta_live/midi.h"

#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace sl::testing {
namespace {

using Bytes = std::vector<uint8_t>;

struct Event {
  double seconds;
  std::string text;
};

bool operator==(const Event& a, const Event& b) {
  return a.seconds == Approx(b.seconds).margin(1e-9) && a.text == b.text;
}

std::ostream& operator<<(std::ostream& out, const Event& event) {
  return out << event.seconds << " " << event.text;
}

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Bytes number(size_t value, int bytes) {
  Bytes made;
  while (bytes-- > 0) made.push_back(static_cast<uint8_t>(value >> (8 * bytes)));
  return made;
}

Bytes chunk(const std::string& type, const Bytes& content) {
  return Bytes(type.begin(), type.end()) + number(content.size(), 4) + content;
}

Bytes header(size_t format, size_t tracks, size_t division) {
  return chunk("MThd", number(format, 2) + number(tracks, 2) + number(division, 2));
}

// A track of that content and its end.
Bytes track(const Bytes& content) { return chunk("MTrk", content + Bytes{0, 0xff, 0x2f, 0}); }

// The events of a file, or one with its error at -1.
std::vector<Event> events_of(const Bytes& file) {
  live_score score;
  char message[128] = "";
  if (live_midi_parse(&score, file.data(), file.size(), message, sizeof(message)) != 0)
    return {{-1, message}};
  std::vector<Event> events;
  for (size_t i = 0; i < score.count; ++i)
    events.push_back({score.events[i].seconds, score.events[i].text});
  live_score_free(&score);
  return events;
}

std::string error_of(const Bytes& file) {
  const std::vector<Event> events = events_of(file);
  return events.size() == 1 && events[0].seconds == -1 ? events[0].text : "";
}

TEST_CASE("a MIDI file of one track has its notes at their times", "[midi]") {
  // 100 ticks are half a second. A message without status has that of the one before; a note of
  // velocity 0 ends. Text, a program and a system message are passed by.
  const Bytes notes = {0,  0xff, 0x01, 2,   'h',  'i', 0, 0xc0, 5,    0,    0x90, 60,
                       64, 50,   64,   1,   50,   60,  0, 0,    64,   0,    0,    0xf0,
                       2,  1,    0xf7, 100, 0x90, 62,  1, 0x81, 0x48, 0x80, 62,   64};
  const std::vector<Event> want = {{0, "note_on 60"},    {0.25, "note_on 64"}, {0.5, "note_off 60"},
                                   {0.5, "note_off 64"}, {1, "note_on 62"},    {2, "note_off 62"}};
  CHECK(events_of(header(0, 1, 100) + track(notes)) == want);
  // Unknown chunks are passed by, and what follows the tracks.
  CHECK(events_of(header(0, 1, 100) + chunk("XFIH", {1, 2, 3}) + track(notes) + Bytes{1, 2}) ==
        want);
}

TEST_CASE("tracks of a MIDI file sound together, and tempo changes act on all", "[midi]") {
  const Bytes tempo = {0,  0xff, 0x51, 3, 0x0f, 0x42, 0x40,   // 1 s
                       96, 0xff, 0x51, 3, 0x07, 0xa1, 0x20};  // 0.5 s
  const Bytes high = {48, 0x90, 72, 1, 96, 72, 0};
  const Bytes low = {0, 0x91, 36, 1, 0x81, 0x40, 0x81, 36, 0};
  const std::vector<Event> want = {
      {0, "note_on 36"}, {0.5, "note_on 72"}, {1.25, "note_off 72"}, {1.5, "note_off 36"}};
  CHECK(events_of(header(1, 3, 96) + track(tempo) + track(high) + track(low)) == want);
}

TEST_CASE("a MIDI file can count in frames of film", "[midi]") {
  const Bytes notes = {40, 0x90, 60, 1, 0x87, 0x68, 0x80, 60, 0};  // 40 and 1000 ticks
  CHECK(events_of(header(0, 1, 0xe728) + track(notes)) ==          // 25 frames of 40 ticks
        std::vector<Event>{{0.04, "note_on 60"}, {1.04, "note_off 60"}});
  CHECK(events_of(header(0, 1, 0xe328) + track(notes))[1] ==  // 29.97
        Event{26 * 1001.0 / 30000.0, "note_off 60"});
}

TEST_CASE("drums are on while channel 10 plays, and two seconds longer", "[midi]") {
  // Hits at 0.5, 2 and 6 s, of 100 ticks each half a second; their ends do not count.
  const Bytes hits = {100,  0x99, 36, 100, 0,    36,   0,  0x82, 0x2c, 36, 90,
                      0x86, 0x20, 38, 80,  0x10, 0x90, 60, 1,    0,    60, 0};
  CHECK(events_of(header(0, 1, 100) + track(hits)) == std::vector<Event>{{0, "drums off"},
                                                                         {0.5, "drums on"},
                                                                         {4, "drums off"},
                                                                         {6, "drums on"},
                                                                         {6.08, "note_on 60"},
                                                                         {6.08, "note_off 60"},
                                                                         {8, "drums off"}});
}

TEST_CASE("a pitch sounds until the last of its notes ends", "[midi]") {
  std::vector<Event> events;
  const auto sink = [](void* data, double seconds, const char* event) {
    static_cast<std::vector<Event>*>(data)->push_back({seconds, event});
    return 0;
  };
  live_midi midi{};
  double seconds = 0;
  const auto send = [&](int status, int first, int second) {
    live_midi_message(&midi, seconds++, static_cast<uint8_t>(status), static_cast<uint8_t>(first),
                      static_cast<uint8_t>(second), sink, &events);
  };
  send(0x90, 60, 1);
  send(0x91, 60, 1);
  send(0x80, 60, 0);
  send(0x80, 60, 0);  // sounds on the other channel only
  send(0x81, 60, 0);
  CHECK(events == std::vector<Event>{{0, "note_on 60"}, {1, "note_on 60"}, {4, "note_off 60"}});
  events.clear();
  send(0x92, 10, 1);
  send(0x92, 10, 1);
  send(0x92, 12, 1);
  send(0xb2, 64, 0);   // a pedal
  send(0xb3, 123, 0);  // ends the notes of another channel
  send(0xb2, 120, 0);
  send(0xb2, 123, 0);
  CHECK(events == std::vector<Event>{{5, "note_on 10"},
                                     {6, "note_on 10"},
                                     {7, "note_on 12"},
                                     {10, "note_off 10"},
                                     {10, "note_off 12"}});
  // A value of the sink other than 0 ends the message and is returned.
  const auto refuse = [](void*, double, const char*) { return -1; };
  send(0x94, 50, 1);
  CHECK(live_midi_message(&midi, 0, 0x84, 50, 0, refuse, nullptr) == -1);
  CHECK(live_midi_message(&midi, 9, 0x99, 36, 1, refuse, nullptr) == -1);
  CHECK(live_midi_advance(&midi, 10.9, refuse, nullptr) == 0);
  CHECK(live_midi_advance(&midi, 11, refuse, nullptr) == -1);
}

TEST_CASE("notes that a MIDI file leaves on end with it", "[midi]") {
  const Bytes file = header(0, 1, 100) + chunk("MTrk", {0, 0x93, 60, 1, 100, 0xff, 0x2f, 0});
  CHECK(events_of(file) == std::vector<Event>{{0, "note_on 60"}, {0.5, "note_off 60"}});
}

TEST_CASE("what is no MIDI file is refused with the reason", "[midi]") {
  const Bytes start = header(0, 1, 100), note = {0, 0x90, 60, 1};
  CHECK(error_of({}) == "byte 0: no MIDI file");
  CHECK(error_of({'R', 'I', 'F', 'F'}) == "byte 0: no MIDI file");
  CHECK(error_of(chunk("MThd", {0, 0, 0, 1})) == "byte 12: a header of less than 6 bytes");
  CHECK(error_of(header(2, 1, 100)) == "byte 14: a format other than 0 and 1");
  CHECK(error_of(header(0, 2, 100)) == "byte 14: a wrong number of tracks");
  CHECK(error_of(header(1, 0, 100)) == "byte 14: a wrong number of tracks");
  CHECK(error_of(header(0, 1, 0)) == "byte 14: a division of 0");
  CHECK(error_of(header(0, 1, 0xe700)) == "byte 14: a wrong division of frames");
  CHECK(error_of(header(0, 1, 0xf028)) == "byte 14: a wrong division of frames");
  CHECK(error_of(start) == "byte 14: it ends too early");
  CHECK(error_of(header(1, 2, 100) + track(note)) == "byte 30: it ends too early");
  CHECK(error_of(start + chunk("MTrk", note)) == "byte 26: it ends too early");
  CHECK(error_of(start + chunk("MTrk", {0, 0x90, 60})) == "byte 25: it ends too early");
  CHECK(error_of(start + track({0, 60, 1})) == "byte 24: data without a status");
  CHECK(error_of(start + track({0, 0x90, 60, 1, 0, 0xf7, 0, 0, 61, 1})) ==
        "byte 31: data without a status");
  CHECK(error_of(start + track({0, 0x90, 0x90, 1})) == "byte 25: a status within a message");
  CHECK(error_of(start + track({0, 0xf8})) == "byte 24: a message that no file can have");
  CHECK(error_of(start + track({0x80, 0x80, 0x80, 0x80, 0})) ==
        "byte 26: a number of more than 4 bytes");
  CHECK(error_of(start + track({0, 0xff, 0x51, 3, 0, 0, 0})) == "byte 29: a wrong tempo");
  CHECK(error_of(start + track({0, 0xff, 0x51, 2, 9, 9, 9})) == "byte 29: a wrong tempo");
  CHECK(error_of(start + track({0, 0xff, 1, 0x8f, 0xff, 0xff, 0x7f})) ==
        "byte 29: it ends too early");
  CHECK(error_of(start + chunk("MTrk", note) + track({})) == "byte 26: it ends too early");
}

TEST_CASE("a MIDI file is read with its name in errors", "[midi]") {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / "sequence_layers_midi_test.mid";
  const auto write = [&](const Bytes& bytes) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  };
  live_score score;
  char message[512] = "";
  Bytes notes;
  for (int i = 0; i < 20000; ++i) notes = std::move(notes) + Bytes{1, 0x90, 60, 1};
  write(header(0, 1, 100) + track(notes));
  REQUIRE(live_midi_read(&score, path.c_str(), message, sizeof(message)) == 0);
  CHECK(score.count == 20001);
  CHECK(score.events[19999].seconds == Approx(100));
  live_score_free(&score);
  write({'x'});
  CHECK(live_midi_read(&score, path.c_str(), message, sizeof(message)) == -1);
  CHECK(message == path.string() + ", byte 0: no MIDI file");
  CHECK(score.count == 0);
  std::filesystem::remove(path);
  CHECK(live_midi_read(&score, path.c_str(), message, sizeof(message)) == -1);
  CHECK(message == path.string() + ": No such file or directory");
}

}  // namespace
}  // namespace sl::testing
