// Bit planes of a row of bytes: bit r of plane b is bit b of byte r, 64 rows a word; and the count of two planes.
#pragma once
#include "lanes.h"

constexpr int64_t WORD_ROWS = 64;

// Planes 0 .. planes-1 (at most 8) of 64 bytes, `step` words from one to the next.
INLINE void to_planes(const uint8_t* bytes, int planes, int64_t step, uint64_t* out) {
#if defined(__AVX512BW__)
    __m512i v = _mm512_loadu_si512(bytes);
    for (int b = 7; b >= 0; --b, v = _mm512_add_epi8(v, v))       // the highest bit is the next one
        if (b < planes) out[b * step] = _mm512_movepi8_mask(v);
#elif defined(__AVX2__)
    __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
    __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + 32));
    for (int b = 7; b >= 0; --b, low = _mm256_add_epi8(low, low), high = _mm256_add_epi8(high, high))
        if (b < planes)
            out[b * step] = uint32_t(_mm256_movemask_epi8(low)) | uint64_t(uint32_t(_mm256_movemask_epi8(high))) << 32;
#else
    for (int b = 0; b < planes; ++b) out[b * step] = 0;
    for (int i = 0; i < 8; ++i) {
        uint64_t eight;
        std::memcpy(&eight, bytes + 8 * i, 8);
        for (int b = 0; b < planes; ++b)                          // byte r's bit goes to place 56 + r
            out[b * step] |= (((eight >> b) & 0x0101010101010101u) * 0x0102040810204080u >> 56) << (8 * i);
    }
#endif
}

INLINE int32_t ones(uint64_t word) {
#if defined(__POPCNT__) || !defined(__x86_64__)
    return __builtin_popcountll(word);
#else
    word -= (word >> 1) & 0x5555555555555555u;
    word = (word & 0x3333333333333333u) + ((word >> 2) & 0x3333333333333333u);
    return int32_t((((word + (word >> 4)) & 0x0F0F0F0F0F0F0F0Fu) * 0x0101010101010101u) >> 56);
#endif
}

// Rows where both planes have a 1.
INLINE int32_t common_ones(const uint64_t* a, const uint64_t* b, int64_t words) {
    int32_t count = 0;
    for (int64_t i = 0; i < words; ++i) count += ones(a[i] & b[i]);
    return count;
}
