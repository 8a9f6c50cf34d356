#include <stdio.h>
#include <stdlib.h>

#include "sound.h"

#ifdef LIVE_HAS_ALSA

#include <alsa/asoundlib.h>

struct live_player {
  snd_pcm_t* device;
  int64_t channels;
};

live_player* live_player_open(const char* device, int64_t channels, double sample_rate,
                              double seconds, char* message, size_t size) {
  live_player* player = calloc(1, sizeof(live_player));
  if (!player) return NULL;
  player->channels = channels;
  int status = snd_pcm_open(&player->device, device, SND_PCM_STREAM_PLAYBACK, 0);
  if (status == 0) {
    status = snd_pcm_set_params(player->device, SND_PCM_FORMAT_FLOAT, SND_PCM_ACCESS_RW_INTERLEAVED,
                                (unsigned)channels, (unsigned)sample_rate, /*soft_resample=*/1,
                                (unsigned)(1e6 * seconds));
    if (status == 0) return player;
    snd_pcm_close(player->device);
  }
  snprintf(message, size, "%s: %s", device, snd_strerror(status));
  free(player);
  return NULL;
}

int live_player_write(live_player* player, const float* samples, int64_t frames) {
  int underruns = 0;
  while (frames > 0) {
    snd_pcm_sframes_t written = snd_pcm_writei(player->device, samples, (snd_pcm_uframes_t)frames);
    if (written < 0) {
      underruns += written == -EPIPE;
      if (snd_pcm_recover(player->device, (int)written, /*silent=*/1) < 0) return -1;
      continue;
    }
    samples += written * player->channels;
    frames -= written;
  }
  return underruns;
}

void live_player_close(live_player* player) {
  if (!player) return;
  snd_pcm_drain(player->device);
  snd_pcm_close(player->device);
  free(player);
}

#else

live_player* live_player_open(const char* device, int64_t channels, double sample_rate,
                              double seconds, char* message, size_t size) {
  (void)channels;
  (void)sample_rate;
  (void)seconds;
  snprintf(message, size, "%s: built without ALSA (libasound2-dev)", device);
  return NULL;
}

int live_player_write(live_player* player, const float* samples, int64_t frames) {
  (void)player;
  (void)samples;
  (void)frames;
  return -1;
}

void live_player_close(live_player* player) { (void)player; }

#endif
