// Functions that library.py calls before it uses a library: its digest, the processor's level, and torch's threads.
//
// The level is read from CPUID (available instructions) and XCR0 (registers that the system saves), because
// __builtin_cpu_supports always says no when zig compiles. AVX-512 means Ice Lake, Zen 4 or newer.
#include <cstdint>
#include <cstdlib>

#include "threads.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace {

enum Level { PORTABLE, AVX2, AVX512 };  // as LEVELS of backend.py

#if defined(__x86_64__)
template <class... Bits> bool has(unsigned word, Bits... bits) { return ((word >> bits & 1) && ...); }

Level processor_level() {
    unsigned a, b, c, d, saved, high;
    __cpuid_count(0, 0, a, b, c, d);
    if (a < 7) return PORTABLE;
    __cpuid_count(1, 0, a, b, c, d);
    if (!has(c, 23, 27)) return PORTABLE;  // POPCNT, XGETBV
    asm volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    __cpuid_count(7, 0, a, b, c, d);
    if (!has(saved, 1, 2) || !has(b, 5, 8)) return PORTABLE;  // AVX2, BMI2
    // F, DQ, BW, VL; VBMI, VNNI, BITALG, VPOPCNTDQ
    if (!has(saved, 5, 6, 7) || !has(b, 16, 17, 30, 31) || !has(c, 1, 11, 12, 14)) return AVX2;
    return AVX512;
}
#else
Level processor_level() { return PORTABLE; }
#endif

}  // namespace

// Digest of everything the library is built from (backend.py); library.py looks for it in the file before it loads it.
ASIM_EXPORT const char* asim_digest() { return ASIM_DIGEST; }

// Number, among backend.py's LEVELS, of the best level that this processor runs; asked of the portable library.
ASIM_EXPORT int32_t asim_processor_level() { return processor_level(); }

// Take GOMP_parallel of torch's OpenMP, or null; parallel_for uses it.
ASIM_EXPORT void asim_set_threads_entry(void* gomp_parallel) {
    asim::parallel_entry.store(reinterpret_cast<asim::ParallelEntry>(gomp_parallel));
}
