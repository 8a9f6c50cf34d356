/* A plain loop over channels, steps and diagonal complex states, which the compiler makes SIMD code
 * of. */
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#define STATES 32
#define MOST_THREADS 64

typedef struct {
  const float *a, *c, *d, *u;
  float* y;
  int64_t time, channels, from, to;
} part;

/* a and c: [channels][real, imaginary][STATES]; u and y: [time][channels]. */
static void* run_part(void* argument) {
  const part* p = argument;
  for (int64_t k = p->from; k < p->to; ++k) {
    float real[STATES], imaginary[STATES];
    memset(real, 0, sizeof(real));
    memset(imaginary, 0, sizeof(imaginary));
    const float *a = p->a + 2 * STATES * k, *c = p->c + 2 * STATES * k;
    for (int64_t t = 0; t < p->time; ++t) {
      float u = p->u[t * p->channels + k], sum = 0;
      for (int n = 0; n < STATES; ++n) {
        float next = a[n] * real[n] - a[STATES + n] * imaginary[n] + u;
        imaginary[n] = a[n] * imaginary[n] + a[STATES + n] * real[n];
        real[n] = next;
        sum += c[n] * real[n] - c[STATES + n] * imaginary[n];
      }
      p->y[t * p->channels + k] = sum + p->d[k] * u;
    }
  }
  return NULL;
}

void diagonal_run(const float* a, const float* c, const float* d, const float* u, float* y,
                  int64_t time, int64_t channels, int64_t threads) {
  part parts[MOST_THREADS];
  pthread_t ids[MOST_THREADS];
  for (int64_t i = 0; i < threads; ++i) {
    parts[i] =
        (part){a, c, d, u, y, time, channels, channels * i / threads, channels * (i + 1) / threads};
    if (i) pthread_create(&ids[i], NULL, run_part, &parts[i]);
  }
  run_part(&parts[0]);
  for (int64_t i = 1; i < threads; ++i) pthread_join(ids[i], NULL);
}
