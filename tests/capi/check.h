/* Minimal assertions for tests in plain C. */
#ifndef SEQUENCE_LAYERS_TESTS_CAPI_CHECK_H_
#define SEQUENCE_LAYERS_TESTS_CAPI_CHECK_H_

#include <stdio.h>
#include <string.h>

static int failures = 0;

/* Reports a failure and continues, so that one run shows all failures. */
#define CHECK(condition)                                                      \
  do {                                                                        \
    if (!(condition)) {                                                       \
      fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                             \
    }                                                                         \
  } while (0)

/* Checks that a call succeeds, and prints its error if it does not. */
#define CHECK_OK(call)                                                              \
  do {                                                                              \
    if ((call) != SL_STATUS_OK) {                                                   \
      fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, error.message); \
      ++failures;                                                                   \
    }                                                                               \
  } while (0)

static int report(const char* name) {
  if (failures == 0) printf("%s: all checks passed\n", name);
  return failures == 0 ? 0 : 1;
}

#endif /* SEQUENCE_LAYERS_TESTS_CAPI_CHECK_H_ */
