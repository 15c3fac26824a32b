// What a search for wrong conversions is given, its draws, and the counts of candidates. The count of a candidate is the
// popcount of a weight bit and an input bit over the tile's words (rare_operands.cpp): bits are shifted to the low ends of
// their bytes, masked, and added up.
#pragma once
#include "blocks.h"
#include "noise.h"
#include "uniforms.h"

namespace {

struct TileWords { int64_t first_word, first_run, runs, run; };     // words of w; runs of x, each of `run` words
struct BitPair { int64_t weight_bit, low_bit, high_bit, weight; };  // input bits low..high-1; weight of a code in the sums
struct Kind {                                             // a kind of cycles, which convert alike
    int64_t first_cycle, cycles, draws, first_error, errors, first_share;
    double factor;                                        // 1 / log(1 - rate), or -1 if converters differ
};

// Converters that differ. Columns are the columns of all groups or heads; hazards and rates: # (kinds, columns, tiles, weight bits)
struct Apart {
    const double* hazards;                                // running sums over the conversions of an output; null: all are equal
    const float* rates;                                   // a converter's rate, its part above, and bounds of both parts at
                                                          // counts up to each bound. (as hazards, RATES)
    const int64_t* bounds;                                // bounds of counts. (kinds, BOUNDS)
    const int64_t* firsts;                                // first cycle of each weight bit among a kind's. (kinds, weight bits + 1)
    const Cycle* cycles;                                  // the schedule; all cycles of a kind convert like its first one
    const int64_t* numbers;                               // numbers of the kinds' first cycles
    const float *levels, *sigmas;                         // tables of the cycles
    Converters converters;
    int32_t* ones;                                        // room for `count_ones`; null: bounds are not used
    int64_t columns, macros, pixels;                      // columns of all groups or heads; groups or heads; pixels of an output
};

struct RareErrors {
    const TileWords* tiles;
    const int64_t* places;                                // places in x of the runs of all tiles
    const Kind* kinds;
    const BitPair* cycles;
    const int64_t* errors;                                // errors of a code, kind after kind
    const double* shares;                                 // running shares of the errors. (counts, errors) a kind
    int64_t tile_count, kind_count, rows, divisor;        // an output is sum * rows / divisor
    int64_t positions, block_outputs, blocks;             // outputs of a row of the batch, of a block; blocks of a row
    int64_t is_outermost, inner, out_width;               // outputs are ordered (channel, pixel), or (pixel, channel)
    int64_t group_outputs, head_rows, width, stride_y, stride_x;
    int64_t x_row, x_group, x_byte, x_pixel;              // steps in words
    int64_t w_row, w_head, w_output, w_byte;
    int64_t w_flips;                                      // from an output's words to its word of each tile, whose bit b says that
                                                          // weight bit b is held as its complement; 0: no bit is
    void* out;                                            // float32 or float64. (batch, positions)
    const int64_t *ids, *offsets;                         // (batch)
    const uint64_t *x, *w;
    int64_t batch, out_channel, out_pixel;                // steps of outputs
    uint32_t key[2], last_word;
    int32_t is_double, threads;
    Apart apart;
};

constexpr int AHEAD = 16;                                 // draws made at once
constexpr int64_t MOST_OUTPUTS = 4096;                    // most outputs of a block, as in layout.py
constexpr int64_t BOUNDS = 3, RATES = 2 + 2 * BOUNDS;     // bounds of the counts of a kind of cycle; rates of a converter
constexpr uint64_t EACH_BYTE = 0x0101010101010101u, EACH_PAIR = 0x0001000100010001u, LOW_BYTES = 0x00FF00FF00FF00FFu;

struct Draws { double gaps[AHEAD], chances[AHEAD]; };     // gaps before rounding down; or hazards

// Draws third .. third + AHEAD - 1 of a block; not inlined, so that its loops keep the registers.
APART void draw(Draws& draws, double factor, uint32_t sample, uint32_t number, uint32_t third, const RareErrors& job) {
    uint32_t words[4][AHEAD];
    for (int i = 0; i < AHEAD; i += LANES) {
        u32v count = u32v{} + (third + uint32_t(i));
        for (int l = 0; l < LANES; ++l) count[l] += uint32_t(l);
        const Words w = philox(u32v{} + sample, u32v{} + number, count, job.last_word, job.key[0], job.key[1]);
        store(words[0] + i, w.w0);
        store(words[1] + i, w.w1);
        store(words[2] + i, w.w2);
        store(words[3] + i, w.w3);
    }
    for (int i = 0; i < AHEAD; i += WIDE) store(draws.gaps + i, logarithm(uniform(words[0] + i, words[1] + i)) * factor);
    for (int i = 0; i < AHEAD; i += WIDE) store(draws.chances + i, uniform(words[2] + i, words[3] + i));
}

// Sums of the eight bytes of each word.
INLINE u64v sums_of_bytes(u64v v) {
#if defined(__AVX512BW__)
    return (u64v)_mm512_sad_epu8((__m512i)v, __m512i{});
#elif defined(__AVX2__)
    return (u64v)_mm256_sad_epu8((__m256i)v, __m256i{});
#else
    return (((v & LOW_BYTES) + ((v >> 8) & LOW_BYTES)) * EACH_PAIR) >> 48;
#endif
}

// Popcount of a weight bit and an input bit over the words of a tile. Not inlined, so that the loop keeps the registers.
APART int64_t popcount(const uint64_t* x, int64_t x_bit, const uint64_t* w, int64_t w_bit, const int64_t* places, const TileWords& tile) {
    constexpr int64_t HELD = LANES / 2, MOST = 255;       // words of a vector; largest number in a byte
    u64v total{};
    const auto ones = [&](const uint64_t* from_x, const uint64_t* from_w, int64_t held) INLINE_LAMBDA {
        return (load_part<u64v>(from_x, held) >> x_bit) & (load_part<u64v>(from_w, held) >> w_bit) & EACH_BYTE;
    };
    if (tile.run <= HELD)
        for (int64_t low = 0; low < tile.runs; low += MOST) {
            const int64_t high = tile.runs < low + MOST ? tile.runs : low + MOST;
            u64v bytes{};
            for (int64_t r = low; r < high; ++r, w += tile.run) bytes += ones(x + places[r], w, 2 * tile.run);
            total += sums_of_bytes(bytes);
        }
    else
        for (int64_t r = 0; r < tile.runs; ++r, w += tile.run)
            for (int64_t i = 0; i < tile.run; i += HELD) total += sums_of_bytes(ones(x + places[r] + i, w + i, 2 * (tile.run - i)));
    int64_t sum = 0;
    for (int l = 0; l < LANES / 2; ++l) sum += int64_t(total[l]);
    return sum;
}

// How many of a pixel's inputs have each bit, tile by tile: at least as many as meet a weight. # (tiles, bits)
APART void count_ones(const RareErrors& job, const uint64_t* x, int64_t bits, int32_t* ones) {
    for (const TileWords* tile = job.tiles; tile < job.tiles + job.tile_count; ++tile)
        for (int64_t bit = 0; bit < bits; bit += WIDE, ones += WIDE) {
            u64v shift, sum{};
            for (int l = 0; l < WIDE; ++l) shift[l] = uint64_t(bit + l) % 8;
            for (int64_t r = tile->first_run; r < tile->first_run + tile->runs; ++r)
                for (int64_t i = 0; i < tile->run; ++i)
                    sum += sums_of_bytes((u64v{} + x[bit / 8 * job.x_byte + job.places[r] + i]) >> shift & EACH_BYTE);
            store(ones, __builtin_convertvector(sum, half_i32v));
        }
}

struct Place { int64_t channel, pixel; };

INLINE Place place_of(const RareErrors& job, uint64_t output) {
    const uint64_t outer = output / uint64_t(job.inner), within = output - outer * uint64_t(job.inner);
    return job.is_outermost ? Place{int64_t(outer), int64_t(within)} : Place{int64_t(within), int64_t(outer)};
}

INLINE int64_t groups_of(const RareErrors& job) { return job.x_row / job.x_group; }
INLINE int64_t bits_of_input(const RareErrors& job) { return 8 * job.x_pixel / job.x_byte; }   // in whole bytes

// Where the inputs and weights of an output begin.
struct Operands { const uint64_t *x, *w; };

INLINE Operands operands_of(const RareErrors& job, int64_t row, Place at) {
    const int64_t down = int64_t(uint32_t(at.pixel) / uint32_t(job.out_width)), right = at.pixel - down * job.out_width;
    const uint64_t* x = job.x + row * job.x_row + (down * job.stride_y * job.width + right * job.stride_x) * job.x_pixel;
    const uint64_t* w = job.w + row * job.w_row + at.channel * job.w_output;
    if (job.x_group != job.x_row) x += at.channel / job.group_outputs * job.x_group;
    if (job.w_head) w += at.pixel / job.head_rows * job.w_head;
    return {x, w};
}

// Weight of a code in the sums: negative if the column holds complements.
INLINE int64_t weight_of(const RareErrors& job, Operands of, int64_t tile, const BitPair& pair) {
    const bool is_flipped = job.w_flips && (of.w[job.w_flips + tile] >> pair.weight_bit & 1);
    return is_flipped ? -pair.weight : pair.weight;
}

INLINE int64_t count_of(const RareErrors& job, Operands of, const TileWords& tile, const BitPair& pair) {
    const uint64_t* w = of.w + (pair.weight_bit >> 3) * job.w_byte + tile.first_word;
    int64_t count = 0;
    for (int64_t bit = pair.low_bit; bit < pair.high_bit; ++bit)
        count += popcount(of.x + (bit >> 3) * job.x_byte, bit & 7, w, pair.weight_bit & 7, job.places + tile.first_run, tile)
                 << (bit - pair.low_bit);
    return count;
}

}  // namespace
