#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "midi.h"

enum {
  MAX_FILE_BYTES = 1 << 26,
  /* Microseconds of a quarter note until a file says otherwise. */
  DEFAULT_TEMPO = 500000,
  META = 0xff,
  META_TEMPO = 0x51,
  META_END = 0x2f,
  MAX_REASON = 128
};

/* A message of a channel, or, with the status META, a tempo or, if that is 0, the end of a track.
 */
typedef struct item {
  uint64_t tick;
  size_t order; /* in the file */
  uint8_t status, first, second;
  uint32_t tempo;
} item;

typedef struct items {
  item* all;
  size_t count, capacity;
} items;

/* How long a tick lasts: a time, or a part of a quarter note if that is 0. */
typedef struct timing {
  double seconds_per_tick;
  double ticks_per_quarter;
} timing;

/* Bytes of a file or chunk. `failure` is null until something is wrong, which is then at `at`. */
typedef struct reader {
  const uint8_t* bytes;
  size_t at, end;
  const char* failure;
} reader;

static void fail(reader* in, const char* failure) {
  if (!in->failure) in->failure = failure;
}

/* Passes bytes by, and returns the first of them; null if there are not as many. */
static const uint8_t* skip(reader* in, size_t count) {
  if (!in->failure && count > in->end - in->at) fail(in, "it ends too early");
  if (in->failure) return NULL;
  in->at += count;
  return in->bytes + in->at - count;
}

/* A number of up to 4 bytes, the highest one first; 0 after a failure. */
static uint32_t take(reader* in, size_t count) {
  const uint8_t* bytes = skip(in, count);
  uint32_t value = 0;
  for (size_t i = 0; bytes && i < count; ++i) value = value << 8 | bytes[i];
  return value;
}

/* A number of 7 bits a byte, all but the last one with the highest bit set. */
static uint32_t take_variable(reader* in) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t byte = take(in, 1);
    value = value << 7 | (byte & 0x7f);
    if (byte < 0x80) return value;
  }
  fail(in, "a number of more than 4 bytes");
  return 0;
}

static uint8_t take_data(reader* in) {
  const uint32_t byte = take(in, 1);
  if (byte > 0x7f) fail(in, "a status within a message");
  return (uint8_t)byte;
}

static void add(reader* in, items* out, item added) {
  if (in->failure) return;
  if (out->count == out->capacity) {
    const size_t capacity = out->capacity ? 2 * out->capacity : 256;
    item* all = realloc(out->all, capacity * sizeof(item));
    if (!all) {
      fail(in, "out of memory");
      return;
    }
    out->all = all;
    out->capacity = capacity;
  }
  added.order = out->count;
  out->all[out->count++] = added;
}

/* Reads what follows the status META. Returns 1 at the end of a track. */
static int read_meta(reader* in, uint64_t tick, items* out) {
  const uint32_t type = take(in, 1), length = take_variable(in);
  item made = {.tick = tick, .status = META};
  if (type == META_TEMPO) {
    made.tempo = take(in, 3);
    if (length != 3 || made.tempo == 0) fail(in, "a wrong tempo");
  } else {
    skip(in, length);
  }
  if (type == META_TEMPO || type == META_END) add(in, out, made);
  return type == META_END;
}

/* Reads a message whose first byte, which may be its status, is read already. */
static void read_message(reader* in, uint64_t tick, uint32_t byte, uint8_t* running, items* out) {
  item made = {.tick = tick};
  if (byte >= 0x80) {
    *running = (uint8_t)byte;
    made.first = take_data(in);
  } else if (*running) {
    made.first = (uint8_t)byte;
  } else {
    fail(in, "data without a status");
  }
  made.status = *running;
  /* Programs and the pressure of a channel have one byte. */
  const int kind = made.status & 0xf0;
  if (kind != 0xc0 && kind != 0xd0) made.second = take_data(in);
  add(in, out, made);
}

static void read_track(reader* in, items* out) {
  uint64_t tick = 0;
  uint8_t running = 0;
  while (!in->failure) {
    tick += take_variable(in);
    const uint32_t byte = take(in, 1);
    if (byte < 0xf0) {
      read_message(in, tick, byte, &running, out);
      continue;
    }
    running = 0;
    if (byte == META) {
      if (read_meta(in, tick, out)) return;
    } else if (byte == 0xf0 || byte == 0xf7) {
      skip(in, take_variable(in));
    } else {
      fail(in, "a message that no file can have");
    }
  }
}

/* Reads the head of a chunk, whose reader it returns, and passes the chunk by. */
static reader take_chunk(reader* in, const char** type) {
  *type = (const char*)skip(in, 4);
  const uint32_t length = take(in, 4);
  reader chunk = {in->bytes, in->at, in->at, NULL};
  if (skip(in, length)) chunk.end = in->at;
  return chunk;
}

/* Ticks last a part of a quarter note, or of a frame of film if the highest bit is set. */
static void read_division(reader* in, uint32_t division, timing* out) {
  const uint32_t rate = 256 - (division >> 8), resolution = division & 0xff;
  if (division < 0x8000) {
    out->ticks_per_quarter = division;
    if (division == 0) fail(in, "a division of 0");
    return;
  }
  /* 29 stands for the 30000 / 1001 frames a second of film in colour. */
  const double frames = rate == 29 ? 30000.0 / 1001.0 : rate;
  if (resolution == 0 || (rate != 24 && rate != 25 && rate != 29 && rate != 30)) {
    fail(in, "a wrong division of frames");
    return;
  }
  out->seconds_per_tick = 1 / (frames * resolution);
}

/* Reads the header, and returns the number of tracks. */
static uint32_t read_header(reader* in, timing* out) {
  const char* type = NULL;
  if (in->end < 4 || memcmp(in->bytes, "MThd", 4) != 0) fail(in, "no MIDI file");
  reader header = take_chunk(in, &type);
  const uint32_t format = take(&header, 2), tracks = take(&header, 2), division = take(&header, 2);
  if (header.failure) fail(in, "a header of less than 6 bytes");
  if (format > 1) fail(in, "a format other than 0 and 1");
  if (tracks == 0 || (format == 0 && tracks != 1)) fail(in, "a wrong number of tracks");
  read_division(in, division, out);
  return tracks;
}

static int compare(const void* a, const void* b) {
  const item *x = a, *y = b;
  if (x->tick != y->tick) return x->tick < y->tick ? -1 : 1;
  return x->order < y->order ? -1 : 1;
}

static int add_event(void* score, double seconds, const char* event) {
  return live_score_add(score, seconds, event);
}

/* Drums are off until the first one is hit, if there are any. */
static int add_first_event(const items* all, live_score* score) {
  for (size_t i = 0; i < all->count; ++i) {
    if (all->all[i].status == (LIVE_MIDI_NOTE_ON | LIVE_MIDI_DRUMS))
      return live_score_add(score, 0, "drums off");
  }
  return 0;
}

/* Ends what still sounds at the end of the file: notes then, drums when they are due. */
static int add_last_events(live_midi* midi, double seconds, live_score* score) {
  int result = live_midi_advance(midi, seconds, add_event, score);
  for (int i = 0; result == 0 && i < LIVE_MIDI_CHANNELS; ++i)
    result = live_midi_message(midi, seconds, (uint8_t)(LIVE_MIDI_CONTROLLER | i),
                               LIVE_MIDI_ALL_NOTES_OFF, 0, add_event, score);
  return result == 0 ? live_midi_advance(midi, HUGE_VAL, add_event, score) : result;
}

/* Plays what tracks hold, in the order of its ticks, into a score. Returns 0, or -1 without memory.
 */
static int play(const items* all, const timing* timing, live_score* score) {
  live_midi midi = {.drums_on = 0};
  double seconds = 0;
  uint64_t tick = 0;
  uint32_t tempo = DEFAULT_TEMPO;
  int result = add_first_event(all, score);
  for (size_t i = 0; result == 0 && i < all->count; ++i) {
    const item* next = &all->all[i];
    const double each = timing->seconds_per_tick > 0 ? timing->seconds_per_tick
                                                     : 1e-6 * tempo / timing->ticks_per_quarter;
    seconds += each * (double)(next->tick - tick);
    tick = next->tick;
    if (next->tempo > 0) tempo = next->tempo;
    if (next->status == META) continue;
    result = live_midi_advance(&midi, seconds, add_event, score);
    if (result == 0)
      result = live_midi_message(&midi, seconds, next->status, next->first, next->second, add_event,
                                 score);
  }
  return result == 0 ? add_last_events(&midi, seconds, score) : result;
}

/* Reads all tracks, between which there may be other chunks. */
static void read_tracks(reader* in, uint32_t tracks, items* out) {
  while (tracks > 0 && !in->failure) {
    const char* type = NULL;
    reader chunk = take_chunk(in, &type);
    if (in->failure || memcmp(type, "MTrk", 4) != 0) continue;
    read_track(&chunk, out);
    if (chunk.failure) in->at = chunk.at;
    in->failure = chunk.failure;
    --tracks;
  }
}

int live_midi_parse(live_score* score, const uint8_t* bytes, size_t count, char* message,
                    size_t size) {
  const live_score empty = {NULL, 0, 0};
  reader in = {bytes, 0, count, NULL};
  timing timing = {0, 0};
  items found = {NULL, 0, 0};
  *score = empty;
  read_tracks(&in, read_header(&in, &timing), &found);
  if (!in.failure && found.count > 0) {
    qsort(found.all, found.count, sizeof(item), compare);
    if (play(&found, &timing, score) != 0) fail(&in, "out of memory");
  }
  free(found.all);
  if (!in.failure) return 0;
  snprintf(message, size, "byte %zu: %s", in.at, in.failure);
  live_score_free(score);
  return -1;
}

/* The bytes of a file, which the caller frees; null, with errno, if it cannot be read. */
static uint8_t* read_file(const char* path, size_t* count) {
  FILE* file = fopen(path, "rb");
  uint8_t* bytes = NULL;
  size_t capacity = 0;
  *count = 0;
  while (file && *count == capacity && capacity < MAX_FILE_BYTES) {
    capacity = capacity ? 2 * capacity : 1 << 16;
    uint8_t* more = realloc(bytes, capacity);
    if (!more) break;
    bytes = more;
    *count += fread(bytes + *count, 1, capacity - *count, file);
  }
  const int is_read = file && !ferror(file) && *count < capacity;
  if (file && !is_read && *count == capacity) errno = EFBIG;
  if (file) fclose(file);
  if (is_read) return bytes;
  free(bytes);
  return NULL;
}

int live_midi_read(live_score* score, const char* path, char* message, size_t size) {
  const live_score empty = {NULL, 0, 0};
  char reason[MAX_REASON];
  size_t count = 0;
  *score = empty;
  uint8_t* bytes = read_file(path, &count);
  if (!bytes) {
    snprintf(message, size, "%s: %s", path, strerror(errno));
    return -1;
  }
  const int result = live_midi_parse(score, bytes, count, reason, sizeof(reason));
  if (result != 0) snprintf(message, size, "%s, %s", path, reason);
  free(bytes);
  return result;
}
