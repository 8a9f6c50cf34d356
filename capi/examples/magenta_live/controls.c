#include "controls.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  /* Tokens of the input that stand for something else: -1 becomes the last one of these. */
  RESERVED_TOKENS = 7,
  MAX_LINE = 512
};

static const char kSeparators[] = " \t\r\n";

void live_controls_init(live_controls* controls) {
  const live_controls open = {.drums = -1, .guidance = {3, 1, 1}};
  *controls = open;
  for (int i = 0; i < LIVE_STYLE_TOKENS; ++i) controls->style[i] = -1;
  for (int i = 0; i < LIVE_PITCHES; ++i) controls->pitches[i] = -1;
}

static int refuse(char* message, size_t size, const char* reason, const char* word) {
  snprintf(message, size, "%s: \"%s\"", reason, word ? word : "");
  return -1;
}

/* Reads a number of minimum to maximum; returns -1 if the word is none. */
static int read_number(const char* word, double minimum, double maximum, double* number) {
  char* end = NULL;
  if (!word) return -1;
  *number = strtod(word, &end);
  return end == word || *end || !(*number >= minimum && *number <= maximum) ? -1 : 0;
}

static int read_integer(const char* word, int32_t maximum, int32_t* number) {
  double value = 0;
  if (read_number(word, 0, maximum, &value) != 0 || value != floor(value)) return -1;
  *number = (int32_t)value;
  return 0;
}

static int apply_style(live_controls* controls, char** words, char* message, size_t size) {
  char* word = strtok_r(NULL, kSeparators, words);
  int count = 0;
  for (int i = 0; i < LIVE_STYLE_TOKENS; ++i) controls->style[i] = -1;
  if (word && strcmp(word, "open") == 0) return 0;
  for (; word; word = strtok_r(NULL, kSeparators, words)) {
    if (count == LIVE_STYLE_TOKENS) return refuse(message, size, "more than 12 tokens", word);
    if (read_integer(word, LIVE_STYLES - 1, &controls->style[count++]) != 0)
      return refuse(message, size, "no style token of 0 to 1023", word);
  }
  return count > 0 ? 0 : refuse(message, size, "no style", word);
}

/* The first note turns all other pitches off, which were left to the model. */
static void close_pitches(live_controls* controls) {
  for (int i = 0; i < LIVE_PITCHES; ++i) {
    if (controls->pitches[i] < 0) controls->pitches[i] = 0;
  }
}

static int apply_note(live_controls* controls, int on, const char* word, char* message,
                      size_t size) {
  int32_t pitch = 0;
  if (read_integer(word, LIVE_PITCHES - 1, &pitch) != 0)
    return refuse(message, size, "no pitch of 0 to 127", word);
  close_pitches(controls);
  if (on) {
    controls->pitches[pitch] = 2;
    controls->released[pitch] = 0;
  } else if (controls->pitches[pitch] == 2) {
    controls->released[pitch] = 1;
  } else {
    controls->pitches[pitch] = 0;
  }
  return 0;
}

static int apply_drums(live_controls* controls, const char* word, char* message, size_t size) {
  static const char* const kStates[] = {"open", "off", "on"};
  for (int i = 0; i < 3; ++i) {
    if (!word || strcmp(word, kStates[i]) != 0) continue;
    controls->drums = i - 1;
    return 0;
  }
  return refuse(message, size, "drums are on, off or open", word);
}

static int apply_guidance(live_controls* controls, char** words, char* message, size_t size) {
  for (int i = 0; i < LIVE_GUIDANCES; ++i) {
    const char* word = strtok_r(NULL, kSeparators, words);
    double value = 0;
    if (read_number(word, -1, 7, &value) != 0)
      return refuse(message, size, "guidance is three numbers of -1 to 7", word);
    controls->guidance[i] = (float)value;
  }
  return 0;
}

static int apply_words(live_controls* controls, char* text, char* message, size_t size) {
  char* words = NULL;
  const char* name = strtok_r(text, kSeparators, &words);
  if (!name) return refuse(message, size, "no event", name);
  if (strcmp(name, "style") == 0) return apply_style(controls, &words, message, size);
  if (strcmp(name, "guidance") == 0) {
    if (apply_guidance(controls, &words, message, size) != 0) return -1;
  } else {
    const char* word = strtok_r(NULL, kSeparators, &words);
    if (strcmp(name, "note_on") == 0 || strcmp(name, "note_off") == 0) {
      if (apply_note(controls, name[6] == 'n', word, message, size) != 0) return -1;
    } else if (strcmp(name, "drums") == 0) {
      if (apply_drums(controls, word, message, size) != 0) return -1;
    } else if (strcmp(name, "notes") == 0 && word && strcmp(word, "open") == 0) {
      for (int i = 0; i < LIVE_PITCHES; ++i) controls->pitches[i] = -1;
    } else {
      return refuse(message, size, "unknown event", name);
    }
  }
  const char* more = strtok_r(NULL, kSeparators, &words);
  return more ? refuse(message, size, "more than the event", more) : 0;
}

int live_controls_apply(live_controls* controls, const char* event, char* message, size_t size) {
  char text[MAX_LINE];
  if (strlen(event) >= sizeof(text)) return refuse(message, size, "too long an event", "");
  strcpy(text, event);
  live_controls changed = *controls;
  if (apply_words(&changed, text, message, size) != 0) return -1;
  *controls = changed;
  return 0;
}

/* The token of a guidance, by steps of that size from -1 on. */
static int32_t guidance_token(float guidance, double step) {
  return (int32_t)nearbyint((guidance + 1.0) / step);
}

void live_controls_next(live_controls* controls, int32_t* tokens) {
  int32_t* out = tokens;
  for (int i = 0; i < LIVE_STYLE_TOKENS; ++i) *out++ = controls->style[i];
  for (int i = 0; i < LIVE_PITCHES; ++i) {
    *out++ = controls->pitches[i];
    if (controls->pitches[i] == 2) controls->pitches[i] = controls->released[i] ? 0 : 1;
    controls->released[i] = 0;
  }
  *out++ = controls->drums;
  *out++ = guidance_token(controls->guidance[0], 0.2);
  *out++ = guidance_token(controls->guidance[1], 0.2);
  *out++ = guidance_token(controls->guidance[2], 1.0);
  for (int i = 0; i < LIVE_TOKENS; ++i) tokens[i] += RESERVED_TOKENS;
}

int live_score_add(live_score* score, double seconds, const char* text) {
  live_event* events = realloc(score->events, (score->count + 1) * sizeof(live_event));
  if (!events) return -1;
  score->events = events;
  events[score->count].seconds = seconds;
  events[score->count].text = strdup(text);
  if (!events[score->count].text) return -1;
  ++score->count;
  return 0;
}

/* Adds the event of a line, if it has one. `last` are the controls after the events before. */
static int add_line(live_score* score, char* line, live_controls* last, char* message,
                    size_t size) {
  line[strcspn(line, "#\r\n")] = 0;
  char* words = NULL;
  char* time = strtok_r(line, kSeparators, &words);
  double seconds = 0;
  if (!time) return 0;
  if (read_number(time, 0, 1e9, &seconds) != 0) return refuse(message, size, "no time", time);
  if (score->count > 0 && seconds < score->events[score->count - 1].seconds)
    return refuse(message, size, "earlier than the line before", time);
  if (live_controls_apply(last, words, message, size) != 0) return -1;
  return live_score_add(score, seconds, words) == 0 ? 0
                                                    : refuse(message, size, "out of memory", "");
}

int live_score_read(live_score* score, const char* path, char* message, size_t size) {
  char line[MAX_LINE], reason[MAX_LINE];
  const live_score empty = {NULL, 0, 0};
  live_controls last;
  live_controls_init(&last);
  *score = empty;
  FILE* file = fopen(path, "r");
  if (!file) return refuse(message, size, strerror(errno), path);
  int result = 0;
  for (int number = 1; result == 0 && fgets(line, sizeof(line), file); ++number) {
    result = add_line(score, line, &last, reason, sizeof(reason));
    if (result != 0) snprintf(message, size, "%s, line %d: %s", path, number, reason);
  }
  fclose(file);
  if (result != 0) live_score_free(score);
  return result;
}

void live_score_advance(live_score* score, double seconds, live_controls* controls) {
  char message[MAX_LINE];
  for (; score->next < score->count; ++score->next) {
    const live_event* event = &score->events[score->next];
    if (event->seconds > seconds) return;
    live_controls_apply(controls, event->text, message, sizeof(message)); /* was checked */
  }
}

void live_score_free(live_score* score) {
  for (size_t i = 0; i < score->count; ++i) free(score->events[i].text);
  free(score->events);
  score->events = NULL;
  score->count = 0;
}
