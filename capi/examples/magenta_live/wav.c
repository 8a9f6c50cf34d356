#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sound.h"

struct live_wav {
  FILE* file;
  uint32_t channels, sample_rate, bytes;
};

enum { HEADER_BYTES = 44 };

static void put(uint8_t* out, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out[i] = (uint8_t)(value >> (8 * i));
}

static int write_header(live_wav* wav) {
  uint8_t header[HEADER_BYTES];
  memcpy(header, "RIFF....WAVEfmt ", 16);
  put(header + 4, HEADER_BYTES - 8 + wav->bytes, 4);
  put(header + 16, 16, 4); /* bytes of the format */
  put(header + 20, 1, 2);  /* integers */
  put(header + 22, wav->channels, 2);
  put(header + 24, wav->sample_rate, 4);
  put(header + 28, wav->sample_rate * wav->channels * 2, 4);
  put(header + 32, wav->channels * 2, 2);
  put(header + 34, 16, 2); /* bits */
  memcpy(header + 36, "data", 4);
  put(header + 40, wav->bytes, 4);
  return fwrite(header, sizeof(header), 1, wav->file) == 1 ? 0 : -1;
}

live_wav* live_wav_open(const char* path, int64_t channels, double sample_rate) {
  live_wav* wav = calloc(1, sizeof(live_wav));
  if (!wav) return NULL;
  wav->channels = (uint32_t)channels;
  wav->sample_rate = (uint32_t)sample_rate;
  wav->file = fopen(path, "wb");
  if (wav->file && write_header(wav) == 0) return wav;
  if (wav->file) fclose(wav->file);
  free(wav);
  return NULL;
}

int live_wav_write(live_wav* wav, const float* samples, int64_t frames) {
  for (int64_t i = 0; i < frames * wav->channels; ++i) {
    uint8_t bytes[2];
    const long value = lrintf(fmaxf(-1.0f, fminf(1.0f, samples[i])) * 32767.0f);
    put(bytes, (uint32_t)value, 2);
    if (fwrite(bytes, sizeof(bytes), 1, wav->file) != 1) return -1;
    wav->bytes += sizeof(bytes);
  }
  return 0;
}

int live_wav_close(live_wav* wav) {
  if (!wav) return 0;
  int result = fseek(wav->file, 0, SEEK_SET) == 0 ? write_header(wav) : -1;
  if (fclose(wav->file) != 0) result = -1;
  free(wav);
  return result;
}
