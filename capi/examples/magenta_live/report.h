/* Times of frames, and what they come to. */
#ifndef MAGENTA_LIVE_REPORT_H_
#define MAGENTA_LIVE_REPORT_H_

#include <stdint.h>
#include <stdio.h>

#include "engine.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct live_report {
  live_times* frames;
  int64_t count;
  int64_t capacity;
} live_report;

/* Makes room for that many frames. Returns 0, or -1 without memory. The caller frees the report. */
int live_report_create(live_report* report, int64_t capacity);

/* Adds a frame; those past the capacity are left out. */
void live_report_add(live_report* report, const live_times* times);

/* The value, sorted, that `share` of the frames do not exceed, for a field at that offset of
 * live_times, in seconds; 0 without frames. */
double live_report_percentile(const live_report* report, size_t offset, double share);

/* How many frames took longer than that. */
int64_t live_report_misses(const live_report* report, double seconds);

/* Writes the mean and percentiles of each part, in milliseconds. */
void live_report_print(const live_report* report, FILE* out);

/* Writes a line of comma separated values a frame, in milliseconds. Returns 0, or -1 if the file
 * cannot be written. */
int live_report_save(const live_report* report, const char* path);

void live_report_free(live_report* report);

#ifdef __cplusplus
}
#endif

#endif /* MAGENTA_LIVE_REPORT_H_ */
