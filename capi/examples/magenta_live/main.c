/* Plays Magenta RealTime 2, which events steer while it plays: docs/models/magenta_rt.md. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "controls.h"
#include "engine.h"
#include "midi.h"
#include "report.h"
#include "sound.h"

enum { MAX_LINE = 512 };

static const char kUsage[] =
    "usage: magenta_live MODEL [options]\n"
    "\n"
    "Plays a model of Magenta RealTime 2 that sequence_layers_tools.convert_magenta wrote.\n"
    "\n"
    "  --score FILE      events at their times, a line each: \"2.5 note_on 60\"\n"
    "  --midi FILE       notes of a Standard MIDI File as well\n"
    "  --midi-in PORT    notes of a port of ALSA's sequencer, such as 20:0 or a client's name\n"
    "  --events          events from standard input as well, each when it comes: \"note_on 60\"\n"
    "  --wav FILE        writes the sound\n"
    "  --play DEVICE     plays the sound on a device of ALSA, such as \"default\"\n"
    "  --seconds N       how long; default: 10\n"
    "  --realtime        begins each frame when it is due, as playing does\n"
    "  --pipeline        makes sound on a thread of its own, a frame later\n"
    "  --threads N       threads of a step; default: 1\n"
    "  --weights FORMAT  float32, bfloat16, int8 or int4; default: as stored\n"
    "  --temperature X   default: 1.3\n"
    "  --top-k N         default: 40; 0: all\n"
    "  --top-p X         default: 0, all\n"
    "  --seed N          default: 0\n"
    "  --gain X          of the sound; default: 0.5, as the package has it\n"
    "  --times FILE      writes the times of all frames, as comma separated values\n"
    "  --frames          prints every frame; default: those that are late\n"
    "  --quiet           prints the summary only\n"
    "\n"
    "Events: style T1 .. T12 | style open | note_on P | note_off P | notes open |\n"
    "        drums on | drums off | drums open | guidance STYLE NOTES DRUMS\n";

typedef struct settings {
  live_engine_options engine;
  const char *score, *midi, *midi_in, *wav, *device, *times;
  double seconds, gain;
  int reads_events, is_realtime, prints_frames, is_quiet;
} settings;

/* A run of the program: the model, its score, and where the sound goes. */
typedef struct session {
  const settings* settings;
  live_engine* engine;
  live_controls controls;
  live_score score, notes;
  live_midi_port* port;
  live_report report;
  live_wav* wav;
  live_player* player;
  float* sound;
  double frame_seconds;
  int underruns;
  char line[MAX_LINE]; /* of standard input, as far as it has come */
  size_t line_size;
} session;

static volatile sig_atomic_t stops = 0;

static void stop(int signal) {
  (void)signal;
  stops = 1;
}

static int complain(const char* what, const char* reason) {
  fprintf(stderr, "magenta_live: %s%s%s\n", what, *reason ? ": " : "", reason);
  return -1;
}

static const struct option kOptions[] = {
    {"score", required_argument, NULL, 's'},
    {"events", no_argument, NULL, 'e'},
    {"midi", required_argument, NULL, 'm'},
    {"midi-in", required_argument, NULL, 'M'},
    {"wav", required_argument, NULL, 'w'},
    {"play", required_argument, NULL, 'p'},
    {"seconds", required_argument, NULL, 'n'},
    {"realtime", no_argument, NULL, 'r'},
    {"pipeline", no_argument, NULL, 'l'},
    {"threads", required_argument, NULL, 't'},
    {"weights", required_argument, NULL, 'f'},
    {"temperature", required_argument, NULL, 'T'},
    {"top-k", required_argument, NULL, 'k'},
    {"top-p", required_argument, NULL, 'P'},
    {"seed", required_argument, NULL, 'S'},
    {"gain", required_argument, NULL, 'g'},
    {"times", required_argument, NULL, 'o'},
    {"quiet", no_argument, NULL, 'q'},
    {"frames", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* Sets an option of a number; returns -1 for an unknown one or a text that is no number. */
static int set_number(settings* out, int option, const char* text) {
  char* end = NULL;
  const double number = strtod(text, &end);
  if (end == text || *end || !(number >= 0 && number <= 1e9)) return -1;
  switch (option) {
    case 'n':
      out->seconds = number;
      return 0;
    case 't':
      out->engine.num_step_threads = (int32_t)number;
      return 0;
    case 'T':
      out->engine.temperature = (float)number;
      return 0;
    case 'k':
      out->engine.top_k = (int64_t)number;
      return 0;
    case 'P':
      out->engine.top_p = (float)number;
      return 0;
    case 'S':
      out->engine.seed = (uint64_t)number;
      return 0;
    case 'g':
      out->gain = number;
      return 0;
    default:
      return -1;
  }
}

static int set_option(settings* out, int option, const char* text) {
  switch (option) {
    case 's':
      out->score = text;
      return 0;
    case 'm':
      out->midi = text;
      return 0;
    case 'M':
      out->midi_in = text;
      return 0;
    case 'e':
      out->reads_events = 1;
      return 0;
    case 'w':
      out->wav = text;
      return 0;
    case 'p':
      out->device = text;
      return 0;
    case 'r':
      out->is_realtime = 1;
      return 0;
    case 'l':
      out->engine.pipelined = 1;
      return 0;
    case 'f':
      out->engine.weight_format = text;
      return 0;
    case 'o':
      out->times = text;
      return 0;
    case 'v':
      out->prints_frames = 1;
      return 0;
    case 'q':
      out->is_quiet = 1;
      return 0;
    default:
      return text ? set_number(out, option, text) : -1;
  }
}

/* Returns 0, or, after the usage has been printed, 1 if it was asked for and -1 if it was not. */
static int read_settings(int argc, char** argv, settings* out) {
  const settings defaults = {
      .engine = {.temperature = 1.3f, .top_k = 40}, .seconds = 10, .gain = 0.5};
  *out = defaults;
  int result = 0;
  for (int option; result == 0 && (option = getopt_long(argc, argv, "", kOptions, NULL)) != -1;)
    result = option == 'h' ? 1 : set_option(out, option, optarg);
  if (result == 0 && optind + 1 != argc) result = -1;
  if (result != 0) fputs(kUsage, result > 0 ? stdout : stderr);
  if (result == 0) out->engine.directory = argv[optind];
  return result;
}

static int open_outputs(session* session) {
  char message[MAX_LINE];
  const settings* settings = session->settings;
  const int64_t channels = live_engine_channels(session->engine);
  const double rate = live_engine_sample_rate(session->engine);
  if (settings->wav) {
    session->wav = live_wav_open(settings->wav, channels, rate);
    if (!session->wav) return complain(settings->wav, strerror(errno));
  }
  if (settings->device) {
    /* Two frames: one is played while the next one is made. */
    session->player = live_player_open(settings->device, channels, rate, 2 * session->frame_seconds,
                                       message, sizeof(message));
    if (!session->player) return complain("cannot play", message);
  }
  return 0;
}

static int open_inputs(session* session) {
  char message[MAX_LINE];
  const settings* settings = session->settings;
  if (settings->score &&
      live_score_read(&session->score, settings->score, message, sizeof(message)) != 0)
    return complain("score", message);
  if (settings->midi &&
      live_midi_read(&session->notes, settings->midi, message, sizeof(message)) != 0)
    return complain("MIDI", message);
  if (!settings->midi_in) return 0;
  session->port = live_midi_port_open(settings->midi_in, message, sizeof(message));
  return session->port ? 0 : complain("MIDI", message);
}

static int open_session(session* session) {
  sl_error error = SL_ERROR_INIT;
  const settings* settings = session->settings;
  live_controls_init(&session->controls);
  if (open_inputs(session) != 0) return -1;
  if (live_engine_create(&settings->engine, &session->engine, &error) != SL_STATUS_OK)
    return complain(settings->engine.directory, error.message);
  const int64_t samples = live_engine_samples(session->engine);
  session->frame_seconds = (double)samples / live_engine_sample_rate(session->engine);
  const int64_t frames = (int64_t)(settings->seconds / session->frame_seconds + 0.5);
  session->sound = calloc((size_t)(samples * live_engine_channels(session->engine)), sizeof(float));
  if (!session->sound || live_report_create(&session->report, frames > 0 ? frames : 1) != 0)
    return complain("out of memory", "");
  return open_outputs(session);
}

static int close_session(session* session) {
  int result = 0;
  live_player_close(session->player);
  if (live_wav_close(session->wav) != 0) result = complain("cannot write the WAV file", "");
  live_report_free(&session->report);
  live_score_free(&session->score);
  live_score_free(&session->notes);
  live_midi_port_close(session->port);
  live_engine_free(session->engine);
  free(session->sound);
  return result;
}

static void apply_event(session* session, const char* event) {
  char message[MAX_LINE];
  if (live_controls_apply(&session->controls, event, message, sizeof(message)) != 0)
    complain("event", message);
}

/* Applies the lines that have come from standard input, without waiting for more. */
static void read_events(session* session) {
  struct pollfd input = {STDIN_FILENO, POLLIN, 0};
  while (poll(&input, 1, 0) > 0) {
    char byte = 0;
    if (read(STDIN_FILENO, &byte, 1) != 1) return;
    if (byte != '\n') {
      if (session->line_size + 1 < sizeof(session->line))
        session->line[session->line_size++] = byte;
      continue;
    }
    session->line[session->line_size] = 0;
    if (session->line_size > 0) apply_event(session, session->line);
    session->line_size = 0;
  }
}

static void wait_until(double seconds) {
  struct timespec until = {(time_t)seconds, 0};
  until.tv_nsec = (long)(1e9 * (seconds - (double)until.tv_sec));
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR && !stops) {
  }
}

static int put_sound(session* session) {
  const int64_t samples = live_engine_samples(session->engine);
  const int64_t count = samples * live_engine_channels(session->engine);
  for (int64_t i = 0; i < count; ++i) session->sound[i] *= (float)session->settings->gain;
  if (session->wav && live_wav_write(session->wav, session->sound, samples) != 0)
    return complain("cannot write the WAV file", strerror(errno));
  if (!session->player) return 0;
  const int underruns = live_player_write(session->player, session->sound, samples);
  if (underruns < 0) return complain("cannot play", "the device has failed");
  session->underruns += underruns;
  return 0;
}

static int play_frame(session* session, int64_t frame) {
  int32_t tokens[LIVE_TOKENS];
  live_times times;
  sl_error error = SL_ERROR_INIT;
  const double seconds = (double)frame * session->frame_seconds;
  if (session->settings->reads_events) read_events(session);
  if (session->port) live_midi_port_advance(session->port, live_now(), &session->controls);
  live_score_advance(&session->score, seconds, &session->controls);
  live_score_advance(&session->notes, seconds, &session->controls);
  live_controls_next(&session->controls, tokens);
  if (live_engine_play(session->engine, tokens, session->sound, &times, &error) != SL_STATUS_OK)
    return complain("a frame failed", error.message);
  live_report_add(&session->report, &times);
  const int is_late = times.total > session->frame_seconds;
  if (!session->settings->is_quiet && (is_late || session->settings->prints_frames)) {
    printf("frame %lld: %.2f ms: conditioning %.2f, temporal %.2f, depth %.2f, codec %.2f%s\n",
           (long long)frame, 1e3 * times.total, 1e3 * times.conditioning, 1e3 * times.temporal,
           1e3 * times.depth, 1e3 * times.codec, is_late ? ", late" : "");
  }
  return put_sound(session);
}

static int play(session* session) {
  const double start = live_now();
  for (int64_t frame = 0; frame < session->report.capacity && !stops; ++frame) {
    if (session->settings->is_realtime) wait_until(start + (double)frame * session->frame_seconds);
    if (play_frame(session, frame) != 0) return -1;
  }
  return 0;
}

static int summarize(const session* session) {
  struct rusage usage;
  const live_report* report = &session->report;
  getrusage(RUSAGE_SELF, &usage);
  live_report_print(report, stdout);
  printf("%lld frames of %.1f ms, %lld late", (long long)report->count,
         1e3 * session->frame_seconds,
         (long long)live_report_misses(report, session->frame_seconds));
  if (session->player) printf(", %d gaps in what was played", session->underruns);
  printf(
      "; latency of the sound %.1f ms; memory %.0f MB at most\n",
      1e3 * (double)live_engine_latency(session->engine) / live_engine_sample_rate(session->engine),
      1.024e-3 * (double)usage.ru_maxrss);
  if (!session->settings->times || live_report_save(report, session->settings->times) == 0)
    return 0;
  return complain(session->settings->times, strerror(errno));
}

int main(int argc, char** argv) {
  settings settings;
  const int read = read_settings(argc, argv, &settings);
  if (read != 0) return read > 0 ? 0 : 2;
  signal(SIGINT, stop);
  signal(SIGTERM, stop);
  session session = {.settings = &settings};
  int result = open_session(&session);
  if (result == 0) result = play(&session);
  if (result == 0) result = summarize(&session);
  if (close_session(&session) != 0) result = -1;
  return result == 0 ? 0 : 1;
}
