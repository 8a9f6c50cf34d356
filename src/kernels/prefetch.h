// Prefetching weights and rows that are read once.
#pragma once

namespace sl::kernels {

// Prefetches a cache line into the L2 cache. Into L1, prefetches take the places of reads that wait
// for memory: on a Zen 4, products of one row with weights in memory took 1.1 to 1.3 times as long
// in float32, 1.6 in bfloat16 and 1.5 to 1.8 in int8.
inline void prefetch_into_l2(const void* at) { __builtin_prefetch(at, 0, 2); }

}  // namespace sl::kernels
