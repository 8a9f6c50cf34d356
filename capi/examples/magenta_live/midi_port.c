#include <stdio.h>
#include <stdlib.h>

#include "midi.h"

#ifdef LIVE_HAS_ALSA

#include <alsa/asoundlib.h>

struct live_midi_port {
  snd_seq_t* sequencer;
  live_midi midi;
};

static int connect_port(snd_seq_t* sequencer, const char* source) {
  snd_seq_addr_t from;
  snd_seq_set_client_name(sequencer, "magenta_live");
  const int own = snd_seq_create_simple_port(
      sequencer, "notes", SND_SEQ_PORT_CAP_WRITE | SND_SEQ_PORT_CAP_SUBS_WRITE,
      SND_SEQ_PORT_TYPE_MIDI_GENERIC | SND_SEQ_PORT_TYPE_APPLICATION);
  if (own < 0 || !*source) return own < 0 ? own : 0;
  const int status = snd_seq_parse_address(sequencer, &from, source);
  return status < 0 ? status : snd_seq_connect_from(sequencer, own, from.client, from.port);
}

live_midi_port* live_midi_port_open(const char* source, char* message, size_t size) {
  live_midi_port* port = calloc(1, sizeof(live_midi_port));
  if (!port) {
    snprintf(message, size, "out of memory");
    return NULL;
  }
  int status = snd_seq_open(&port->sequencer, "default", SND_SEQ_OPEN_INPUT, SND_SEQ_NONBLOCK);
  if (status >= 0) {
    status = connect_port(port->sequencer, source);
    if (status >= 0) return port;
    snd_seq_close(port->sequencer);
  }
  snprintf(message, size, "%s: %s", *source ? source : "sequencer", snd_strerror(status));
  free(port);
  return NULL;
}

static int apply(void* controls, double seconds, const char* event) {
  char message[128];
  (void)seconds;
  return live_controls_apply(controls, event, message, sizeof(message));
}

void live_midi_port_advance(live_midi_port* port, double seconds, live_controls* controls) {
  snd_seq_event_t* event = NULL;
  while (snd_seq_event_input(port->sequencer, &event) >= 0 && event) {
    const snd_seq_ev_note_t* note = &event->data.note;
    const snd_seq_ev_ctrl_t* control = &event->data.control;
    const int is_on = event->type == SND_SEQ_EVENT_NOTEON;
    if (is_on || event->type == SND_SEQ_EVENT_NOTEOFF) {
      const int kind = is_on ? LIVE_MIDI_NOTE_ON : LIVE_MIDI_NOTE_OFF;
      live_midi_message(&port->midi, seconds, (uint8_t)(kind | (note->channel & 15)), note->note,
                        note->velocity, apply, controls);
    } else if (event->type == SND_SEQ_EVENT_CONTROLLER) {
      live_midi_message(&port->midi, seconds,
                        (uint8_t)(LIVE_MIDI_CONTROLLER | (control->channel & 15)),
                        (uint8_t)control->param, (uint8_t)control->value, apply, controls);
    }
  }
  live_midi_advance(&port->midi, seconds, apply, controls);
}

void live_midi_port_close(live_midi_port* port) {
  if (!port) return;
  snd_seq_close(port->sequencer);
  free(port);
}

#else

live_midi_port* live_midi_port_open(const char* source, char* message, size_t size) {
  snprintf(message, size, "%s: built without ALSA (libasound2-dev)", source);
  return NULL;
}

void live_midi_port_advance(live_midi_port* port, double seconds, live_controls* controls) {
  (void)port;
  (void)seconds;
  (void)controls;
}

void live_midi_port_close(live_midi_port* port) { (void)port; }

#endif
