// Adds the errors of the wrong conversions to exact outputs, and packs the operands of which their counts are made;
// engine/events says what is drawn, and events/stream defines the draws.
//
// A word holds one byte of 8 consecutive channels. The words of a tile lie at fixed places from the first pixel that an
// output meets (x has its padding of zeros), and in a row in w, where channels of other tiles are 0. The count of a
// candidate is the popcount of a weight bit and an input bit over the tile's words: bits are shifted to the low ends of
// their bytes, masked, and added up. Candidates are few, so that vectors serve the draws alone: AHEAD of them.
//
// Measured on one core of an EPYC with AVX-512, 3x3, 64 channels, 255 rows: 0.1 us a candidate of one image, 0.2 us where
// outputs of 16 images are out of cache; inputs are packed at 4e9 bytes a second.
#include "blocks.h"
#include "export.h"
#include "noise.h"
#include "threads.h"
#include "uniforms.h"

namespace {

struct InputPacking {
    int64_t bytes;                                        // size of this structure
    const void* x;                                        // (batch, height, width, groups, channels), bytes or float32
    uint8_t* out;                                         // (batch, groups, padded height, padded width, planes, padded channels)
    int64_t batch, height, width, groups, channels, pad_y, pad_x, planes;
    int32_t is_bytes, flipped, threads;                   // bits of each byte that are turned over
};

struct WordOfTile { int64_t first, element, low, high; }; // first channel, kernel element, and the tile's own channels

struct WeightPacking {
    int64_t bytes;
    const float* w;                                       // (outputs, channels, elements)
    uint64_t* out;                                        // (outputs, planes, words)
    const WordOfTile* table;
    int64_t outputs, channels, elements, planes, words;
    int32_t threads;
};

struct Tile { int64_t first_word, first_run, runs, run; };     // words of w; runs of x, of so many words
struct Cycle { int64_t weight_bit, low_bit, high_bit, weight; };  // input bits low..high-1; weight of a code in the sums
struct Kind {                                             // cycles that convert alike
    int64_t first_cycle, cycles, draws, first_error, errors, first_share;
    double factor;                                        // 1 / log(1 - rate)
};

struct Events {
    int64_t bytes;
    const Tile* tiles;
    const int64_t* places;                                // of the runs of all tiles in x
    const Kind* kinds;
    const Cycle* cycles;
    const int64_t* errors;                                // of a code; kinds' one after the other
    const double* shares;                                 // running shares of the errors. (counts, errors) a kind
    int64_t tile_count, kind_count, rows, divisor;        // an output is sum * rows / divisor
    int64_t positions, block_outputs, blocks;             // outputs of a row of the batch, of a block; blocks of a row
    int64_t is_outermost, inner, out_width;               // outputs are ordered (channel, pixel), or (pixel, channel)
    int64_t group_outputs, head_rows, width, stride_y, stride_x;
    int64_t x_row, x_group, x_byte, x_pixel;              // steps in words
    int64_t w_row, w_head, w_output, w_byte;
    void* out;                                            // float32 or float64. (batch, positions)
    const int64_t *ids, *offsets;                         // (batch)
    const uint64_t *x, *w;
    int64_t batch, out_channel, out_pixel;                // steps of outputs
    uint32_t key[2], last_word;
    int32_t is_double, threads;
};

constexpr int AHEAD = 16;                                 // draws that are made at once
constexpr int64_t MOST_OUTPUTS = 4096;                    // of a block
constexpr uint64_t EACH_BYTE = 0x0101010101010101u, EACH_PAIR = 0x0001000100010001u, LOW_BYTES = 0x00FF00FF00FF00FFu;

struct Draws { double gaps[AHEAD], chances[AHEAD]; };     // gaps are to be rounded down

// Draws third .. third + AHEAD - 1 of a block; not inlined, so that its loops keep the registers.
APART void draw(Draws& draws, double factor, uint32_t sample, uint32_t number, uint32_t third, const Events& job) {
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

// Popcount, at most 65,535, of a weight bit and an input bit over the words of a tile. Its own function, so that the loop
// keeps the registers.
APART int64_t popcount(const uint64_t* x, int64_t x_bit, const uint64_t* w, int64_t w_bit, const int64_t* places, const Tile& tile) {
    u64v pairs{};                                         // sums over two bytes
    for (int64_t r = 0; r < tile.runs; ++r, w += tile.run)
        for (int64_t i = 0; i < tile.run; i += LANES / 2) {
            const int64_t held = 2 * (tile.run - i);
            const u64v both = (load_part<u64v>(x + places[r] + i, held) >> x_bit) & (load_part<u64v>(w + i, held) >> w_bit) & EACH_BYTE;
            pairs += (both + (both >> 8)) & LOW_BYTES;
        }
    uint64_t sum = 0;
    for (int l = 0; l < LANES / 2; ++l) sum += pairs[l];
    return int64_t((sum * EACH_PAIR) >> 48);
}

// The error that a uniform draws from the running shares of a count's.
INLINE int64_t error(const int64_t* errors, int64_t held, const double* shares, double chance) {
    int64_t which = 0;
    while (which < held && chance >= shares[which]) ++which;
    return errors[which];
}

struct Place { int64_t channel, pixel; };

INLINE Place place_of(const Events& job, uint64_t output) {
    const uint64_t outer = output / uint64_t(job.inner), within = output - outer * uint64_t(job.inner);
    return job.is_outermost ? Place{int64_t(outer), int64_t(within)} : Place{int64_t(within), int64_t(outer)};
}

// Error of a candidate, in units of rows / divisor.
INLINE int64_t candidate(const Events& job, const Kind& kind, int64_t row, uint64_t output, uint64_t rest, double chance) {
    const uint64_t tile_number = rest / uint64_t(kind.cycles);
    const Tile& tile = job.tiles[tile_number];
    const Cycle cycle = job.cycles[uint64_t(kind.first_cycle) + rest - tile_number * uint64_t(kind.cycles)];
    const Place at = place_of(job, output);
    const int64_t down = int64_t(uint64_t(at.pixel) / uint64_t(job.out_width)), right = at.pixel - down * job.out_width;
    const uint64_t* x = job.x + row * job.x_row + (down * job.stride_y * job.width + right * job.stride_x) * job.x_pixel;
    const uint64_t* w = job.w + row * job.w_row + at.channel * job.w_output + (cycle.weight_bit >> 3) * job.w_byte + tile.first_word;
    if (job.x_group != job.x_row) x += at.channel / job.group_outputs * job.x_group;
    if (job.w_head) w += at.pixel / job.head_rows * job.w_head;
    int64_t count = 0;
    for (int64_t bit = cycle.low_bit; bit < cycle.high_bit; ++bit)
        count += popcount(x + (bit >> 3) * job.x_byte, bit & 7, w, cycle.weight_bit & 7, job.places + tile.first_run, tile)
                 << (bit - cycle.low_bit);
    const double* shares = job.shares + kind.first_share + count * kind.errors;
    return error(job.errors + kind.first_error, kind.errors, shares, chance) * cycle.weight;
}

template <class T> void add(const Events& job, T* out, int64_t first, int64_t outputs, int64_t* sums) {
    for (int64_t o = 0; o < outputs; ++o) {
        constexpr int64_t MANY = 8;                       // zeros are passed over so many at a time
        int64_t any = o + MANY > outputs;
        for (int64_t i = 0; !(o + MANY > outputs) && i < MANY; ++i) any |= sums[o + i];
        if (!any) o += MANY - 1;
        if (!any || !sums[o]) continue;
        const Place at = place_of(job, uint64_t(first + o));
        T& output = out[at.channel * job.out_channel + at.pixel * job.out_pixel];
        output = T((double(output) * double(job.divisor) + double(sums[o] * job.rows)) / double(job.divisor));
        sums[o] = 0;
    }
}

// One block; sums are 0 before and after.
void add_block(const Events& job, int64_t row, int64_t block, int64_t* sums) {
    const int64_t first = block * job.block_outputs, left = job.positions - first;
    const int64_t outputs = left < job.block_outputs ? left : job.block_outputs;
    const uint32_t sample = uint32_t(job.ids[row]), number = uint32_t(job.offsets[row] * job.blocks + block);
    Draws draws;
    for (int64_t k = 0; k < job.kind_count; ++k) {
        const Kind& kind = job.kinds[k];
        const uint64_t per_output = uint64_t(kind.cycles * job.tile_count), end = uint64_t(outputs) * per_output;
        uint64_t place = 0;
        for (int64_t i = 0; i < kind.draws; ++i, ++place) {
            if (i % AHEAD == 0) draw(draws, kind.factor, sample, number, uint32_t(k << 24) + uint32_t(i), job);
            const double gap = draws.gaps[i % AHEAD];
            if (gap >= double(end - place)) break;
            place += uint64_t(gap);
            const uint64_t output = place / per_output;
            sums[output] += candidate(job, kind, row, uint64_t(first) + output, place - output * per_output, draws.chances[i % AHEAD]);
        }
    }
    const int64_t at = row * job.positions;
    if (job.is_double) add(job, static_cast<double*>(job.out) + at, first, outputs, sums);
    else add(job, static_cast<float*>(job.out) + at, first, outputs, sums);
}

template <class T> void pack_pixel(const T* from, uint8_t* to, int64_t channels, int shift, int flipped) {
    for (int64_t c = 0; c < channels; ++c) to[c] = uint8_t((int32_t(from[c]) >> shift) ^ flipped);
}

// One line of the padded input.
template <class T> void pack_line(const InputPacking& job, const T* x, int64_t row, int64_t group, int64_t line, uint8_t* out) {
    const int64_t padded = (job.channels + 7) / 8 * 8, pixel = job.planes * padded, y = line - job.pad_y;
    if (y < 0 || y >= job.height || padded != job.channels) std::memset(out, 0, size_t((job.width + 2 * job.pad_x) * pixel));
    if (y < 0 || y >= job.height) return;
    std::memset(out, 0, size_t(job.pad_x * pixel));
    std::memset(out + (job.pad_x + job.width) * pixel, 0, size_t(job.pad_x * pixel));
    x += ((row * job.height + y) * job.width * job.groups + group) * job.channels;
    out += job.pad_x * pixel;
    if (pixel == job.channels && job.groups == 1) {       // pixels lie side by side
        pack_pixel(x, out, job.width * pixel, 0, job.flipped);
        return;
    }
    for (int64_t p = 0; p < job.width; ++p)
        for (int64_t plane = 0; plane < job.planes; ++plane)
            pack_pixel(x + p * job.groups * job.channels, out + p * pixel + plane * padded, job.channels, int(8 * plane), job.flipped);
}

}  // namespace

// 0, or 1 where the caller's structure has another size.
ASIM_EXPORT int asim_pack_inputs(const InputPacking* job) {
    if (job->bytes != sizeof *job) return 1;
    const int64_t lines = job->height + 2 * job->pad_y;
    const int64_t size = (job->width + 2 * job->pad_x) * job->planes * ((job->channels + 7) / 8 * 8);
    asim::parallel_for(job->batch * job->groups * lines, job->threads, [&](asim::Shares& shares) {
        for (int64_t low, high; shares.next(low, high);) for (int64_t unit = low; unit < high; ++unit) {
            const int64_t row = unit / lines / job->groups, group = unit / lines % job->groups, line = unit % lines;
            if (job->is_bytes) pack_line(*job, static_cast<const uint8_t*>(job->x), row, group, line, job->out + unit * size);
            else pack_line(*job, static_cast<const float*>(job->x), row, group, line, job->out + unit * size);
        }
    });
    return 0;
}

ASIM_EXPORT int asim_pack_weights(const WeightPacking* job) {
    if (job->bytes != sizeof *job) return 1;
    const int64_t planes = job->planes, elements = job->elements;
    asim::parallel_for(job->outputs * planes, job->threads, [&](asim::Shares& shares) {
        for (int64_t low, high; shares.next(low, high);)
            for (int64_t unit = low; unit < high; ++unit) {
                const float* w = job->w + unit / planes * job->channels * elements;
                const int shift = int(8 * (unit % planes));
                for (int64_t i = 0; i < job->words; ++i) {
                    const WordOfTile part = job->table[i];
                    const float* from = w + part.first * elements + part.element;
                    uint64_t word = 0;
                    if (part.high - part.low < 8)
                        for (int64_t k = part.low - part.first; k < part.high - part.first; ++k)
                            word |= uint64_t(uint8_t(int32_t(from[k * elements]) >> shift)) << (8 * k);
                    else
#pragma GCC unroll 8
                        for (int k = 0; k < 8; ++k) word |= uint64_t(uint8_t(int32_t(from[k * elements]) >> shift)) << (8 * k);
                    job->out[unit * job->words + i] = word;
                }
            }
    });
    return 0;
}

ASIM_EXPORT int asim_add_events(const Events* job) {
    if (job->bytes != sizeof *job || job->block_outputs > MOST_OUTPUTS) return 1;
    asim::parallel_for(job->batch * job->blocks, job->threads, [&](asim::Shares& shares) {
        int64_t sums[MOST_OUTPUTS];
        std::memset(sums, 0, size_t(job->block_outputs) * sizeof *sums);
        for (int64_t low, high; shares.next(low, high);)
            for (int64_t unit = low; unit < high; ++unit) add_block(*job, unit / job->blocks, unit % job->blocks, sums);
    });
    return 0;
}
