// Uniform numbers in float64 from two random words, and their logarithm, each operation rounded once: engine/events/stream
// defines both.
#pragma once
#include <cstring>
#include "lanes.h"

INLINE double uniform(uint32_t high, uint32_t low) {
    return (double(int32_t(high >> 6)) * 67108864.0 + double(int32_t(low >> 6)) + 0.5) * 0x1p-52;
}

INLINE double logarithm(double u) {
    uint64_t bits;
    std::memcpy(&bits, &u, sizeof bits);
    // the exponent plus 1024, so that no shift needs a sign
    const uint64_t above = (bits - 0x3FE6A09E667F3BCDu + (uint64_t(1024) << 52)) >> 52;
    bits -= (above << 52) - (uint64_t(1024) << 52);
    double mantissa;
    std::memcpy(&mantissa, &bits, sizeof mantissa);
    const double s = (mantissa - 1.0) / (mantissa + 1.0), square = s * s;
    double value = square * (2.0 / 23) + 2.0 / 21;
#pragma GCC unroll 16
    for (int k = 19; k > 0; k -= 2) value = value * square + 2.0 / k;
    return value * s + double(int32_t(above) - 1024) * 0.6931471805599453;
}
