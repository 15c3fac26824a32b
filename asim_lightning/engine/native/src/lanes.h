// Vectors as wide as the processor's: LANES numbers of 32 bits, and the few operations that C++ has no operator for.
// A new processor needs changes only in this file; the portable branches are ordinary vectors of GCC and Clang.
// Kernels work on groups of 16 lanes on every processor: 1, 2 or 4 vectors.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define INLINE inline __attribute__((always_inline))
#define APART __attribute__((noinline))  // a separate function, so that its loop has all registers
#define INLINE_LAMBDA __attribute__((always_inline))

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX2__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
constexpr int GROUP = 16;                // lanes that are computed together
constexpr int VECTORS = GROUP / LANES;   // vectors of a group

typedef uint32_t u32v __attribute__((vector_size(4 * LANES)));
typedef int32_t i32v __attribute__((vector_size(4 * LANES)));
typedef float f32v __attribute__((vector_size(4 * LANES)));
typedef uint64_t u64v __attribute__((vector_size(4 * LANES)));

template <class V, class T> INLINE V load(const T* from) { V v; std::memcpy(&v, from, sizeof v); return v; }
template <class V, class T> INLINE void store(T* to, V v) { std::memcpy(to, &v, sizeof v); }
INLINE f32v to_float(i32v v) { return __builtin_convertvector(v, f32v); }
INLINE f32v to_float(u32v v) {
#if defined(__AVX2__) && !defined(__AVX512F__)
    // halves as the last bits of 2^23 and of 2^39, with one rounding of the sum: GCC's own code takes more instructions
    const __m256i low = _mm256_blend_epi16((__m256i)v, _mm256_set1_epi32(0x4B000000), 0xAA);
    const __m256i high = _mm256_blend_epi16((__m256i)(v >> 16), _mm256_set1_epi32(0x53000000), 0xAA);
    return ((f32v)high - 549764202496.0f) + (f32v)low;   // 2^39 + 2^23
#else
    return __builtin_convertvector(v, f32v);
#endif
}
// GCC compiles a comparison with 0 and a choice to two instructions.
#if defined(__AVX512F__)
INLINE f32v smaller(f32v a, f32v b) { return (f32v)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE f32v larger(f32v a, f32v b) { return (f32v)_mm512_max_ps((__m512)a, (__m512)b); }
#elif defined(__AVX2__)
INLINE f32v smaller(f32v a, f32v b) { return (f32v)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE f32v larger(f32v a, f32v b) { return (f32v)_mm256_max_ps((__m256)a, (__m256)b); }
#else
INLINE f32v smaller(f32v a, f32v b) { return a < b ? a : b; }
INLINE f32v larger(f32v a, f32v b) { return a > b ? a : b; }
#endif
INLINE f32v all(float x) { return f32v{} + x; }
INLINE bool has_bits(u32v v) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)v, (__m512i)v) != 0;
#else
    uint32_t bits = 0;
    for (int l = 0; l < LANES; ++l) bits |= v[l];
    return bits != 0;
#endif
}

// The nearest integer of 0 .. 2^22, ties to even: the sum with 1.5 * 2^23 has it in its last bits.
constexpr float MAGIC = 12582912.0f;
INLINE i32v nearest(f32v v) { return (i32v)(v + MAGIC) - 0x4B400000; }

INLINE f32v square_root(f32v v) {
#if defined(__AVX512F__)
    return (f32v)_mm512_sqrt_ps((__m512)v);
#elif defined(__AVX2__)
    return (f32v)_mm256_sqrt_ps((__m256)v);
#elif defined(__x86_64__)
    return (f32v)_mm_sqrt_ps((__m128)v);
#elif defined(__aarch64__)
    return (f32v)vsqrtq_f32((float32x4_t)v);
#else
    for (int i = 0; i < LANES; ++i) v[i] = __builtin_sqrtf(v[i]);
    return v;
#endif
}

// Products of the lower halves of 64-bit lanes.
INLINE u64v multiply_wide(u64v a, u64v b) {
#if defined(__AVX512F__)
    return (u64v)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return (u64v)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
    return (u64v)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
    return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}

// The lower halves of 64-bit lanes, in even and odd lanes of 32 bits.
INLINE u32v interleaved(u64v even, u64v odd) {
#if defined(__AVX2__) && !defined(__AVX512F__)
    return (u32v)_mm256_blend_epi32((__m256i)even, (__m256i)(odd << 32), 0xAA);
#else
    return (u32v)((even & 0xFFFFFFFFu) | (odd << 32));
#endif
}

// Elements of a table, lane by lane.
template <class V, class T> INLINE V look_up(const T* table, i32v place) {
#if defined(__AVX512F__)
    return (V)_mm512_i32gather_epi32((__m512i)place, table, 4);
#elif defined(__AVX2__)
    return (V)_mm256_i32gather_epi32((const int*)table, (__m256i)place, 4);
#else
    V v;
    for (int i = 0; i < LANES; ++i) v[i] = table[place[i]];
    return v;
#endif
}

// Elements, at places 0 to 15, of a table of 16 that all lanes share.
INLINE f32v look_up_16(const float* table, i32v place) {
#if defined(__AVX512F__)
    return (f32v)_mm512_permutexvar_ps((__m512i)place, _mm512_loadu_ps(table));
#elif defined(__AVX2__)
    const __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), (__m256i)place);
    const __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), (__m256i)place);
    return (f32v)_mm256_blendv_ps(low, high, _mm256_castsi256_ps((__m256i)(place << 28)));
#else
    return look_up<f32v>(table, place);
#endif
}

// Products of the lower halves of words, below 2^15, with a number below 2^15 in magnitude.
INLINE i32v times_low_half(i32v a, int32_t weight) {
#if defined(__AVX512BW__)
    return (i32v)_mm512_madd_epi16((__m512i)a, _mm512_set1_epi32(weight & 0xFFFF));
#elif defined(__AVX2__)
    return (i32v)_mm256_madd_epi16((__m256i)a, _mm256_set1_epi32(weight & 0xFFFF));
#else
    return (a & 0x7FFF) * weight;
#endif
}

// Population counts of words, lane by lane; processors without an instruction for words add them up in bytes.
class Popcount {
    u32v total_{};
public:
#if defined(__AVX512VPOPCNTDQ__)
    static constexpr int MOST = 1 << 20;  // words that may be added
    INLINE void add(u32v bits) { total_ += (u32v)_mm512_popcnt_epi32((__m512i)bits); }
    INLINE u32v count() const { return total_; }
#else
    static constexpr int MOST = 31;
    INLINE void add(u32v bits) { total_ += in_bytes(bits); }
    INLINE u32v count() const {
        const u32v pairs = (total_ & 0x00FF00FFu) + ((total_ >> 8) & 0x00FF00FFu);
        return (pairs & 0xFFFFu) + (pairs >> 16);
    }
private:
    static INLINE u32v in_bytes(u32v v) {
#if defined(__AVX2__) && !defined(__AVX512F__)
        const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
                                               0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
        const __m256i low = _mm256_set1_epi8(15), bits = (__m256i)v;
        return (u32v)_mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(bits, low)),
                                     _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(bits, 4), low)));
#elif defined(__ARM_NEON)
        return (u32v)vcntq_u8((uint8x16_t)v);
#else
        v -= (v >> 1) & 0x55555555u;
        v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
        return (v + (v >> 4)) & 0x0F0F0F0Fu;
#endif
    }
#endif
};
