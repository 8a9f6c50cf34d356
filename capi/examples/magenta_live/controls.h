/* Controls of Magenta RealTime: style, notes, drums and how strongly to follow them, which events
 * change while the model plays. */
#ifndef MAGENTA_LIVE_CONTROLS_H_
#define MAGENTA_LIVE_CONTROLS_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  LIVE_STYLE_TOKENS = 12,
  LIVE_STYLES = 1024,
  LIVE_PITCHES = 128,
  LIVE_GUIDANCES = 3,
  /* Tokens of a frame: style, pitches, drums, guidance. */
  LIVE_TOKENS = LIVE_STYLE_TOKENS + LIVE_PITCHES + 1 + LIVE_GUIDANCES
};

typedef struct live_controls {
  int32_t style[LIVE_STYLE_TOKENS]; /* -1: left to the model */
  int32_t pitches[LIVE_PITCHES];    /* -1: left to the model, 0: off, 1: held, 2: begins */
  uint8_t released[LIVE_PITCHES];   /* notes that end after the frame in which they begin */
  int32_t drums;                    /* -1: left to the model, 0: none, 1: play */
  float guidance[LIVE_GUIDANCES];   /* of style, notes and drums: -1 to 7 */
} live_controls;

/* Everything is left to the model. */
void live_controls_init(live_controls* controls);

/* Applies an event: "style 17 4 ...", with up to 12 tokens, or "style open"; "note_on 60";
 * "note_off 60"; "notes open"; "drums on", "drums off" or "drums open"; "guidance 3 1 1". Returns
 * 0, or -1 for a text that is none, with the reason in `message`; the controls are then as before.
 */
int live_controls_apply(live_controls* controls, const char* event, char* message, size_t size);

/* Writes the tokens of the next frame, LIVE_TOKENS, after which notes that began are held. */
void live_controls_next(live_controls* controls, int32_t* tokens);

/* An event at a time. */
typedef struct live_event {
  double seconds;
  char* text;
} live_event;

/* Events in the order of their times. */
typedef struct live_score {
  live_event* events;
  size_t count;
  size_t next;
} live_score;

/* Adds an event that live_controls_apply takes, not before those that are there. Returns 0, or -1
 * without memory. */
int live_score_add(live_score* score, double seconds, const char* text);

/* Reads a file with an event a line, behind its time in seconds: "2.5 note_on 60". What follows a #
 * is a comment. Returns 0, or -1 with the reason in `message`. The caller frees the score. */
int live_score_read(live_score* score, const char* path, char* message, size_t size);

/* Applies the events up to a time that have not been applied yet. */
void live_score_advance(live_score* score, double seconds, live_controls* controls);

void live_score_free(live_score* score);

#ifdef __cplusplus
}
#endif

#endif /* MAGENTA_LIVE_CONTROLS_H_ */
