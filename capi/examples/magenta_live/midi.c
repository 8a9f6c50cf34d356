#include "midi.h"

#include <stdio.h>

enum { ALL_SOUND_OFF = 120, MAX_EVENT = 32 };

static const double kDrumSeconds = 2;

static int put_note(const char* name, int pitch, double seconds, live_midi_sink sink, void* data) {
  char event[MAX_EVENT];
  snprintf(event, sizeof(event), "%s %d", name, pitch);
  return sink(data, seconds, event);
}

/* On how many channels a pitch sounds, as often as it was begun there. */
static int count_held(const live_midi* midi, int pitch) {
  int count = 0;
  for (int i = 0; i < LIVE_MIDI_CHANNELS; ++i) count += midi->held[i][pitch];
  return count;
}

static int begin_note(live_midi* midi, double seconds, int channel, int pitch, live_midi_sink sink,
                      void* data) {
  if (channel != LIVE_MIDI_DRUMS) {
    if (midi->held[channel][pitch] < UINT8_MAX) ++midi->held[channel][pitch];
    return put_note("note_on", pitch, seconds, sink, data);
  }
  midi->last_drum = seconds;
  if (midi->drums_on) return 0;
  midi->drums_on = 1;
  return sink(data, seconds, "drums on");
}

/* Ends `count` of the times that a note was begun. */
static int end_note(live_midi* midi, double seconds, int channel, int pitch, int count,
                    live_midi_sink sink, void* data) {
  uint8_t* held = &midi->held[channel][pitch];
  if (*held == 0) return 0;
  *held = (uint8_t)(count < *held ? *held - count : 0);
  return count_held(midi, pitch) > 0 ? 0 : put_note("note_off", pitch, seconds, sink, data);
}

static int end_channel(live_midi* midi, double seconds, int channel, live_midi_sink sink,
                       void* data) {
  int result = 0;
  for (int pitch = 0; result == 0 && pitch < LIVE_PITCHES; ++pitch)
    result = end_note(midi, seconds, channel, pitch, UINT8_MAX, sink, data);
  return result;
}

int live_midi_message(live_midi* midi, double seconds, uint8_t status, uint8_t first,
                      uint8_t second, live_midi_sink sink, void* data) {
  const int channel = status & 0x0f, kind = status & 0xf0, value = first & 0x7f;
  if (kind == LIVE_MIDI_NOTE_ON && (second & 0x7f) > 0)
    return begin_note(midi, seconds, channel, value, sink, data);
  if (kind == LIVE_MIDI_NOTE_ON || kind == LIVE_MIDI_NOTE_OFF)
    return end_note(midi, seconds, channel, value, 1, sink, data);
  if (kind == LIVE_MIDI_CONTROLLER && (value == ALL_SOUND_OFF || value >= LIVE_MIDI_ALL_NOTES_OFF))
    return end_channel(midi, seconds, channel, sink, data);
  return 0;
}

int live_midi_advance(live_midi* midi, double seconds, live_midi_sink sink, void* data) {
  const double end = midi->last_drum + kDrumSeconds;
  if (!midi->drums_on || seconds < end) return 0;
  midi->drums_on = 0;
  return sink(data, end, "drums off");
}
