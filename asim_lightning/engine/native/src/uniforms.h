// Uniform numbers in float64 from two random words each, and logarithms, each operation rounded once: engine/rare/stream
// defines both.
#pragma once
#include "lanes.h"

constexpr int WIDE = LANES / 2;          // lanes of 64 bits
typedef double f64v __attribute__((vector_size(8 * WIDE)));
typedef int64_t i64v __attribute__((vector_size(8 * WIDE)));
typedef int32_t half_i32v __attribute__((vector_size(4 * WIDE)));   // half as many words as a vector holds
typedef float half_f32v __attribute__((vector_size(4 * WIDE)));
typedef uint32_t half_u32v __attribute__((vector_size(4 * WIDE)));

INLINE f64v all(double x) { return f64v{} + x; }

// WIDE uniforms inside (0, 1) of words at two addresses.
INLINE f64v uniform(const uint32_t* high, const uint32_t* low) {
    const auto real = [](half_u32v words) INLINE_LAMBDA { return __builtin_convertvector((half_i32v)(words >> 6), f64v); };
    return (real(load<half_u32v>(high)) * 67108864.0 + real(load<half_u32v>(low)) + 0.5) * 0x1p-52;
}

INLINE f64v logarithm(f64v u) {
    // the exponent plus 1024, so that no shift needs a sign
    const u64v bits = (u64v)u, above = (bits - 0x3FE6A09E667F3BCDu + (uint64_t(1024) << 52)) >> 52;
    const f64v mantissa = (f64v)(bits - ((above << 52) - (uint64_t(1024) << 52)));
    const f64v s = (mantissa - 1.0) / (mantissa + 1.0), square = s * s;
    f64v value = square * (2.0 / 23) + 2.0 / 21;
#pragma GCC unroll 16
    for (int k = 19; k > 0; k -= 2) value = value * square + 2.0 / k;
    // as the last bits of 2^52: exact, and one instruction everywhere
    const f64v exponent = (f64v)(above | 0x4330000000000000u) - (0x1p52 + 1024.0);
    return value * s + exponent * 0.6931471805599453;
}

INLINE f64v square_root(f64v v) {
#if defined(__AVX512F__)
    return (f64v)_mm512_sqrt_pd((__m512d)v);
#elif defined(__AVX2__)
    return (f64v)_mm256_sqrt_pd((__m256d)v);
#elif defined(__x86_64__)
    return (f64v)_mm_sqrt_pd((__m128d)v);
#else
    for (int i = 0; i < WIDE; ++i) v[i] = __builtin_sqrt(v[i]);
    return v;
#endif
}
