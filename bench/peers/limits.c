/* What the machine can do at most: fused multiply-adds of each core, and reading memory. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
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
  vec sums[CHAINS];
  memset(sums, 0, sizeof(sums));
  vec factor = {0}, term = {0};
  for (int i = 0; i < WIDTH; ++i) {
    factor[i] = 0.999f;
    term[i] = 0.001f;
  }
  double start = now();
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int c = 0; c < CHAINS; ++c) sums[c] = sums[c] * factor + term;
    __asm__ volatile(""
                     : "+v"(sums[0]), "+v"(sums[1]), "+v"(sums[2]), "+v"(sums[3]), "+v"(sums[4]),
                       "+v"(sums[5]));
    __asm__ volatile(""
                     : "+v"(sums[6]), "+v"(sums[7]), "+v"(sums[8]), "+v"(sums[9]), "+v"(sums[10]),
                       "+v"(sums[11]));
  }
  double seconds = now() - start;
  return 2.0 * WIDTH * CHAINS * (double)rounds / seconds;
}

typedef struct {
  const vec* data;
  size_t count;
  float sum;
} part;

static void* read_part(void* argument) {
  part* p = argument;
  vec sums[8];
  memset(sums, 0, sizeof(sums));
  for (size_t i = 0; i + 8 <= p->count; i += 8) {
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) sums[k] += p->data[i + (size_t)k];
  }
  for (int k = 0; k < 8; ++k) p->sum += sums[k][0];
  return NULL;
}

/* Memory of `bytes` bytes, touched; null if there is none. */
void* memory_make(size_t bytes) {
  void* memory = NULL;
  if (posix_memalign(&memory, 2 << 20, bytes)) return NULL;
  memset(memory, 1, bytes);
  return memory;
}

void memory_free(void* memory) { free(memory); }

/* Bytes a second at which `threads` threads (at most 64) read that memory once. */
double read_rate(const void* memory, size_t bytes, int threads) {
  part parts[64];
  pthread_t ids[64];
  size_t count = bytes / sizeof(vec) / (size_t)threads;
  double start = now();
  for (int t = 0; t < threads; ++t) {
    parts[t] = (part){(const vec*)memory + count * (size_t)t, count, 0};
    if (t) pthread_create(&ids[t], NULL, read_part, &parts[t]);
  }
  read_part(&parts[0]);
  for (int t = 1; t < threads; ++t) pthread_join(ids[t], NULL);
  return (double)bytes / (now() - start);
}
