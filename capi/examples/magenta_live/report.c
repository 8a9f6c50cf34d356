#include "report.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

typedef struct part {
  const char* name;
  size_t offset;
} part;

static const part kParts[] = {
    {"conditioning", offsetof(live_times, conditioning)},
    {"temporal", offsetof(live_times, temporal)},
    {"depth", offsetof(live_times, depth)},
    {"codec", offsetof(live_times, codec)},
    {"frame", offsetof(live_times, total)},
};
enum { PARTS = sizeof(kParts) / sizeof(kParts[0]) };

static double value_at(const live_times* times, size_t offset) {
  return *(const double*)((const char*)times + offset);
}

int live_report_create(live_report* report, int64_t capacity) {
  report->count = 0;
  report->capacity = capacity;
  report->frames = calloc((size_t)capacity, sizeof(live_times));
  return report->frames ? 0 : -1;
}

void live_report_add(live_report* report, const live_times* times) {
  if (report->count < report->capacity) report->frames[report->count++] = *times;
}

static int compare(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

double live_report_percentile(const live_report* report, size_t offset, double share) {
  const int64_t count = report->count;
  double* sorted = count > 0 ? malloc((size_t)count * sizeof(double)) : NULL;
  if (!sorted) return 0;
  for (int64_t i = 0; i < count; ++i) sorted[i] = value_at(&report->frames[i], offset);
  qsort(sorted, (size_t)count, sizeof(double), compare);
  const int64_t index = (int64_t)ceil(share * (double)count) - 1;
  const double value = sorted[index < 0 ? 0 : index];
  free(sorted);
  return value;
}

int64_t live_report_misses(const live_report* report, double seconds) {
  int64_t misses = 0;
  for (int64_t i = 0; i < report->count; ++i) misses += report->frames[i].total > seconds;
  return misses;
}

void live_report_print(const live_report* report, FILE* out) {
  static const double kShares[] = {0.5, 0.99, 0.999, 1};
  fprintf(out, "%-14s%9s%9s%9s%9s%9s\n", "milliseconds", "mean", "median", "p99", "p99.9", "worst");
  for (size_t i = 0; i < PARTS; ++i) {
    double sum = 0;
    for (int64_t k = 0; k < report->count; ++k)
      sum += value_at(&report->frames[k], kParts[i].offset);
    fprintf(out, "%-14s%9.2f", kParts[i].name,
            report->count > 0 ? 1e3 * sum / (double)report->count : 0);
    for (size_t k = 0; k < sizeof(kShares) / sizeof(kShares[0]); ++k)
      fprintf(out, "%9.2f", 1e3 * live_report_percentile(report, kParts[i].offset, kShares[k]));
    fprintf(out, "\n");
  }
}

int live_report_save(const live_report* report, const char* path) {
  FILE* file = fopen(path, "w");
  if (!file) return -1;
  for (size_t i = 0; i < PARTS; ++i) fprintf(file, "%s%s", i > 0 ? "," : "", kParts[i].name);
  fprintf(file, "\n");
  for (int64_t k = 0; k < report->count; ++k) {
    for (size_t i = 0; i < PARTS; ++i) {
      fprintf(file, "%s%.4f", i > 0 ? "," : "",
              1e3 * value_at(&report->frames[k], kParts[i].offset));
    }
    fprintf(file, "\n");
  }
  return fclose(file) == 0 ? 0 : -1;
}

void live_report_free(live_report* report) {
  free(report->frames);
  report->frames = NULL;
}
