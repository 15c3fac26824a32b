// Counts by look-ups of digits: AVX2 and AVX-512, for digits of several bits.
//
// For each quad (four rows) of an input's digit, a table of 16 bytes holds the sums of any of its four bytes. The four weight
// bits of an output, a nibble, say which bytes to sum. Lanes are outputs. Singles are inputs, with tables made for a unit at a
// time. An instruction looks up, depending on the level:
// AVX-512 (VBMI, VNNI): four quads of one input for 16 outputs; the next instruction adds these bytes to 16 counts. Registers:
//   16 counts, for as many inputs, and a line of nibbles. Digits have up to 6 bits.
// AVX2: one quad of two inputs for 16 outputs. Registers: four sums of 16 bits and four of the bytes above them; bytes of four
//   quads are added before they are widened. Digits have up to 4 bits, and rows * 15 < 2^16.
// Digits of more bits are looked up in parts.
// Measured on a core of a Zen 4, with conversion, digits of 4 bits: 1.7e9 conversions a second by AVX-512, 1.3e9 by AVX2.
// Tables: # (parts of digits, fours of quads, 16 inputs / inputs of a line, lines of a four, 64 or 32 bytes)
// Nibbles of lanes: # (problems, tiles, groups, bits, fours of quads, 64 bytes), then masks of the bits that have a 1:
// # (problems, groups, tiles)
#pragma once
#include "block.h"
#include "operand.h"

#if defined(__AVX2__)
typedef uint8_t bytev __attribute__((vector_size(4 * LANES)));
typedef uint16_t halfv __attribute__((vector_size(4 * LANES)));
typedef uint16_t eight_halves __attribute__((vector_size(16)));
typedef int32_t eight_words __attribute__((vector_size(32)));

// Bytes of tables of 16 at places below 16, one table for each 16 bytes; 0 at places from 128 on.
INLINE bytev look_up_bytes(bytev table, bytev place) {
#if defined(__AVX512BW__)
    return (bytev)_mm512_shuffle_epi8((__m512i)table, (__m512i)place);
#else
    return (bytev)_mm256_shuffle_epi8((__m256i)table, (__m256i)place);
#endif
}

#if defined(__AVX512VBMI__) && defined(__AVX512VNNI__)
// A line of 64 bytes has four quads of an input. The nibble of output o and quad q is byte 4 o + q, with q in its bits 4 and 5.
struct LookUpLine {
    static constexpr int INPUTS = 1, LINES = 1, BYTES = 64, MOST_BITS = 6, STEP = GROUP * BYTES;   // of four quads
    static uint8_t nibble(uint32_t bits, int quad) { return uint8_t(bits | quad << 4); }
    static int place(int output, int quad) { return 4 * output + quad; }

    // Call put(input, line, quads) with the quads of a line's tables, each four times, from # (4 quads, 16 inputs).
    template <class Put> static INLINE void each(const uint32_t* four, Put put) {
        const __m512i a = _mm512_loadu_si512(four), b = _mm512_loadu_si512(four + GROUP);
        const __m512i c = _mm512_loadu_si512(four + 2 * GROUP), d = _mm512_loadu_si512(four + 3 * GROUP);
        const __m512i ab[2] = {_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)};
        const __m512i cd[2] = {_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d)};
        const __m512i number = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {  // inputs i, 4 + i, 8 + i, 12 + i
            const __m512i own = i % 2 ? _mm512_unpackhi_epi64(ab[i / 2], cd[i / 2]) : _mm512_unpacklo_epi64(ab[i / 2], cd[i / 2]);
#pragma GCC unroll 4
            for (int j = 0; j < 4; ++j)
                put(4 * j + i, 0, (u32v)_mm512_permutexvar_epi32(_mm512_add_epi32(number, _mm512_set1_epi32(4 * j)), own));
        }
    }

    // Sums of N inputs for a weight bit, shifted, and written or added to counts. SIGNED: bytes of tables are signed.
    template <bool FIRST, int N, bool SIGNED>
    static INLINE void add(const uint8_t* tables, const uint8_t* nibbles, int64_t fours, int shift, int32_t* counts) {
        __m512i sums[N];
        const __m512i ones = _mm512_set1_epi8(1);
#pragma GCC unroll 16
        for (int n = 0; n < N; ++n) sums[n] = _mm512_setzero_si512();
        for (int64_t four = 0; four < fours; ++four, tables += STEP, nibbles += 64) {
            const __m512i places = _mm512_loadu_si512(nibbles);
#pragma GCC unroll 16
            for (int n = 0; n < N; ++n) {
                const __m512i four_quads = _mm512_permutexvar_epi8(places, _mm512_load_si512(tables + n * BYTES));
                // with the intrinsic function, GCC copies each sum
                if (SIGNED) asm("vpdpbusd %2, %1, %0" : "+v"(sums[n]) : "v"(ones), "v"(four_quads));
                else asm("vpdpbusd %2, %1, %0" : "+v"(sums[n]) : "v"(four_quads), "v"(ones));
            }
        }
#pragma GCC unroll 16
        for (int n = 0; n < N; ++n) {
            const i32v before = FIRST ? i32v{} : load<i32v>(counts + n * GROUP);
            store(counts + n * GROUP, before + ((i32v)sums[n] << shift));
        }
    }
};
#else
// A line of 32 bytes has one quad of two inputs. The nibbles of a quad are 16 bytes, for outputs 0, 8, 1, 9, ...
struct LookUpLine {
    static constexpr int INPUTS = 2, LINES = 4, BYTES = 32, MOST_BITS = 4, STEP = GROUP / INPUTS * LINES * BYTES;
    static uint8_t nibble(uint32_t bits, int) { return uint8_t(bits); }
    static int place(int output, int quad) { return 16 * quad + 2 * (output % 8) + output / 8; }

    template <class Put> static INLINE void each(const uint32_t* four, Put put) {
        const __m256i number = _mm256_set_epi32(1, 1, 1, 1, 0, 0, 0, 0);
        for (int eight = 0; eight < LINES * GROUP; eight += 8) {
            const __m256i quads = _mm256_loadu_si256((const __m256i*)(four + eight));
#pragma GCC unroll 4
            for (int i = 0; i < 8; i += INPUTS)
                put(eight % GROUP + i, eight / GROUP,
                    (u32v)_mm256_permutevar8x32_epi32(quads, _mm256_add_epi32(number, _mm256_set1_epi32(i))));
        }
    }

    template <bool FIRST, int N, bool SIGNED>
    static INLINE void add(const uint8_t* tables, const uint8_t* nibbles, int64_t fours, int shift, int32_t* counts) {
        static_assert(!SIGNED, "sums of 16 bits have no sign");
        constexpr int PAIRS = N / INPUTS;
        halfv sums[PAIRS]{}, high[PAIRS]{};
        for (int64_t four = 0; four < fours; ++four, tables += STEP, nibbles += 64) {
            bytev places[LINES];
#pragma GCC unroll 4
            for (int q = 0; q < LINES; ++q)
                places[q] = (bytev)_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)(nibbles + 16 * q)));
#pragma GCC unroll 4
            for (int n = 0; n < PAIRS; ++n) {
                const uint8_t* at = tables + n * LINES * BYTES;
                bytev four_quads = look_up_bytes(load<bytev>(at), places[0]);
#pragma GCC unroll 4
                for (int q = 1; q < LINES; ++q) four_quads += look_up_bytes(load<bytev>(at + q * BYTES), places[q]);
                sums[n] += (halfv)four_quads;
                high[n] += (halfv)four_quads >> 8;
            }
        }
#pragma GCC unroll 4
        for (int n = 0; n < PAIRS; ++n) {
            const halfv halves[2] = {sums[n] - (high[n] << 8), high[n]};   // of outputs 0 to 7, and 8 to 15
            for (int i = 0; i < INPUTS; ++i)
                for (int h = 0; h < 2; ++h) {
                    int32_t* to = counts + (n * INPUTS + i) * GROUP + 8 * h;
                    eight_halves own;
                    std::memcpy(&own, (const char*)&halves[h] + 16 * i, sizeof own);
                    const eight_words count = __builtin_convertvector(own, eight_words);
                    store(to, (FIRST ? eight_words{} : load<eight_words>(to)) + (count << shift));
                }
        }
    }
};
#endif

// Digits of quads: the bits of four integers that a cycle uses, each digit in its own byte.
struct DigitOfQuads {
    int byte, right, left;             // the first of the two bytes of an integer that hold the digit; shifts
    uint32_t mask_right, mask_left;
    bool has_left;
    explicit DigitOfQuads(Digit d) : byte(d.low / 8) {
        const int shift = d.low % 8, below = d.bits < 8 - shift ? d.bits : 8 - shift;  // bits in the first byte
        right = shift;
        left = (8 - shift) % 8;
        mask_right = 0x01010101u * ((1u << below) - 1);
        mask_left = 0x01010101u * (((1u << (d.bits - below)) - 1) << below);
        has_left = d.bits > below;
    }
    template <class U> INLINE U of(U low) const { return (low >> right) & mask_right; }
    template <class U> INLINE U of(U low, U high) const { return of(low) | ((high << left) & mask_left); }
};

// A digit of quads, and whether any is not 0. Quads of the integers' next byte are `step` further on.
inline APART bool take_digit(const DigitOfQuads& given, const uint32_t* quads, int64_t size, int64_t step, uint32_t* out) {
    const DigitOfQuads digit = given;
    const uint32_t* low = quads + digit.byte * step;
    u32v any{};
    for (int64_t at = 0; at < size; at += LANES) {
        u32v v = digit.of(load<u32v>(low + at));
        if (digit.has_left) v = digit.of(load<u32v>(low + at), load<u32v>(low + step + at));
        store(out + at, v);
        any |= v;
    }
    return has_bits(any);
}

// Quads of a tile's rows in a group of lanes. # (bytes of an integer, quads of a tile, 16), bytes `step` apart
inline void arrange_quads(const Operand& operand, const LaneGroup& lanes, const Tile& tile, int number, int64_t step,
                          uint32_t* out) {
    for (int64_t byte = 0; byte < operand.bytes(); ++byte)
        operand.each_quad(tile, number, byte, [&](int64_t quad, int64_t offset) INLINE_LAMBDA {
            for (int v = 0; v < VECTORS; ++v) store(out + byte * step + quad * GROUP + v * LANES, lanes.of(offset, v));
        });
}

// The nibbles of all lanes, made once.
class Nibbles {
    // Bytes of a group of lanes, over all bits and tiles.
    static int64_t group_size(const ConversionJob& job) {
        int64_t fours = 0;
        for (int t = 0; t < job.tile_count; ++t) fours += fours_of(job.tiles[t]);
        return lanes_of(job).bits * fours * 64;
    }
    static int64_t groups_of(const ConversionJob& job) { return lanes_of(job).problems * ceil_div(lanes_of(job).lanes(), GROUP); }
public:
    static int64_t fours_of(const Tile& tile) { return ceil_div(Operand::quads_of(tile), 4); }
    static int64_t form_size(const ConversionJob& job) {
        return groups_of(job) * (group_size(job) / 4 + job.tile_count);
    }

    static void make_form(const ConversionJob& job, const Operand& operand, uint32_t* out) {
        const int64_t groups = ceil_div(lanes_of(job).lanes(), GROUP), step = group_size(job) / 4, bits = lanes_of(job).bits;
        std::memset(out, 0, form_size(job) * sizeof(uint32_t));
        asim::parallel_units(groups_of(job), job.threads, [&](int64_t unit) {
            const LaneGroup lanes(operand, unit / groups, unit % groups * GROUP);
            uint8_t* problem = reinterpret_cast<uint8_t*>(out + unit / groups * groups * step);
            uint32_t* masks = out + groups_of(job) * step + unit * job.tile_count;
            for (int t = 0; t < job.tile_count; ++t) {
                const int64_t fours = fours_of(job.tiles[t]);
                uint8_t* to = problem + unit % groups * bits * fours * 64;
                for (int64_t byte = 0; byte < operand.bytes(); ++byte)
                    operand.each_quad(job.tiles[t], t, byte, [&](int64_t quad, int64_t offset) INLINE_LAMBDA {
                        for (int64_t bit = 8 * byte; bit < 8 * byte + 8 && bit < bits; ++bit)
                            if (put(lanes, offset, int(bit % 8), int(quad % 4), to + (bit * fours + quad / 4) * 64))
                                masks[t] |= 1u << bit;
                    });
                problem += groups * bits * fours * 64;
            }
        });
    }

    Nibbles(const ConversionJob& job, const uint32_t* form)
        : job_(job), nibbles_(reinterpret_cast<const uint8_t*>(form)), masks_(form + groups_of(job) * group_size(job) / 4),
          groups_(ceil_div(lanes_of(job).lanes(), GROUP)), group_size_(group_size(job)) {}

    void arrange(int64_t problem, int tile) {
        problem_ = problem;
        tile_ = tile;
        fours_ = fours_of(job_.tiles[tile]);
        first_four_ = 0;
        for (int t = 0; t < tile; ++t) first_four_ += fours_of(job_.tiles[t]);
    }
    void select(int64_t first_lane) {
        const int64_t group = first_lane / GROUP, bits = lanes_of(job_).bits;
        own_ = nibbles_ + problem_ * groups_ * group_size_ + (first_four_ * groups_ + group * fours_) * bits * 64;
        mask_ = masks_[(problem_ * groups_ + group) * job_.tile_count + tile_];
    }

    int64_t fours() const { return fours_; }
    const uint8_t* of(int bit) const { return own_ + bit * fours_ * 64; }
    bool has(int bit) const { return mask_ >> bit & 1; }

private:
    // A bit of four rows, lowest row first, for 16 lanes; returns whether any is 1.
    static INLINE bool put(const LaneGroup& lanes, int64_t offset, int bit, int quad, uint8_t* to) {
        alignas(64) uint32_t nibbles[GROUP];
        u32v any{};
        for (int v = 0; v < VECTORS; ++v) {
            u32v four = (lanes.of(offset, v) >> bit) & 0x01010101u;
            any |= four;
            four |= four >> 7;
            store(nibbles + v * LANES, (four | four >> 14) & 15u);
        }
        for (int o = 0; o < GROUP; ++o) to[LookUpLine::place(o, quad)] = LookUpLine::nibble(nibbles[o], quad);
        return has_bits(any);
    }

    const ConversionJob& job_;
    const uint8_t* nibbles_;
    const uint32_t* masks_;
    const int64_t groups_, group_size_;
    const uint8_t* own_ = nullptr;
    uint32_t mask_ = 0;
    int64_t problem_ = 0, fours_ = 0, first_four_ = 0;
    int tile_ = 0;
};

// Sums by tables of some singles, shifted, and written or added to a cycle's counts.
template <bool FIRST, bool SIGNED = false>
APART void add_look_ups(const uint8_t* tables, const uint8_t* nibbles, int64_t fours, int shift, int held, int32_t* counts) {
    for (int m = 0; m < held;) {
        const int left = int(round_up(held - m, 4));
        const uint8_t* own = tables + m / LookUpLine::INPUTS * LookUpLine::LINES * LookUpLine::BYTES;
        int32_t* to = counts + m * GROUP;
        if (left == 16 && LookUpLine::INPUTS == 1) LookUpLine::add<FIRST, 16, SIGNED>(own, nibbles, fours, shift, to), m += 16;
        else if (left >= 8) LookUpLine::add<FIRST, 8, SIGNED>(own, nibbles, fours, shift, to), m += 8;
        else LookUpLine::add<FIRST, 4, SIGNED>(own, nibbles, fours, shift, to), m += 4;
    }
}

// Members that both ways of counting by nibbles share: singles are taken in turn, and the nibbles of lanes are the form.
struct ByNibbles {
    static constexpr bool LANES_IN_TURN = false;
    static constexpr int MULTIPLE = 4;

    static int64_t form_size(const ConversionJob& job) { return Nibbles::form_size(job); }
    static void make_form(const ConversionJob& job, const Operand& operand, uint32_t* out) {
        Nibbles::make_form(job, operand, out);
    }
};

class CountLookUps : public ByNibbles {
public:
    CountLookUps(const ConversionJob& job, const uint32_t* form, const Operand& operand)
        : job_(job), nibbles_(job, form), operand_(operand), most_(most_words(job, Nibbles::fours_of)),
          between_(int64_t(block_size(job.inputs.lanes(), MULTIPLE)) * GROUP), part_of_(job.digit_count),
          quads_(most_ * 4 * GROUP * operand.bytes()), digit_(most_ * 4 * GROUP), parts_(count_parts(job)), filled_(parts_),
          tables_(parts_ * part_size()) {}

    void arrange(const LaneGroup& inputs, int64_t problem, int tile) {
        nibbles_.arrange(problem, tile);
        const int64_t quads = Operand::quads_of(job_.tiles[tile]), step = most_ * 4 * GROUP;
        arrange_quads(operand_, inputs, job_.tiles[tile], tile, step, quads_.data());
        int part = 0;
        for (int d = 0; d < job_.digit_count; ++d) {
            part_of_[d] = part;
            for (int low = 0; low < job_.digits[d].bits; low += LookUpLine::MOST_BITS, ++part) {
                const int left = job_.digits[d].bits - low;
                const DigitOfQuads digit({job_.digits[d].low + low, left < LookUpLine::MOST_BITS ? left : LookUpLine::MOST_BITS});
                filled_[part] = take_digit(digit, quads_.data(), quads * GROUP, step, digit_.data());
                if (filled_[part]) make_tables(part);
            }
        }
    }
    void select(int64_t first_lane, int held) {
        nibbles_.select(first_lane);
        held_ = held;
    }

    bool is_empty(int four) const {
        for (int k = 0; k < 4; ++k)
            if (!is_empty(job_.cycles[4 * four + k])) return false;
        return true;
    }

    // Counts of four cycles. # (4, singles of a block, 16)
    void count(int four, int32_t* counts) {
        for (int k = 0; k < 4; ++k, counts += between_) {
            const Cycle& cycle = job_.cycles[4 * four + k];
            const Digit digit = job_.digits[cycle.digit];
            const uint8_t* nibbles = nibbles_.of(cycle.weight_bit);
            bool first = true;
            for (int low = 0; low < digit.bits && !is_empty(cycle); low += LookUpLine::MOST_BITS) {
                const int part = part_of_[cycle.digit] + low / LookUpLine::MOST_BITS;
                if (!filled_[part]) continue;
                (first ? add_look_ups<true> : add_look_ups<false>)(table(part), nibbles, nibbles_.fours(), low, held_, counts);
                first = false;
            }
            if (first) std::memset(counts, 0, held_ * GROUP * sizeof(int32_t));
        }
    }

private:
    static int64_t count_parts(const ConversionJob& job) {
        int64_t parts = 0;
        for (int d = 0; d < job.digit_count; ++d) parts += ceil_div(job.digits[d].bits, LookUpLine::MOST_BITS);
        return parts;
    }
    int64_t part_size() const { return most_ * LookUpLine::STEP; }
    uint8_t* table(int part) { return tables_.data() + part * part_size(); }
    bool is_empty(const Cycle& cycle) const {
        if (!nibbles_.has(cycle.weight_bit)) return true;
        for (int part = 0; part < ceil_div(job_.digits[cycle.digit].bits, LookUpLine::MOST_BITS); ++part)
            if (filled_[part_of_[cycle.digit] + part]) return false;
        return true;
    }

    // Sums of any bytes of each quad of a digit, for all inputs of a unit. Quads past the last have nibbles of 0, and every
    // table has 0 there.
    void make_tables(int part) {
        bytev bits[4];
        for (int b = 0; b < 4; ++b)
            for (int n = 0; n < 4 * LANES; ++n) bits[b][n] = n >> b & 1 ? uint8_t(b) : 128;
        uint8_t* to = table(part);
        for (int64_t four = 0; four < nibbles_.fours(); ++four)
            LookUpLine::each(digit_.data() + four * 4 * GROUP, [&](int input, int line, u32v quads) INLINE_LAMBDA {
                bytev sums = look_up_bytes((bytev)quads, bits[0]) + look_up_bytes((bytev)quads, bits[1]);
                sums += look_up_bytes((bytev)quads, bits[2]) + look_up_bytes((bytev)quads, bits[3]);
                store(to + four * LookUpLine::STEP + (input / LookUpLine::INPUTS * LookUpLine::LINES + line) * LookUpLine::BYTES, sums);
            });
    }

    const ConversionJob& job_;
    Nibbles nibbles_;
    const Operand& operand_;
    const int64_t most_, between_;
    Scratch<int> part_of_;
    Scratch<uint32_t> quads_, digit_;
    const int64_t parts_;
    Scratch<uint8_t> filled_, tables_;
    int held_ = 0;
};
#endif
