#define _DEFAULT_SOURCE
/* What the machine can do at most: fused multiply-adds of each core, and reading memory. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#if defined(__AVX512F__)
#define WIDTH 16
#elif defined(__AVX__)
#define WIDTH 8
#else
#define WIDTH 4
#endif
#define CHAINS 12
typedef float vec __attribute__((vector_size(4 * WIDTH)));

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Floating-point operations a second of one core, in chains of multiply-adds that hide each other's
 * latency. */
double fma_rate(int64_t rounds) {
  /* Without loops over lanes, and read only after the last round, so that all stay in registers. */
  const vec factor = (vec){0} + 0.999f, term = (vec){0} + 0.001f;
  /* Chains that begin alike would be one to the compiler. */
  vec sums[CHAINS];
  for (int c = 0; c < CHAINS; ++c) sums[c] = (vec){0} + (float)c;
  double start = now();
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int c = 0; c < CHAINS; ++c) sums[c] = sums[c] * factor + term;
  }
  vec total = sums[0];
#pragma GCC unroll 12
  for (int c = 1; c < CHAINS; ++c) total += sums[c];
  static volatile float used;
  used = total[0];
  double seconds = now() - start;
  return 2.0 * WIDTH * CHAINS * (double)rounds / seconds;
}

typedef struct {
  const vec* data;
  size_t count;
  int64_t passes;
  float sum;
} part;

/* Four parts in turns, each prefetched into L2: reading them one after the other, or into L1, is
 * slower. */
#define STREAMS 4
#define LINE (64 / sizeof(vec))
#define AHEAD (32 * LINE)

static void* read_part(void* argument) {
  part* p = argument;
  vec sums[STREAMS] = {{0}};
  size_t stream = p->count / STREAMS / LINE * LINE;
  for (size_t i = 0; i < stream; i += LINE) {
#pragma GCC unroll 4
    for (size_t s = 0; s < STREAMS; ++s) {
      const vec* line = p->data + s * stream + i;
      __builtin_prefetch(line + AHEAD, 0, 2);
#pragma GCC unroll 4
      for (size_t k = 0; k < LINE; ++k) sums[s] += line[k];
    }
  }
  for (int s = 0; s < STREAMS; ++s) p->sum += sums[s][0];
  return NULL;
}

/* Blocks of as many streams of a page, again and again and each time from the other end, so that
 * the caches still have what was read last: as steps of a recurrence read their weights. Caches are
 * faster without prefetching. */
#define PAGE (4096 / sizeof(vec))
#define BLOCK (STREAMS * PAGE)

static void* read_part_in_turns(void* argument) {
  part* p = argument;
  vec sums[STREAMS] = {{0}};
  size_t blocks = p->count / BLOCK;
  for (int64_t pass = 0; pass < p->passes; ++pass) {
    for (size_t b = 0; b < blocks; ++b) {
      const vec* block = p->data + (pass % 2 ? blocks - 1 - b : b) * BLOCK;
      for (size_t i = 0; i < PAGE; i += LINE) {
#pragma GCC unroll 4
        for (size_t s = 0; s < STREAMS; ++s) {
#pragma GCC unroll 4
          for (size_t k = 0; k < LINE; ++k) sums[s] += block[s * PAGE + i + k];
        }
      }
    }
  }
  for (int s = 0; s < STREAMS; ++s) p->sum += sums[s][0];
  return NULL;
}

/* Memory of `bytes` bytes, touched; null if there is none. */
void* memory_make(size_t bytes) {
  void* memory = NULL;
  if (posix_memalign(&memory, 2 << 20, bytes)) return NULL;
  madvise(memory, bytes, MADV_HUGEPAGE);
  memset(memory, 1, bytes);
  return memory;
}

void memory_free(void* memory) { free(memory); }

/* Bytes a second at which `threads` threads (at most 64) read their parts of that memory. */
static double rate(void* (*read)(void*), const void* memory, size_t bytes, int threads,
                   int64_t passes) {
  part parts[64];
  pthread_t ids[64];
  size_t count = bytes / sizeof(vec) / (size_t)threads;
  double start = now();
  for (int t = 0; t < threads; ++t) {
    parts[t] = (part){(const vec*)memory + count * (size_t)t, count, passes, 0};
    if (t) pthread_create(&ids[t], NULL, read, &parts[t]);
  }
  read(&parts[0]);
  for (int t = 1; t < threads; ++t) pthread_join(ids[t], NULL);
  return (double)bytes * (double)passes / (now() - start);
}

/* Each thread reads its part once. */
double read_rate(const void* memory, size_t bytes, int threads) {
  return rate(read_part, memory, bytes, threads, 1);
}

/* Each thread reads the whole blocks of its part `passes` times. */
double read_rate_in_turns(const void* memory, size_t bytes, int threads, int64_t passes) {
  size_t whole = (size_t)threads * BLOCK * sizeof(vec);
  return rate(read_part_in_turns, memory, bytes / whole * whole, threads, passes);
}
