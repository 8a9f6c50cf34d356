// Catch2's own main takes long to compile: once for all tests.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
