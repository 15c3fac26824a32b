// The normal that a probability of the upper tail leaves above it, at most 1/2: Wichura's PPND16 (Applied Statistics 37,
// 1988, AS 241), 1e-16 off, without its third region: probabilities below 2^-36 count as that, 6.7 sigma, which is where
// the noise stream ends too. engine/rare/stream has the same operations in the same order.
#pragma once
#include "uniforms.h"

template <int N> INLINE f64v ratio(f64v x, const double (&over)[N], const double (&under)[N]) {
    f64v a = all(over[N - 1]), b = all(under[N - 1]);
#pragma GCC unroll 8
    for (int i = N - 2; i >= 0; --i) a = a * x + over[i], b = b * x + under[i];
    return a / b;
}

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
