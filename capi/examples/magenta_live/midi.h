/* Notes of MIDI files and ports as events of a score. Drums, which are on channel 10, are on while
 * they are hit and two seconds longer; what else there is, such as programs and pedals, is left
 * out.
 */
#ifndef MAGENTA_LIVE_MIDI_H_
#define MAGENTA_LIVE_MIDI_H_

#include <stddef.h>
#include <stdint.h>

#include "controls.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  LIVE_MIDI_CHANNELS = 16,
  LIVE_MIDI_DRUMS = 9, /* the channel of drums, which is called 10 */
  /* Kinds of messages, which are the upper half of their status; the lower one is the channel. */
  LIVE_MIDI_NOTE_OFF = 0x80,
  LIVE_MIDI_NOTE_ON = 0x90,
  LIVE_MIDI_CONTROLLER = 0xb0,
  /* the first of the controllers that end all notes of a channel */
  LIVE_MIDI_ALL_NOTES_OFF = 123
};

/* Which notes sound. Begins with zeros. */
typedef struct live_midi {
  uint8_t held[LIVE_MIDI_CHANNELS][LIVE_PITCHES]; /* how often each was begun and not ended */
  int drums_on;
  double last_drum; /* when one was hit */
} live_midi;

/* Takes an event of live_controls_apply. Returns 0, or -1 to end. */
typedef int (*live_midi_sink)(void* data, double seconds, const char* event);

/* Translates a message of a channel: its status and two bytes, of which only the lower 7 bits
 * count. Returns 0, or what the sink returned if that is not 0. */
int live_midi_message(live_midi* midi, double seconds, uint8_t status, uint8_t first,
                      uint8_t second, live_midi_sink sink, void* data);

/* Ends the drums if there were none for two seconds. Returns as live_midi_message does. */
int live_midi_advance(live_midi* midi, double seconds, live_midi_sink sink, void* data);

/* Reads the bytes of a Standard MIDI File of format 0 or 1 as a score. Returns 0, or -1 with the
 * reason in `message`. The caller frees the score. */
int live_midi_parse(live_score* score, const uint8_t* bytes, size_t count, char* message,
                    size_t size);

/* Reads a file in this way. */
int live_midi_read(live_score* score, const char* path, char* message, size_t size);

/* A port of ALSA's sequencer, to which keyboards and other programs send notes. */
typedef struct live_midi_port live_midi_port;

/* Opens a port and connects it with another one, such as "20:0" or the name of a client, or with
 * none yet if that is empty. Null, with the reason in `message`, where there is no sequencer, or
 * the program was built without ALSA. */
live_midi_port* live_midi_port_open(const char* source, char* message, size_t size);

/* Applies the notes that have come, without waiting for more. */
void live_midi_port_advance(live_midi_port* port, double seconds, live_controls* controls);

/* Null is allowed. */
void live_midi_port_close(live_midi_port* port);

#ifdef __cplusplus
}
#endif

#endif /* MAGENTA_LIVE_MIDI_H_ */
