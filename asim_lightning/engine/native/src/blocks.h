// Blocks of LANES by LANES words of 32 bits: loads and stores of whole vectors or of parts at the edges of an array (nothing
// beyond is touched), and transposition in registers.
#pragma once
#include <utility>
#include "lanes.h"

// Copy less than 2 * MOST bytes, in pieces.
template <int64_t MOST> INLINE void copy_part(void* to, const void* from, int64_t bytes) {
    int64_t at = 0;
#pragma GCC unroll 6
    for (int64_t piece = MOST; piece; piece /= 2)
        if (bytes & piece) {
            std::memcpy(static_cast<char*>(to) + at, static_cast<const char*>(from) + at, size_t(piece));
            at += piece;
        }
}

// The first `held` words from an address, and zeros.
template <class V, class T> INLINE V load_part(const T* from, int64_t held) {
    if (held >= LANES) return load<V>(from);
#if defined(__AVX512F__)
    return (V)_mm512_maskz_loadu_epi32(__mmask16((1u << held) - 1), from);
#elif defined(__AVX2__)
    const __m256i wanted = _mm256_cmpgt_epi32(_mm256_set1_epi32(int(held)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return (V)_mm256_maskload_epi32(reinterpret_cast<const int*>(from), wanted);
#else
    V v{};
    copy_part<sizeof v / 2>(&v, from, 4 * held);
    return v;
#endif
}

// The first `bytes` of a vector.
template <class V> INLINE void store_part(void* to, V v, int64_t bytes) {
    if (bytes >= int64_t(sizeof v)) {
        std::memcpy(to, &v, sizeof v);
        return;
    }
#if defined(__AVX512BW__)
    if constexpr (sizeof v == 64) {
        _mm512_mask_storeu_epi8(to, (uint64_t(1) << bytes) - 1, (__m512i)v);
        return;
    }
#endif
    copy_part<sizeof v / 2>(to, &v, bytes);
}

// Store words below 256 as bytes.
INLINE void store_bytes(uint8_t* to, const u32v (&v)[4]) {
#if defined(__AVX2__) && !defined(__AVX512F__)
    const __m256i low = _mm256_packus_epi32((__m256i)v[0], (__m256i)v[1]);
    const __m256i high = _mm256_packus_epi32((__m256i)v[2], (__m256i)v[3]);
    store(to, _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
#elif defined(__x86_64__) && !defined(__AVX512F__)
    const __m128i low = _mm_packs_epi32((__m128i)v[0], (__m128i)v[1]), high = _mm_packs_epi32((__m128i)v[2], (__m128i)v[3]);
    store(to, _mm_packus_epi16(low, high));
#else
    typedef uint8_t u8v __attribute__((vector_size(LANES)));
    for (int k = 0; k < 4; ++k) store(to + k * LANES, __builtin_convertvector(v[k], u8v));
#endif
}

// One step of a transposition: lanes with the bit STEP in their number change places with lanes of the other row.
template <int STEP, size_t... L> INLINE void exchange(u32v& a, u32v& b, std::index_sequence<L...>) {
    const u32v low = __builtin_shufflevector(a, b, ((int(L) & STEP) ? LANES + int(L) - STEP : int(L))...);
    b = __builtin_shufflevector(a, b, ((int(L) & STEP) ? LANES + int(L) : int(L) + STEP)...);
    a = low;
}

template <int STEP = 1> INLINE void transpose(u32v (&rows)[LANES]) {
#pragma GCC unroll 16
    for (int i = 0; i < LANES; ++i)
        if (!(i & STEP)) exchange<STEP>(rows[i], rows[i | STEP], std::make_index_sequence<LANES>());
    if constexpr (STEP * 2 < LANES) transpose<STEP * 2>(rows);
}
