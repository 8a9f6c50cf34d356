/* Log-mel features by FFTW's plan for one frame, with the window, the magnitudes and sparse filters
 * around it. */
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

#define LANES 16

typedef struct {
  int64_t time, size, channels;
  const float* spectra; /* [channels][size / 2 + 1] complex, divided by size */
  int32_t threads;
  fftwf_plan forward, backward; /* of LANES sequences, one behind another */
  float* real[MOST_THREADS];
  fftwf_complex* spectrum[MOST_THREADS];
} convolution;

int32_t convolution_plan(convolution* f) {
  int n = (int)f->size, bins = n / 2 + 1;
  for (int32_t t = 0; t < f->threads; ++t) {
    f->real[t] = fftwf_alloc_real((size_t)(LANES * n));
    f->spectrum[t] = fftwf_alloc_complex((size_t)(LANES * bins));
    if (!f->real[t] || !f->spectrum[t]) return -1;
  }
  f->forward = fftwf_plan_many_dft_r2c(1, &n, LANES, f->real[0], NULL, 1, n, f->spectrum[0], NULL,
                                       1, bins, FFTW_MEASURE);
  f->backward = fftwf_plan_many_dft_c2r(1, &n, LANES, f->spectrum[0], NULL, 1, bins, f->real[0],
                                        NULL, 1, n, FFTW_MEASURE);
  return f->forward && f->backward ? 0 : -1;
}

typedef struct {
  const convolution* f;
  const float* u;
  float* y;
  int64_t from, to;
  int32_t index;
} lanes;

static void* run_lanes(void* argument) {
  const lanes* p = argument;
  const convolution* f = p->f;
  float* real = f->real[p->index];
  float* z = (float*)f->spectrum[p->index];
  int64_t bins = f->size / 2 + 1;
  for (int64_t k = p->from; k < p->to; k += LANES) {
    for (int64_t t = 0; t < f->time; ++t)
      for (int64_t i = 0; i < LANES; ++i) real[i * f->size + t] = p->u[t * f->channels + k + i];
    for (int64_t i = 0; i < LANES; ++i)
      memset(real + i * f->size + f->time, 0, sizeof(float) * (size_t)(f->size - f->time));
    fftwf_execute_dft_r2c(f->forward, real, f->spectrum[p->index]);
    const float* h = f->spectra + 2 * bins * k;
    for (int64_t i = 0; i < LANES * bins; ++i) {
      float a = z[2 * i], b = z[2 * i + 1];
      z[2 * i] = a * h[2 * i] - b * h[2 * i + 1];
      z[2 * i + 1] = a * h[2 * i + 1] + b * h[2 * i];
    }
    fftwf_execute_dft_c2r(f->backward, f->spectrum[p->index], real);
    for (int64_t t = 0; t < f->time; ++t)
      for (int64_t i = 0; i < LANES; ++i) p->y[t * f->channels + k + i] = real[i * f->size + t];
  }
  return NULL;
}

/* u and y: [time][channels]; the channels are a multiple of LANES for each thread. */
void convolution_run(const convolution* f, const float* u, float* y) {
  lanes parts[MOST_THREADS];
  pthread_t ids[MOST_THREADS];
  int64_t groups = f->channels / LANES;
  for (int32_t t = 0; t < f->threads; ++t) {
    int64_t from = LANES * (groups * t / f->threads), to = LANES * (groups * (t + 1) / f->threads);
    parts[t] = (lanes){f, u, y, from, to, t};
    if (t) pthread_create(&ids[t], NULL, run_lanes, &parts[t]);
  }
  run_lanes(&parts[0]);
  for (int32_t t = 1; t < f->threads; ++t) pthread_join(ids[t], NULL);
}
