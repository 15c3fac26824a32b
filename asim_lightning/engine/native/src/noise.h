// The noise stream: Philox 4x32 with 7 rounds, normals by Box and Muller; engine/noise.py defines it.
// Compiled without contraction, so that each operation is rounded once, as in the definition. A call makes the four words
// of LANES counters, which stay in registers, in even and odd lanes of 64 bits.
#pragma once
#include "lanes.h"

struct Words { u32v w0, w1, w2, w3; };

// The keys of all rounds, in all lanes; computed once for a layer's noise.
struct RoundKeys {
    u64v of[7][2];
    RoundKeys(uint32_t k0, uint32_t k1) {
        for (auto& round : of) {
            round[0] = u64v{} + k0, round[1] = u64v{} + k1;
            k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
        }
    }
};

// Words of LANES counters. Even and odd lanes pass the rounds separately, in the lower halves of 64-bit lanes.
INLINE Words philox(u32v x0, u32v x1, u32v x2, uint32_t x3, const RoundKeys& keys) {
    const u64v m0 = u64v{} + 0xD2511F53u, m1 = u64v{} + 0xCD9E8D57u;
    u64v w[2][4] = {{(u64v)x0, (u64v)x1, (u64v)x2, u64v{} + x3},
                    {(u64v)x0 >> 32, (u64v)x1 >> 32, (u64v)x2 >> 32, u64v{} + x3}};
#pragma GCC unroll 7
    for (int round = 0; round < 7; ++round)
#pragma GCC unroll 2
        for (auto& v : w) {
            const u64v p0 = multiply_wide(v[0], m0), p1 = multiply_wide(v[2], m1);
            v[0] = (p1 >> 32) ^ v[1] ^ keys.of[round][0];
            v[2] = (p0 >> 32) ^ v[3] ^ keys.of[round][1];
            v[1] = p1;
            v[3] = p0;
        }
    auto merged = [&](int i) INLINE_LAMBDA { return interleaved(w[0][i], w[1][i]); };
    return {merged(0), merged(1), merged(2), merged(3)};
}

INLINE Words philox(u32v x0, u32v x1, u32v x2, uint32_t x3, uint32_t k0, uint32_t k1) {
    return philox(x0, x1, x2, x3, RoundKeys(k0, k1));
}

template <int N> INLINE f32v polynomial(f32v x, const float (&c)[N]) {
    f32v value = x * c[N - 1] + c[N - 2];
#pragma GCC unroll 8
    for (int i = N - 3; i >= 0; --i) value = value * x + c[i];
    return value;
}

struct Pair { f32v first, second; };

// Two standard normals from two words.
INLINE Pair box_muller(u32v radius_word, u32v angle_word) {
    static constexpr float LOG[] = {1.0f, -0.5000036f, 0.33335114f, -0.24970071f, 0.19898565f, -0.17247014f,
                                    0.16234189f, -0.10134057f};
    static constexpr float SIN[] = {0.9999992251f, -0.16665679f, 0.0083132247f, -0.00018523449f};
    static constexpr float COS[] = {1.0f, -0.49999905f, 0.04166358f, -0.0013853667f, 2.3153174e-05f};
    const i32v bits = (i32v)(to_float(radius_word) * 0x1p-32f + 0x1p-33f);
    const i32v exponent = (bits - 0x3F3504F3) >> 23;
    const f32v fraction = (f32v)(bits - (exponent << 23)) - 1.0f;
    const f32v log = polynomial(fraction, LOG) * fraction + to_float(exponent) * 0.69314718f;
    const f32v radius = square_root(log * -2.0f);
    const f32v half = to_float((i32v)angle_word) * float(3.14159265 / 4294967296.0);
    const f32v square = half * half;
    const f32v sine = polynomial(square, SIN) * half, cosine = polynomial(square, COS);
    return {radius * (1.0f - (sine * sine) * 2.0f), radius * ((sine * cosine) * 2.0f)};
}
