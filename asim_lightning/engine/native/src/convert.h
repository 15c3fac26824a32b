// From the counts of four cycles in a block to its sums of codes: level, noise, code, votes, shift-add.
//
// Work goes cycle by cycle through all singles, so that a cycle's constants stay in registers. Four cycles use the four words
// of one random counter. How four cycles are converted is decided once (Four).
// Measured on a core of a Zen 4, with counting: 0.75e9 noisy conversions a second by AVX-512, 0.41e9 by AVX2.
#pragma once
#include "block.h"
#include "driven_rows.h"
#include "noise.h"
#include "transfer.h"

// One code of several reads of a conversion: their sum (mean), the most frequent code (the smallest of a tie), or the median.
// Registers hold the best code so far, and every read is compared with every other.
// Codes: the reads, `step` elements from one to the next.
INLINE i32v voted(const int32_t* codes, int64_t step, int votes, int32_t rule) {
    i32v best = load<i32v>(codes);
    if (rule == MEAN) {
        for (int a = 1; a < votes; ++a) best += load<i32v>(codes + a * step);
        return best;
    }
    i32v agreement{};
    for (int a = 0; a < votes; ++a) {
        const i32v code = load<i32v>(codes + a * step);
        i32v not_above{}, below{};     // number of reads that are not above this one, and of reads below it
        for (int b = 0; b < votes; ++b) {
            const i32v other = load<i32v>(codes + b * step);
            not_above -= other <= code;
            below -= other < code;
        }
        if (rule == MEDIAN) {
            best = ((below <= votes / 2) & (not_above > votes / 2)) ? code : best;
        } else {
            const i32v agree = not_above - below;
            const i32v better = (agree > agreement) | ((agree == agreement) & (code < best));
            best = better ? code : best;
            agreement = better ? agree : agreement;
        }
    }
    return best;
}

// The count as level and sigma take it: whole, or real where cells differ.
template <class Adc> INLINE auto count_of(const Adc& adc, i32v count, int single, int vector) {
    if constexpr (Adc::IS_REAL) return adc.real(count, single, vector);
    else return count;
}

// What is left of a level: all of it, or a share that depends on the driven rows.
struct NoDroop {
    INLINE f32v left(f32v level, int, int) const { return level; }
};
class Droop {
    f32v lanes_[VECTORS];
    const float* shares_;
    const DrivenOfBlock& driven_;
public:
    Droop(const float* shares, const DrivenOfBlock& driven) : shares_(shares), driven_(driven) {
        for (int v = 0; v < VECTORS; ++v) lanes_[v] = driven.in_lanes ? look_up<f32v>(shares, driven.numbers(0, v)) : f32v{};
    }
    INLINE f32v left(f32v level, int single, int vector) const {
        return level * (driven_.in_lanes ? lanes_[vector] : all(shares_[driven_.first[single]]));
    }
};
template <class Level> constexpr bool CAN_DROOP = __is_same(Level, Proportional) || __is_same(Level, Quotient);

// Sums of a block's conversions for one tile.
struct Sums { int32_t codes[CELLS], counts[CELLS]; };

// The random counters of a block: words of lanes plus words of singles.
struct Counters {
    uint32_t lane_ids[GROUP], lane_positions[GROUP], single_ids[BLOCK], single_positions[BLOCK];
};

// Standard normals of four cycles. # (4, singles of a block, 16)
inline APART void draw(const Counters& counters, const RoundKeys& keys, uint32_t third, uint32_t last, int held, float* normals) {
    for (int m = 0; m < held; ++m)
#pragma GCC unroll 1
        for (int v = 0; v < GROUP; v += LANES) {
            const Words w = philox(load<u32v>(counters.lane_ids + v) + counters.single_ids[m],
                                   load<u32v>(counters.lane_positions + v) + counters.single_positions[m], u32v{} + third,
                                   last, keys);
            const Pair low = box_muller(w.w0, w.w1), high = box_muller(w.w2, w.w3);
            store(normals + m * GROUP + v, low.first);
            store(normals + CELLS + m * GROUP + v, low.second);
            store(normals + 2 * CELLS + m * GROUP + v, high.first);
            store(normals + 3 * CELLS + m * GROUP + v, high.second);
        }
}

// Call take(place, code) for each vector of a cycle's codes in a block; normals are not read if the cycle is silent.
template <class Adc, class Take>
INLINE void each_code(const Cycle& cycle, const Adc& adc, const float* levels, const float* sigmas, const int32_t* counts,
                      const float* normals, const DrivenOfBlock& driven, int held, Take take) {
    auto convert = [&](auto level, auto sigma, const auto& droop) INLINE_LAMBDA {
        constexpr bool noisy = !__is_same(decltype(sigma), Silent);
        constexpr bool level_by_driven = IS_BY_DRIVEN<decltype(level)>, sigma_by_driven = IS_BY_DRIVEN<decltype(sigma)>;
        for (int m = 0; m < held; ++m)
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; ++v) {
                const int place = m * GROUP + v * LANES;
                const auto count = count_of(adc, load<i32v>(counts + place), m, v);
                auto in_table = count;
                if constexpr (level_by_driven || sigma_by_driven) in_table += driven.numbers(m, v) * cycle.counts;
                f32v value = adc.input(droop.left(level(level_by_driven ? in_table : count), m, v), m, v);
                if (noisy) value += sigma(sigma_by_driven ? in_table : count) * load<f32v>(normals + place);
                take(place, adc.code(value, m, v));
            }
    };
    if constexpr (Adc::IS_REAL) {
        const RealLevel level{cycle.low, cycle.divisor, cycle.least, cycle.most, cycle.factor};
        if (cycle.sigma == SILENT) convert(level, Silent{}, NoDroop{});
        else if (cycle.sigma == CONSTANT) convert(level, Constant{cycle.constant}, NoDroop{});
        else convert(level, RealShrinking{cycle.full, cycle.c, cycle.a, cycle.b, cycle.constant}, NoDroop{});
    } else {
        with_level(cycle, levels, [&](auto level) INLINE_LAMBDA {
            with_sigma(cycle, sigmas, [&](auto sigma) INLINE_LAMBDA {
                if constexpr (CAN_DROOP<decltype(level)>)
                    if (cycle.drooped) return convert(level, sigma, Droop(levels + cycle.table, driven));
                convert(level, sigma, NoDroop{});
            });
        });
    }
}

// Whether four cycles are converted without noise at proportional levels, with codes and weights of at most 15 bits; and the
// number of zero bits at the end of all their weights.
struct Plain {
    bool holds = true;
    int zeros = 0;
    explicit Plain(const Cycle* four) {
        int32_t all_bits = 0, most = 0;
        for (int k = 0; k < 4; ++k) {
            const int32_t magnitude = four[k].weight < 0 ? -four[k].weight : four[k].weight;
            all_bits |= magnitude;
            most = magnitude > most ? magnitude : most;
            holds = holds && four[k].level == PROPORTIONAL && !four[k].drooped && four[k].sigma == SILENT && four[k].top < 32768;
        }
        zeros = all_bits ? __builtin_ctz(all_bits) : 0;
        holds = holds && (most >> zeros) < 32768;
    }
};

// Add the codes of four plain cycles. A level plus MAGIC has its code in the lower half, and only this half is multiplied.
inline APART void add_plain(const Cycle* four, int zeros, const int32_t* counts, int64_t between, int held, Sums& sums) {
    for (int m = 0; m < held * GROUP; m += LANES) {
        i32v total{};
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
            const f32v level = to_float(load<i32v>(counts + k * between + m)) * four[k].gain + MAGIC;
            total += times_low_half((i32v)smaller(level, all(four[k].top + MAGIC)), four[k].weight >> zeros);
        }
        store(sums.codes + m, load<i32v>(sums.codes + m) + (total << zeros));
    }
}

// Four noise-free cycles of one transfer with counts and codes below 256: a table of 256 codes serves four counts at once,
// whatever their levels are, and one instruction multiplies four codes with their weights.
#if defined(__AVX512VBMI__) && defined(__AVX512VNNI__)
class ByteCodes {
    alignas(64) uint8_t codes_[256];
    int32_t weights_ = 0;
    int zeros_ = 0;
    static bool alike(const Cycle& a, const Cycle& b) {
        return a.level == b.level && a.gain == b.gain && a.rest == b.rest && a.top == b.top && a.table == b.table;
    }
public:
    bool holds = true;
    // Counts are at most `most`.
    ByteCodes(const Cycle* four, const float* levels, int64_t most) {
        zeros_ = Plain(four).zeros;
        for (int k = 0; k < 4; ++k) {
            const Cycle& c = four[k];
            const int32_t weight = c.weight >> zeros_;
            holds = holds && c.level != COUNT && c.level != LEVEL_BY_DRIVEN && !c.drooped && c.sigma == SILENT && c.top < 256 && (c.weight == 0 || alike(c, four[0])) &&
                    weight >= -128 && weight < 128;
            weights_ |= int32_t(uint32_t(weight & 255) << (8 * k));
        }
        holds = holds && most < 256;
        if (!holds) return;
        with_level(four[0], levels, [&](auto level) {
            for (int count = 0; count < 256; count += LANES) {
                i32v counts;
                for (int l = 0; l < LANES; ++l) counts[l] = count + l < most ? count + l : int(most);
                const i32v codes = IdealAdc{four[0].top}.code(level(counts), 0, 0);
                for (int l = 0; l < LANES; ++l) codes_[count + l] = uint8_t(codes[l]);
            }
        });
    }
    void add(const int32_t* counts, int64_t between, int held, Sums& sums) const {
        const __m512i t0 = _mm512_load_si512(codes_), t1 = _mm512_load_si512(codes_ + 64);
        const __m512i t2 = _mm512_load_si512(codes_ + 128), t3 = _mm512_load_si512(codes_ + 192);
        const __m512i weights = _mm512_set1_epi32(weights_);
        for (int m = 0; m < held * GROUP; m += LANES) {
            const u32v low = load<u32v>(counts + m) | load<u32v>(counts + between + m) << 8;
            const u32v high = load<u32v>(counts + 2 * between + m) << 16 | load<u32v>(counts + 3 * between + m) << 24;
            const __m512i four = (__m512i)(low | high);
            const __m512i codes = _mm512_mask_blend_epi8(_mm512_movepi8_mask(four), _mm512_permutex2var_epi8(t0, four, t1),
                                                         _mm512_permutex2var_epi8(t2, four, t3));
            const i32v total = (i32v)_mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, weights);
            store(sums.codes + m, load<i32v>(sums.codes + m) + (total << zeros_));
        }
    }
};
#else
struct ByteCodes {
    static constexpr bool holds = false;
    ByteCodes(const Cycle*, const float*, int64_t) {}
    void add(const int32_t*, int64_t, int, Sums&) const {}
};
#endif
