// Counts of cells that differ, in steps of 2^-12: look-ups of nibbles, as in count_look_ups.h with the sides exchanged.
//
// Lanes are inputs. Singles are outputs: for each weight bit and quad, 16 words have the sums of the contents of any of its
// four cells that hold a 1. An instruction looks up a byte of the sums of four quads for 16 inputs; the next one adds these
// bytes to 16 counts. Two bytes are enough for contents near 1. Digital cycles count ones by a table of their own.
// Measured on a core of a Zen 5, bit-serial at 255 rows, with conversion: 0.8e9 conversions a second.
// Tables: # (weight bits, bytes of sums and ones, fours of quads, 16 outputs, 64 bytes)
#pragma once
#include "count_look_ups.h"

#if defined(__AVX512VBMI__) && defined(__AVX512VNNI__)
class CountReal : public ByNibbles {
public:
    CountReal(const ConversionJob& job, const uint32_t* form, const Operand& operand)
        : job_(job), nibbles_(job, form), operand_(operand), outputs_(job.weights.lanes()), bits_(job.weights.bits),
          block_(block_size(outputs_, MULTIPLE)), most_(most_words(job, Nibbles::fours_of)), tables_of_bit_(job.cells.bytes + 1),
          quads_(most_ * 4 * GROUP * operand.bytes()), tables_(bits_ * tables_of_bit_ * most_ * LookUpLine::STEP) {}

    void arrange(const LaneGroup& outputs, int64_t problem, int tile) {
        nibbles_.arrange(problem, tile);
        const int64_t step = most_ * 4 * GROUP, fours = nibbles_.fours(), macros = job_.outputs.problems_a_row;
        arrange_quads(operand_, outputs, job_.tiles[tile], tile, step, quads_.data());
        const int16_t* units = job_.cells.units;
        for (int t = 0; t < tile; ++t) units += macros * outputs_ * bits_ * Nibbles::fours_of(job_.tiles[t]) * 16;
        units += (problem % macros * outputs_ + outputs.begin) * bits_ * fours * 16;
        const int64_t left = outputs_ - outputs.begin, held = left < block_ ? left : block_;
        for (int64_t m = 0; m < held; ++m)
            for (int64_t bit = 0; bit < bits_; ++bit)
                for (int64_t four = 0; four < fours; ++four)
                    make_tables(bit, four, m, quads_.data() + bit / 8 * step, units + ((m * bits_ + bit) * fours + four) * 16);
    }
    void select(int64_t first_lane, int held) {
        nibbles_.select(first_lane);
        held_ = held;
    }

    bool is_empty(int four) const {
        for (int k = 0; k < 4; ++k) {
            const Digit digit = job_.digits[job_.cycles[4 * four + k].digit];
            for (int i = 0; i < digit.bits; ++i)
                if (nibbles_.has(digit.low + i)) return false;
        }
        return true;
    }

    // Counts of four cycles in steps of 2^-12; ones if they are not converted. # (4, singles of a block, 16)
    void count(int four, int32_t* counts) {
        for (int k = 0; k < 4; ++k, counts += block_ * GROUP) {
            const Cycle& cycle = job_.cycles[4 * four + k];
            const Digit digit = job_.digits[cycle.digit];
            const int64_t fours = nibbles_.fours();
            const int first_byte = cycle.digital ? job_.cells.bytes : 0, last_byte = cycle.digital ? job_.cells.bytes : job_.cells.bytes - 1;
            const int unit = cycle.digital && cycle.level != COUNT ? 12 : 0;   // one is 2^12 steps
            bool first = true;
            for (int i = 0; i < digit.bits && cycle.weight; ++i) {
                if (!nibbles_.has(digit.low + i)) continue;
                const uint8_t* nibbles = nibbles_.of(digit.low + i);
                for (int byte = first_byte; byte <= last_byte; ++byte, first = false) {
                    const bool is_signed = byte == job_.cells.bytes - 1;
                    auto add = is_signed ? (first ? add_look_ups<true, true> : add_look_ups<false, true>)
                                         : (first ? add_look_ups<true> : add_look_ups<false>);
                    add(table(cycle.weight_bit, byte, 0), nibbles, fours, unit + i + 8 * (byte - first_byte), held_, counts);
                }
            }
            if (first) std::memset(counts, 0, held_ * GROUP * sizeof(int32_t));
        }
    }

private:
    uint8_t* table(int64_t bit, int64_t byte, int64_t four) {
        return tables_.data() + ((bit * tables_of_bit_ + byte) * most_ + four) * LookUpLine::STEP;
    }

    // The lines of an output's weight bit in four quads.
    INLINE void make_tables(int64_t bit, int64_t four, int64_t m, const uint32_t* quads, const int16_t* units) {
        const uint32_t* own = quads + four * 4 * GROUP + m;
        const __m128i rows = _mm_setr_epi32(int(own[0]), int(own[GROUP]), int(own[2 * GROUP]), int(own[3 * GROUP]));
        const __mmask16 ones = _mm_movepi8_mask(_mm_slli_epi16(rows, 7 - bit % 8));
        const __m512i held = _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(ones, units));
        for (int byte = 0; byte < job_.cells.bytes; ++byte) store_sums(held, 8 * byte, table(bit, byte, four) + m * 64);
        store_sums(_mm512_maskz_set1_epi32(ones, 1), 0, table(bit, job_.cells.bytes, four) + m * 64);
    }

    // A byte of the sums of any of four numbers, for each of four quads.
    static INLINE void store_sums(__m512i rows, int shift, uint8_t* to) {
        static constexpr __mmask16 HAVE[4] = {0xAAAA, 0xCCCC, 0xF0F0, 0xFF00};   // nibbles that have bit 0, 1, 2, 3
#pragma GCC unroll 4
        for (int quad = 0; quad < 4; ++quad) {
            __m512i sums = _mm512_setzero_si512();
#pragma GCC unroll 4
            for (int row = 0; row < 4; ++row)
                sums = _mm512_add_epi32(sums, _mm512_maskz_permutexvar_epi32(HAVE[row], _mm512_set1_epi32(4 * quad + row), rows));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16 * quad), _mm512_cvtepi32_epi8(_mm512_srai_epi32(sums, shift)));
        }
    }

    const ConversionJob& job_;
    Nibbles nibbles_;
    const Operand& operand_;
    const int64_t outputs_, bits_, block_, most_, tables_of_bit_;
    Scratch<uint32_t> quads_;
    Scratch<uint8_t> tables_;
    int held_ = 0;
};
#endif
