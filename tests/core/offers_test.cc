// Tests how many jobs are offered to threads, depending on how many were in vain.
#include "core/offers.h"

#include <catch2/catch.hpp>

namespace sl {
namespace {

// The number of `jobs` that are offered where each one is in vain; `in_vain` counts on.
int64_t offered(Offers& offers, int64_t jobs, bool asleep, int64_t* in_vain) {
  int64_t count = 0;
  for (int64_t i = 0; i < jobs; ++i) {
    if (!offers.next(*in_vain, asleep)) continue;
    ++count;
    ++*in_vain;
  }
  return count;
}

TEST_CASE("jobs are offered all, then one in 7, then one in 49, and all again", "[offers]") {
  Offers offers;
  int64_t in_vain = 0;
  CHECK(offered(offers, 7, false, &in_vain) == 7);
  CHECK(offered(offers, 49, false, &in_vain) == 7);
  CHECK(offered(offers, 490, false, &in_vain) == 10);
  in_vain = 0;  // threads have helped
  CHECK(offered(offers, 7, false, &in_vain) == 7);
  CHECK(offered(offers, 49, false, &in_vain) == 7);
}

TEST_CASE("all jobs are offered to a thread that has just come", "[offers]") {
  Offers offers;
  int64_t in_vain = 0;
  CHECK(offered(offers, 1000, false, &in_vain) < 50);
  offers.renew(in_vain);
  CHECK(offered(offers, 7, false, &in_vain) == 7);
  CHECK(offered(offers, 49, false, &in_vain) == 7);
}

TEST_CASE("16 jobs more are offered to threads that sleep", "[offers]") {
  Offers offers;
  int64_t in_vain = 0;
  CHECK(offered(offers, 10, true, &in_vain) == 10);
  // The threads have woken up: those 10 do not count.
  CHECK(offered(offers, 7, false, &in_vain) == 7);
  CHECK(offered(offers, 49, false, &in_vain) == 7);

  Offers always_asleep;
  in_vain = 0;
  CHECK(offered(always_asleep, 23, true, &in_vain) == 23);
  CHECK(offered(always_asleep, 49, true, &in_vain) == 7);
}

}  // namespace
}  // namespace sl
