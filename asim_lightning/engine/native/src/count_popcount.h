// Counts as population counts of bit planes: any processor, any digits.
//
// Registers: four counters, one for each of four cycles, and a word of each of 16 lanes, loaded once if the four cycles share
// it. A plane's word holds 32 rows, one bit each. Transposing eight quads decides the order of rows, the same on both sides.
// Lanes: bit planes of a group and tile, made when they are needed. # (bits, words, 16 lanes)
// Singles: bit planes made once. # (problems, tiles, singles, bits, words)
// Measured on a core of a Zen 4, with conversion, bit-serial at 255 rows: 3.9e9 conversions a second by AVX-512, 1.2e9 by
// AVX2.
#pragma once
#include "block.h"
#include "operand.h"

// Full quads of a tile: if it has fewer than four channels, several kernel elements share a quad.
INLINE int64_t full_quads(const Tile& tile) {
    const int64_t channels = tile.last - tile.first;
    return channels < 4 ? ceil_div(channels * (tile.high - tile.low), 4) : Operand::quads_of(tile);
}
INLINE int64_t bit_words(const Tile& tile) { return ceil_div(full_quads(tile), 8); }

// Call put(number, quads) for a vector of each full quad of a tile.
template <class Put>
INLINE void each_full_quad(const Operand& operand, const LaneGroup& lanes, const Tile& tile, int number, int64_t byte, int vector, Put put) {
    const int channels = tile.last - tile.first;
    if (channels >= 4) {
        operand.each_quad(tile, number, byte, [&](int64_t quad, int64_t offset) INLINE_LAMBDA { put(quad, lanes.of(offset, vector)); });
        return;
    }
    u32v full{};
    int held = 0;                      // bytes of `full` in use
    int64_t quads = 0;
    operand.each_quad(tile, number, byte, [&](int64_t, int64_t offset) INLINE_LAMBDA {
        const u32v quad = lanes.of(offset, vector);
        full |= quad << (8 * held);
        held += channels;
        if (held < 4) return;
        put(quads++, full);
        held -= 4;
        full = held ? quad >> (8 * (channels - held)) : u32v{};
    });
    if (held) put(quads, full);
}

// Transposes eight quads, read byte by byte as 8 by 8 bits: word p gets bit p of all.
INLINE void transpose_bits(u32v (&v)[8]) {
    auto exchange = [](u32v& one, u32v& other, int shift, uint32_t mask) INLINE_LAMBDA {
        const u32v differences = ((one >> shift) ^ other) & mask;
        one ^= differences << shift;
        other ^= differences;
    };
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) exchange(v[i], v[i + 4], 4, 0x0F0F0F0F);
#pragma GCC unroll 4
    for (int i : {0, 1, 4, 5}) exchange(v[i], v[i + 2], 2, 0x33333333);
#pragma GCC unroll 4
    for (int i : {0, 2, 4, 6}) exchange(v[i], v[i + 1], 1, 0x55555555);
}

// Bit planes of a tile's rows in a group of lanes, and whether any lane has a 1. # (bits, words, 16), (bits,)
inline void bit_planes(const Operand& operand, const LaneGroup& lanes, const Tile& tile, int number, uint32_t* out,
                       uint8_t* filled) {
    const int64_t words = bit_words(tile), quads = full_quads(tile);
    for (int64_t byte = 0; byte < operand.bytes(); ++byte) {
        const int planes = operand.side.bits - 8 * byte < 8 ? int(operand.side.bits - 8 * byte) : 8;
        for (int p = 0; p < planes; ++p) filled[8 * byte + p] = 0;
        for (int vector = 0; vector < VECTORS; ++vector) {
            u32v eight[8]{}, any[8]{};
            auto flush = [&](int64_t word) INLINE_LAMBDA {
                transpose_bits(eight);
                for (int p = 0; p < planes; ++p) {
                    store(out + ((8 * byte + p) * words + word) * GROUP + vector * LANES, eight[p]);
                    any[p] |= eight[p];
                }
                for (auto& v : eight) v = u32v{};
            };
            each_full_quad(operand, lanes, tile, number, byte, vector, [&](int64_t quad, u32v four) INLINE_LAMBDA {
                eight[quad % 8] = four;
                if (quad % 8 == 7) flush(quad / 8);
            });
            if (quads % 8) flush(quads / 8);
            for (int p = 0; p < planes; ++p) filled[8 * byte + p] |= has_bits(any[p]);
        }
    }
}

class CountPopcount {
public:
    static constexpr bool LANES_IN_TURN = true;  // lanes are arranged when needed, singles beforehand
    static constexpr int MULTIPLE = 1;           // of singles in a block

    // Words of the form, which is made of one side as singles.
    static int64_t form_size(const ConversionJob& job) {
        const Side& side = singles_of(job);
        int64_t words = 0;
        for (int t = 0; t < job.tile_count; ++t) words += bit_words(job.tiles[t]);
        return side.problems * side.lanes() * side.bits * words;
    }

    static void make_form(const ConversionJob& job, const Operand& operand, uint32_t* out) {
        const Side& side = operand.side;
        const int64_t groups = ceil_div(side.lanes(), GROUP), problem_step = form_size(job) / side.problems;
        asim::parallel_for(side.problems * groups, job.threads, [&](asim::Shares& shares) {
            Scratch<uint32_t> planes(most_words(job, bit_words) * side.bits * GROUP);
            Scratch<uint8_t> filled(side.bits + 8);
            for_units(shares, [&](int64_t unit) {
                const int64_t first = unit % groups * GROUP;
                const LaneGroup lanes(operand, unit / groups, first);
                uint32_t* to = out + unit / groups * problem_step;
                for (int t = 0; t < job.tile_count; ++t) {
                    const int64_t each = side.bits * bit_words(job.tiles[t]);
                    bit_planes(operand, lanes, job.tiles[t], t, planes.data(), filled.data());
                    for (int64_t l = 0; l < GROUP && first + l < side.lanes(); ++l)
                        for (int64_t w = 0; w < each; ++w) to[(first + l) * each + w] = planes[w * GROUP + l];
                    to += side.lanes() * each;
                }
            });
        });
    }

    CountPopcount(const ConversionJob& job, const uint32_t* form, const Operand& operand)
        : job_(job), form_(form), operand_(operand), bits_(singles_of(job).bits), singles_(singles_of(job).lanes()),
          problem_step_(form_size(job) / singles_of(job).problems),
          between_(block_size(singles_, MULTIPLE) * GROUP),
          planes_(most_words(job, bit_words) * operand.side.bits * GROUP), filled_(operand.side.bits + 8) {}

    void arrange(const LaneGroup& lanes, int64_t problem, int tile) {
        words_ = bit_words(job_.tiles[tile]);
        tile_ = form_ + problem * problem_step_;
        for (int t = 0; t < tile; ++t) tile_ += singles_ * bits_ * bit_words(job_.tiles[t]);
        bit_planes(operand_, lanes, job_.tiles[tile], tile, planes_.data(), filled_.data());
    }
    void select(int64_t first_single, int held) {
        first_ = tile_ + first_single * bits_ * words_;
        held_ = held;
    }

    // Whether no lane of four cycles has a 1.
    bool is_empty(int four) const {
        for (int k = 0; k < 4; ++k) {
            const Digit lane = lane_digit(job_.cycles[4 * four + k]);
            for (int i = 0; i < lane.bits; ++i)
                if (filled_[lane.low + i]) return false;
        }
        return true;
    }

    // Counts of four cycles. # (4, singles of a block, 16)
    void count(int four, int32_t* counts) {
        const Cycle* cycles = job_.cycles + 4 * four;
        if (share_digit(cycles)) count_together(cycles, counts);
        else count_apart(cycles, counts);
    }

private:
    // The bits of either side that a cycle uses.
    Digit lane_digit(const Cycle& c) const { return job_.inputs_in_lanes ? job_.digits[c.digit] : Digit{c.weight_bit, 1}; }
    Digit single_digit(const Cycle& c) const { return job_.inputs_in_lanes ? Digit{c.weight_bit, 1} : job_.digits[c.digit]; }
    const uint32_t* lane_plane(int bit) const { return planes_.data() + bit * words_ * GROUP; }
    static bool share_digit(const Cycle* c) {
        return c[0].digit == c[1].digit && c[0].digit == c[2].digit && c[0].digit == c[3].digit;
    }

    // Four weight bits with one digit of the inputs, bit by bit.
    void count_together(const Cycle* cycles, int32_t* counts) const {
        const Digit digit = job_.digits[cycles[0].digit];
        const int64_t step = bits_ * words_;
        for (int i = 0; i < digit.bits; ++i) {
            const uint32_t *singles[4], *lanes[4];
            for (int k = 0; k < 4; ++k) {
                const int weight = cycles[k].weight_bit, input = digit.low + i;
                singles[k] = first_ + (job_.inputs_in_lanes ? weight : input) * words_;
                lanes[k] = lane_plane(job_.inputs_in_lanes ? input : weight);
            }
            auto add = job_.inputs_in_lanes ? (i ? add_counts<true, false> : add_counts<true, true>)
                                            : (i ? add_counts<false, false> : add_counts<false, true>);
            add(singles, lanes, step, held_, words_, i, counts, between_);
        }
    }

    // Counts of four pairs of planes, shifted, and written or added. All pairs share one plane of the lanes (ONE_LANE), or one
    // plane of the singles.
    template <bool ONE_LANE, bool FIRST>
    static APART void add_counts(const uint32_t* const (&singles)[4], const uint32_t* const (&lanes)[4], int64_t step,
                                 int held, int64_t words, int shift, int32_t* counts, int64_t between) {
        const uint32_t *a = singles[0], *b = singles[1], *c = singles[2], *d = singles[3];
        for (int m = 0; m < held; ++m, a += step, b += step, c += step, d += step, counts += GROUP)
#pragma GCC unroll 4
            for (int v = 0; v < GROUP; v += LANES) {
                u32v totals[4]{};
                for (int64_t low = 0; low < words; low += Popcount::MOST) {
                    const int64_t high = words < low + Popcount::MOST ? words : low + Popcount::MOST;
                    Popcount ones[4];
                    for (int64_t w = low; w < high; ++w) {
                        if (ONE_LANE) {
                            const u32v bits = load<u32v>(lanes[0] + w * GROUP + v);
                            ones[0].add(bits & a[w]);
                            ones[1].add(bits & b[w]);
                            ones[2].add(bits & c[w]);
                            ones[3].add(bits & d[w]);
                        } else {
                            const u32v bits = u32v{} + a[w];
                            for (int k = 0; k < 4; ++k) ones[k].add(bits & load<u32v>(lanes[k] + w * GROUP + v));
                        }
                    }
                    for (int k = 0; k < 4; ++k) totals[k] += ones[k].count();
                }
                for (int k = 0; k < 4; ++k) {
                    const u32v before = FIRST ? u32v{} : load<u32v>(counts + k * between + v);
                    store(counts + k * between + v, before + (totals[k] << shift));
                }
            }
    }

    // Cycles of several digits, pair by pair.
    void count_apart(const Cycle* cycles, int32_t* counts) const {
        for (int k = 0; k < 4; ++k) {
            const Digit lane = lane_digit(cycles[k]), single = single_digit(cycles[k]);
            for (int m = 0; m < held_; ++m)
                for (int v = 0; v < GROUP; v += LANES) {
                    u32v total{};
                    for (int pair = 0; pair < lane.bits * single.bits; ++pair) {
                        const int i = pair % lane.bits, j = pair / lane.bits;
                        const uint32_t* one = first_ + (m * bits_ + single.low + j) * words_;
                        const uint32_t* other = lane_plane(lane.low + i) + v;
                        for (int64_t low = 0; low < words_; low += Popcount::MOST) {
                            const int64_t high = words_ < low + Popcount::MOST ? words_ : low + Popcount::MOST;
                            Popcount ones;
                            for (int64_t w = low; w < high; ++w) ones.add(load<u32v>(other + w * GROUP) & one[w]);
                            total += ones.count() << (i + j);
                        }
                    }
                    store(counts + k * between_ + m * GROUP + v, total);
                }
        }
    }

    const ConversionJob& job_;
    const uint32_t* form_;
    const Operand& operand_;
    const int64_t bits_, singles_, problem_step_, between_;
    Scratch<uint32_t> planes_;
    Scratch<uint8_t> filled_;
    const uint32_t *tile_ = nullptr, *first_ = nullptr;
    int64_t words_ = 0;
    int held_ = 0;
};
