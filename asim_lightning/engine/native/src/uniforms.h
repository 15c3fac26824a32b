// Uniform numbers in float64 from two random words each, logarithms, and normals of tails. Each operation is rounded once;
// engine/rare/stream defines them.
#pragma once
#include "lanes.h"

constexpr int WIDE = LANES / 2;          // lanes of 64 bits
typedef double f64v __attribute__((vector_size(8 * WIDE)));
typedef int64_t i64v __attribute__((vector_size(8 * WIDE)));
typedef int32_t half_i32v __attribute__((vector_size(4 * WIDE)));   // half as many words as in a vector
typedef float half_f32v __attribute__((vector_size(4 * WIDE)));
typedef uint32_t half_u32v __attribute__((vector_size(4 * WIDE)));

INLINE f64v all(double x) { return f64v{} + x; }

// WIDE uniforms inside (0, 1) from the words at two addresses.
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

template <int N> INLINE f64v ratio(f64v x, const double (&over)[N], const double (&under)[N]) {
    f64v a = all(over[N - 1]), b = all(under[N - 1]);
#pragma GCC unroll 8
    for (int i = N - 2; i >= 0; --i) a = a * x + over[i], b = b * x + under[i];
    return a / b;
}

// The normal with a probability `tail` of at most 1/2 above it: Wichura's PPND16 (Applied Statistics 37, 1988, AS 241), 1e-16
// off, without its third region. Tails below 2^-36 count as 2^-36 (6.7 sigma), where the noise stream ends, too.
INLINE f64v normal_above(f64v tail) {
    static constexpr double A[] = {3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
                                   4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3};
    static constexpr double B[] = {1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
                                   2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3};
    static constexpr double C[] = {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
                                   1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4};
    static constexpr double D[] = {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
                                   1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9};
    const f64v p = tail < 0x1p-36 ? all(0x1p-36) : tail, q = 0.5 - p;
    const f64v far = ratio(square_root(-logarithm(p)) - 1.6, C, D);
    const i64v is_middle = q <= 0.425;
    bool any = false;
    for (int i = 0; i < WIDE; ++i) any |= is_middle[i] != 0;
    return any ? (is_middle ? q * ratio(0.180625 - q * q, A, B) : far) : far;
}
