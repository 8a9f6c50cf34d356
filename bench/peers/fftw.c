/* Log-mel features by FFTW's plan for one frame, with the window, the magnitudes and sparse filters
 * around it. */
#include <complex.h>
#include <fftw3.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MOST_THREADS 64

typedef struct {
  int64_t length, step, size, bins; /* of the frame, between frames, of the transform, mel bands */
  const float* window;              /* [length] */
  const int32_t* starts;            /* [bins + 1] index of each band's first weight */
  const int32_t* first;             /* [bins] its first bin of the transform */
  const float* weights;
  float floor;
  int32_t threads;
  fftwf_plan plan;
  float* in[MOST_THREADS];
  fftwf_complex* out[MOST_THREADS];
} features;

typedef struct {
  const features* f;
  const float* samples; /* padded, so that frame t begins at t * step */
  float* result;        /* [frames, bins] */
  int64_t from, to;
  int32_t index;
} part;

int32_t features_plan(features* f) {
  for (int32_t t = 0; t < f->threads; ++t) {
    f->in[t] = fftwf_alloc_real((size_t)f->size);
    f->out[t] = fftwf_alloc_complex((size_t)f->size / 2 + 1);
    if (!f->in[t] || !f->out[t]) return -1;
    memset(f->in[t], 0, sizeof(float) * (size_t)f->size);
  }
  f->plan = fftwf_plan_dft_r2c_1d((int)f->size, f->in[0], f->out[0], FFTW_PATIENT);
  memset(f->in[0], 0, sizeof(float) * (size_t)f->size);
  return f->plan ? 0 : -1;
}

static void* run_part(void* argument) {
  const part* p = argument;
  const features* f = p->f;
  float* in = f->in[p->index];
  const float* out = (const float*)f->out[p->index];
  int64_t before = (f->size - f->length) / 2, count = f->size / 2 + 1;
  float magnitudes[count];
  for (int64_t t = p->from; t < p->to; ++t) {
    const float* frame = p->samples + t * f->step;
    for (int64_t i = 0; i < f->length; ++i) in[before + i] = frame[i] * f->window[i];
    fftwf_execute_dft_r2c(f->plan, in, f->out[p->index]);
    for (int64_t i = 0; i < count; ++i)
      magnitudes[i] = sqrtf(out[2 * i] * out[2 * i] + out[2 * i + 1] * out[2 * i + 1]);
    float* y = p->result + t * f->bins;
    for (int64_t b = 0; b < f->bins; ++b) {
      const float* weights = f->weights + f->starts[b];
      const float* bins = magnitudes + f->first[b];
      float sum = f->floor;
      for (int32_t i = 0; i < f->starts[b + 1] - f->starts[b]; ++i) sum += weights[i] * bins[i];
      y[b] = sum;
    }
    for (int64_t b = 0; b < f->bins; ++b) y[b] = logf(y[b]);
  }
  return NULL;
}

void features_run(const features* f, const float* samples, int64_t frames, float* result) {
  part parts[MOST_THREADS];
  pthread_t ids[MOST_THREADS];
  for (int32_t t = 0; t < f->threads; ++t) {
    parts[t] =
        (part){f, samples, result, frames * t / f->threads, frames * (t + 1) / f->threads, t};
    if (t) pthread_create(&ids[t], NULL, run_part, &parts[t]);
  }
  run_part(&parts[0]);
  for (int32_t t = 1; t < f->threads; ++t) pthread_join(ids[t], NULL);
}
