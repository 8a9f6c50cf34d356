/* The least that a test in plain C needs. */
#ifndef SEQUENCE_LAYERS_TESTS_CAPI_CHECK_H_
#define SEQUENCE_LAYERS_TESTS_CAPI_CHECK_H_

#include <stdio.h>
#include <string.h>

static int failures = 0;

/* Reports and goes on, so that one run shows all that is wrong. */
#define CHECK(condition)                                                      \
  do {                                                                        \
    if (!(condition)) {                                                       \
      fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                             \
    }                                                                         \
  } while (0)

/* A call that must succeed; tells what it says if it does not. */
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
