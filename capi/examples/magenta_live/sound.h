/* Where sound goes: a WAV file of 16 bits, or the sound server by ALSA's API. */
#ifndef MAGENTA_LIVE_SOUND_H_
#define MAGENTA_LIVE_SOUND_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct live_wav live_wav;

/* Begins a file; null if it cannot be written. */
live_wav* live_wav_open(const char* path, int64_t channels, double sample_rate);

/* Appends interleaved samples, clipped to -1 to 1. Returns 0, or -1 if they cannot be written. */
int live_wav_write(live_wav* wav, const float* samples, int64_t frames);

/* Completes the file. Returns 0, or -1 if that cannot be written; null is allowed. */
int live_wav_close(live_wav* wav);

typedef struct live_player live_player;

/* Opens a device, such as "default"; null, with the reason in `message`, if it cannot play, as
 * where the program was built without ALSA. It holds `seconds` of sound, which are silent at first.
 */
live_player* live_player_open(const char* device, int64_t channels, double sample_rate,
                              double seconds, char* message, size_t size);

/* Plays samples after those before; waits while there is no room for them. Returns how many times
 * there were none left to play, or -1 after an error. */
int live_player_write(live_player* player, const float* samples, int64_t frames);

/* Plays what is left; null is allowed. */
void live_player_close(live_player* player);

#ifdef __cplusplus
}
#endif

#endif /* MAGENTA_LIVE_SOUND_H_ */
