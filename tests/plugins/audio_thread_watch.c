/* To be preloaded into an LV2 host that uses lilv and one plugin: counts heap calls and locks
 * within the plugin's run(), and prints them at exit with the number of calls. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <lilv/lilv.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

extern void* __libc_malloc(size_t size);
extern void* __libc_calloc(size_t count, size_t size);
extern void* __libc_realloc(void* memory, size_t size);
extern void* __libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void* memory);

static __thread int armed __attribute__((tls_model("initial-exec")));
static atomic_long made, calls;
static const LV2_Descriptor* plugin;

static void note(void) {
  if (armed) atomic_fetch_add(&made, 1);
}

void* malloc(size_t size) {
  note();
  return __libc_malloc(size);
}

void* calloc(size_t count, size_t size) {
  note();
  return __libc_calloc(count, size);
}

void* realloc(void* memory, size_t size) {
  note();
  return __libc_realloc(memory, size);
}

void* aligned_alloc(size_t alignment, size_t size) {
  note();
  return __libc_memalign(alignment, size);
}

void free(void* memory) {
  if (memory) note();
  __libc_free(memory);
}

int pthread_mutex_lock(pthread_mutex_t* mutex) {
  static int (*lock)(pthread_mutex_t*);
  if (!lock) lock = (int (*)(pthread_mutex_t*))dlsym(RTLD_NEXT, "pthread_mutex_lock");
  note();
  return lock(mutex);
}

static void run(LV2_Handle instance, uint32_t frames) {
  armed = 1;
  plugin->run(instance, frames);
  armed = 0;
  atomic_fetch_add(&calls, 1);
}

LilvInstance* lilv_plugin_instantiate(const LilvPlugin* which, double rate,
                                      const LV2_Feature* const* features) {
  LilvInstance* (*instantiate)(const LilvPlugin*, double, const LV2_Feature* const*) =
      (LilvInstance * (*)(const LilvPlugin*, double, const LV2_Feature* const*))
          dlsym(RTLD_NEXT, "lilv_plugin_instantiate");
  static LV2_Descriptor watched;
  LilvInstance* instance = instantiate(which, rate, features);
  if (!instance) return NULL;
  plugin = instance->lv2_descriptor;
  watched = *plugin;
  watched.run = run;
  instance->lv2_descriptor = &watched;
  return instance;
}

__attribute__((destructor)) static void report(void) {
  if (!plugin) return;
  fprintf(stderr, "%ld heap calls and locks in %ld calls of run\n", atomic_load(&made),
          atomic_load(&calls));
}
