/* LV2 plugins, mono and stereo, that play audio through a model of a directory. The model is a
 * property of the plugin: the host sets it by patch:Set, or restores it with its session. It is
 * opened on the host's worker thread, and fades in on the audio thread, which neither allocates nor
 * locks. Without a model audio passes unchanged. */
#include <lv2/atom/atom.h>
#include <lv2/atom/forge.h>
#include <lv2/atom/util.h>
#include <lv2/buf-size/buf-size.h>
#include <lv2/core/lv2.h>
#include <lv2/core/lv2_util.h>
#include <lv2/log/logger.h>
#include <lv2/options/options.h>
#include <lv2/patch/patch.h>
#include <lv2/state/state.h>
#include <lv2/urid/urid.h>
#include <lv2/worker/worker.h>
#include <pthread.h>
#include <sequence_layers/sequence_layers.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MONO_URI "urn:sequence-layers:lv2:mono"
#define STEREO_URI "urn:sequence-layers:lv2:stereo"
#define MODEL_URI "urn:sequence-layers:lv2:model"

enum { MAX_CHANNELS = 2, MAX_PATH = 4096, DEFAULT_FRAMES = 4096, MAX_FRAMES = 1 << 20 };

/* Audio ports follow: the inputs, then the outputs. */
enum { PORT_CONTROL, PORT_NOTIFY, PORT_MIX, PORT_LATENCY, PORT_AUDIO };

/* A model and the pipe through it. */
typedef struct Effect {
  sl_layer* layer;
  sl_pipe* pipe;
  struct Effect* next; /* in a list of those to be freed */
  char path[];         /* "": the one that passes audio unchanged */
} Effect;

typedef struct {
  LV2_URID atom_Int, atom_Path, atom_URID, buf_size_max, model, patch_Get, patch_Set,
      patch_property, patch_value;
} Uris;

typedef struct {
  int channels;
  sl_pipe_options options;
  LV2_URID_Map* map;
  LV2_Worker_Schedule* schedule;
  LV2_Log_Logger logger;
  LV2_Atom_Forge forge;
  Uris uris;

  const LV2_Atom_Sequence* control;
  LV2_Atom_Sequence* notify;
  const float* mix;
  float* latency;
  float* audio[2 * MAX_CHANNELS];

  /* of the audio thread */
  Effect* playing;
  Effect* coming;  /* waits for the end of a fade */
  Effect* leaving; /* fades out */
  Effect* done;    /* to be freed by the worker */
  bool announces;  /* the host is to be told the model */

  /* of all other threads */
  pthread_mutex_t mutex;
  char* path; /* of the last model that was opened; null: none */
} Plugin;

/* A message to the worker thread: a path to open, or what to free. */
typedef struct {
  Effect* free;
  char path[MAX_PATH];
} Job;

static void effect_free(Effect* effect) {
  if (!effect) return;
  sl_pipe_free(effect->pipe);
  sl_layer_free(effect->layer);
  free(effect);
}

/* Null after an error, which is logged. */
static Effect* effect_open(Plugin* self, const char* path) {
  static const char kUnchanged[] = "{\"type\": \"Identity\"}";
  sl_error error = SL_ERROR_INIT;
  Effect* effect = calloc(1, sizeof(Effect) + strlen(path) + 1);
  if (!effect) return NULL;
  strcpy(effect->path, path);
  sl_status status =
      *path ? sl_layer_open(path, NULL, &effect->layer, &error)
            : sl_layer_create(kUnchanged, strlen(kUnchanged), NULL, NULL, &effect->layer, &error);
  if (status == SL_STATUS_OK)
    status = sl_pipe_create(effect->layer, &self->options, &effect->pipe, &error);
  if (status == SL_STATUS_OK) return effect;
  lv2_log_error(&self->logger, "sequence_layers: %s: %s\n", path, error.message);
  effect_free(effect);
  return NULL;
}

static void remember(Plugin* self, const char* path) {
  char* copy = strdup(path);
  pthread_mutex_lock(&self->mutex);
  free(self->path);
  self->path = copy;
  pthread_mutex_unlock(&self->mutex);
}

static void map_uris(Plugin* self) {
  const struct {
    LV2_URID* urid;
    const char* uri;
  } all[] = {
      {&self->uris.atom_Int, LV2_ATOM__Int},
      {&self->uris.atom_Path, LV2_ATOM__Path},
      {&self->uris.atom_URID, LV2_ATOM__URID},
      {&self->uris.buf_size_max, LV2_BUF_SIZE__maxBlockLength},
      {&self->uris.model, MODEL_URI},
      {&self->uris.patch_Get, LV2_PATCH__Get},
      {&self->uris.patch_Set, LV2_PATCH__Set},
      {&self->uris.patch_property, LV2_PATCH__property},
      {&self->uris.patch_value, LV2_PATCH__value},
  };
  for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); ++i)
    *all[i].urid = self->map->map(self->map->handle, all[i].uri);
}

/* Maximum of frames that the host announces, if it does. Longer calls are split. */
static int64_t max_frames(const Plugin* self, const LV2_Options_Option* option) {
  for (; option && option->key; ++option) {
    if (option->key != self->uris.buf_size_max || option->type != self->uris.atom_Int) continue;
    const int32_t frames = *(const int32_t*)option->value;
    if (frames >= 1 && frames <= MAX_FRAMES) return frames;
  }
  return DEFAULT_FRAMES;
}

static void cleanup(LV2_Handle instance) {
  Plugin* self = instance;
  effect_free(self->playing);
  effect_free(self->coming);
  effect_free(self->leaving);
  while (self->done) {
    Effect* next = self->done->next;
    effect_free(self->done);
    self->done = next;
  }
  pthread_mutex_destroy(&self->mutex);
  free(self->path);
  free(self);
}

static LV2_Handle instantiate(const LV2_Descriptor* descriptor, double rate, const char* bundle,
                              const LV2_Feature* const* features) {
  (void)bundle;
  Plugin* self = calloc(1, sizeof(Plugin));
  if (!self) return NULL;
  pthread_mutex_init(&self->mutex, NULL);
  const LV2_Options_Option* options = NULL;
  LV2_Log_Log* log = NULL;
  const char* missing = lv2_features_query(
      features, LV2_URID__map, &self->map, true, LV2_WORKER__schedule, &self->schedule, false,
      LV2_LOG__log, &log, false, LV2_OPTIONS__options, &options, false, NULL);
  lv2_log_logger_init(&self->logger, missing ? NULL : self->map, log);
  if (missing) {
    lv2_log_error(&self->logger, "sequence_layers: the host lacks <%s>\n", missing);
    cleanup(self);
    return NULL;
  }
  map_uris(self);
  lv2_atom_forge_init(&self->forge, self->map);
  self->channels = strcmp(descriptor->URI, STEREO_URI) == 0 ? 2 : 1;
  self->options.struct_size = sizeof(self->options);
  self->options.host_rate = rate;
  self->options.host_channels = self->channels;
  self->options.max_frames = max_frames(self, options);
  self->playing = effect_open(self, "");
  if (self->playing) return self;
  cleanup(self);
  return NULL;
}

static void connect_port(LV2_Handle instance, uint32_t port, void* data) {
  Plugin* self = instance;
  if (port == PORT_CONTROL) self->control = data;
  if (port == PORT_NOTIFY) self->notify = data;
  if (port == PORT_MIX) self->mix = data;
  if (port == PORT_LATENCY) self->latency = data;
  if (port >= PORT_AUDIO && port < PORT_AUDIO + 2u * MAX_CHANNELS)
    self->audio[port - PORT_AUDIO] = data;
}

static void activate(LV2_Handle instance) {
  Plugin* self = instance;
  sl_pipe_reset(self->playing->pipe, NULL);
}

/* False also where the host has no worker: then models come by restored states alone. */
static bool schedule(Plugin* self, const Job* job) {
  if (!self->schedule) return false;
  const size_t size = sizeof(job->free) + strlen(job->path) + 1;
  return self->schedule->schedule_work(self->schedule->handle, (uint32_t)size, job) ==
         LV2_WORKER_SUCCESS;
}

/* Hosts let users choose files: the model is the directory of its config. */
static void strip_config(char* path) {
  static const char kConfig[] = "/config.json";
  const size_t size = strlen(path), length = strlen(kConfig);
  if (size > length && strcmp(path + size - length, kConfig) == 0) path[size - length] = '\0';
}

static void set_model(Plugin* self, const LV2_Atom_Object* object) {
  const LV2_Atom *property = NULL, *value = NULL;
  lv2_atom_object_get(object, self->uris.patch_property, &property, self->uris.patch_value, &value,
                      0);
  if (!property || property->type != self->uris.atom_URID ||
      ((const LV2_Atom_URID*)property)->body != self->uris.model) {
    return;
  }
  if (!value || value->type != self->uris.atom_Path || value->size == 0 || value->size > MAX_PATH)
    return;
  Job job;
  job.free = NULL;
  memcpy(job.path, LV2_ATOM_BODY_CONST(value), value->size);
  job.path[value->size - 1] = '\0';
  strip_config(job.path);
  schedule(self, &job);
}

static void read_messages(Plugin* self) {
  LV2_ATOM_SEQUENCE_FOREACH(self->control, event) {
    const LV2_Atom_Object* object = (const LV2_Atom_Object*)&event->body;
    if (!lv2_atom_forge_is_object_type(&self->forge, event->body.type)) continue;
    if (object->body.otype == self->uris.patch_Set) set_model(self, object);
    if (object->body.otype == self->uris.patch_Get) self->announces = true;
  }
}

/* Fades to the model that has come, once an earlier fade is over, and has the worker free the one
 * that left. */
static void change_effects(Plugin* self) {
  if (self->leaving && !sl_pipe_is_fading(self->playing->pipe)) {
    self->leaving->next = self->done;
    self->done = self->leaving;
    self->leaving = NULL;
  }
  if (self->coming && !self->leaving) {
    Effect *old = self->playing, *new = self->coming;
    self->coming = NULL;
    if (sl_pipe_swap(old->pipe, new->pipe, NULL) == SL_STATUS_OK) {
      /* The pipe that plays stays, and its model is the new one: each pipe goes with its model. */
      sl_pipe* pipe = old->pipe;
      old->pipe = new->pipe;
      new->pipe = pipe;
      self->playing = new;
      self->leaving = old;
      self->announces = true;
    } else {
      new->next = self->done;
      self->done = new;
    }
  }
  while (self->done) {
    Job job = {.free = self->done, .path = ""};
    Effect* next = self->done->next;
    if (!schedule(self, &job)) break; /* tried again in the next call */
    self->done = next;
  }
}

static void write_messages(Plugin* self) {
  LV2_Atom_Forge* forge = &self->forge;
  lv2_atom_forge_set_buffer(forge, (uint8_t*)self->notify, self->notify->atom.size);
  LV2_Atom_Forge_Frame sequence;
  if (!lv2_atom_forge_sequence_head(forge, &sequence, 0)) return;
  if (self->announces) {
    const char* path = self->playing->path;
    LV2_Atom_Forge_Frame object;
    lv2_atom_forge_frame_time(forge, 0);
    lv2_atom_forge_object(forge, &object, 0, self->uris.patch_Set);
    lv2_atom_forge_key(forge, self->uris.patch_property);
    lv2_atom_forge_urid(forge, self->uris.model);
    lv2_atom_forge_key(forge, self->uris.patch_value);
    lv2_atom_forge_path(forge, path, (uint32_t)strlen(path));
    lv2_atom_forge_pop(forge, &object);
    self->announces = false;
  }
  lv2_atom_forge_pop(forge, &sequence);
}

static void process(Plugin* self, uint32_t frames) {
  for (uint32_t at = 0; at < frames;) {
    const uint32_t left = frames - at, most = (uint32_t)self->options.max_frames;
    const uint32_t count = left < most ? left : most;
    const float* in[MAX_CHANNELS];
    float* out[MAX_CHANNELS];
    for (int c = 0; c < self->channels; ++c) {
      in[c] = self->audio[c] + at;
      out[c] = self->audio[self->channels + c] + at;
    }
    sl_pipe_process(self->playing->pipe, in, out, count, NULL);
    at += count;
  }
}

static void run(LV2_Handle instance, uint32_t frames) {
  Plugin* self = instance;
  read_messages(self);
  change_effects(self);
  const float mix = *self->mix;
  sl_pipe_set_dry(self->playing->pipe, mix < 0 ? 1 : mix > 1 ? 0 : 1 - mix, NULL);
  process(self, frames);
  *self->latency = (float)sl_pipe_latency(self->playing->pipe);
  write_messages(self);
}

static LV2_Worker_Status work(LV2_Handle instance, LV2_Worker_Respond_Function respond,
                              LV2_Worker_Respond_Handle handle, uint32_t size, const void* data) {
  (void)size;
  Plugin* self = instance;
  const Job* job = data;
  if (job->free) {
    effect_free(job->free);
    return LV2_WORKER_SUCCESS;
  }
  Effect* effect = effect_open(self, job->path);
  if (!effect) return LV2_WORKER_ERR_UNKNOWN;
  if (respond(handle, sizeof(effect), &effect) != LV2_WORKER_SUCCESS) {
    effect_free(effect);
    return LV2_WORKER_ERR_NO_SPACE;
  }
  remember(self, job->path);
  return LV2_WORKER_SUCCESS;
}

static LV2_Worker_Status work_response(LV2_Handle instance, uint32_t size, const void* data) {
  Plugin* self = instance;
  Effect* effect;
  if (size != sizeof(effect)) return LV2_WORKER_ERR_UNKNOWN;
  memcpy(&effect, data, sizeof(effect));
  if (self->coming) { /* nobody will hear it */
    self->coming->next = self->done;
    self->done = self->coming;
  }
  self->coming = effect;
  return LV2_WORKER_SUCCESS;
}

/* What the host has for paths in its states; either may be null. */
typedef struct {
  LV2_State_Map_Path* map;
  LV2_State_Free_Path* free;
} Paths;

static Paths paths_of(const LV2_Feature* const* features) {
  Paths paths = {NULL, NULL};
  lv2_features_query(features, LV2_STATE__mapPath, &paths.map, false, LV2_STATE__freePath,
                     &paths.free, false, NULL);
  return paths;
}

static void free_path(const Paths* paths, char* path) {
  if (paths->free) {
    paths->free->free_path(paths->free->handle, path);
  } else {
    free(path);
  }
}

static LV2_State_Status save(LV2_Handle instance, LV2_State_Store_Function store,
                             LV2_State_Handle handle, uint32_t flags,
                             const LV2_Feature* const* features) {
  (void)flags;
  Plugin* self = instance;
  const Paths paths = paths_of(features);
  if (!paths.map) return LV2_STATE_ERR_NO_FEATURE;
  pthread_mutex_lock(&self->mutex);
  char* abstract = self->path ? paths.map->abstract_path(paths.map->handle, self->path) : NULL;
  pthread_mutex_unlock(&self->mutex);
  if (!abstract) return LV2_STATE_SUCCESS;
  const LV2_State_Status status =
      store(handle, self->uris.model, abstract, strlen(abstract) + 1, self->uris.atom_Path,
            LV2_STATE_IS_POD | LV2_STATE_IS_PORTABLE);
  free_path(&paths, abstract);
  return status;
}

/* The host does not call it while run() may be, so that the model is there from the first frame. */
static LV2_State_Status restore(LV2_Handle instance, LV2_State_Retrieve_Function retrieve,
                                LV2_State_Handle handle, uint32_t flags,
                                const LV2_Feature* const* features) {
  (void)flags;
  Plugin* self = instance;
  const Paths paths = paths_of(features);
  size_t size = 0;
  uint32_t type = 0, value_flags = 0;
  const char* value = retrieve(handle, self->uris.model, &size, &type, &value_flags);
  if (!value || type != self->uris.atom_Path) return LV2_STATE_SUCCESS;
  if (!paths.map) return LV2_STATE_ERR_NO_FEATURE;
  char* path = paths.map->absolute_path(paths.map->handle, value);
  Effect* effect = path ? effect_open(self, path) : NULL;
  if (effect) {
    remember(self, path);
    sl_pipe_reset(self->playing->pipe, NULL); /* ends a fade */
    effect_free(self->playing);
    effect_free(self->coming);
    effect_free(self->leaving);
    self->coming = self->leaving = NULL;
    self->playing = effect;
    self->announces = true;
  }
  free_path(&paths, path);
  return effect ? LV2_STATE_SUCCESS : LV2_STATE_ERR_UNKNOWN;
}

static const void* extension_data(const char* uri) {
  static const LV2_Worker_Interface kWorker = {work, work_response, NULL};
  static const LV2_State_Interface kState = {save, restore};
  if (strcmp(uri, LV2_WORKER__interface) == 0) return &kWorker;
  if (strcmp(uri, LV2_STATE__interface) == 0) return &kState;
  return NULL;
}

LV2_SYMBOL_EXPORT const LV2_Descriptor* lv2_descriptor(uint32_t index) {
  static const LV2_Descriptor kPlugins[] = {
      {MONO_URI, instantiate, connect_port, activate, run, NULL, cleanup, extension_data},
      {STEREO_URI, instantiate, connect_port, activate, run, NULL, cleanup, extension_data},
  };
  return index < sizeof(kPlugins) / sizeof(kPlugins[0]) ? &kPlugins[index] : NULL;
}
