// Packs integers into quads, words of four channels' bytes, and reads quads in the order of lanes (im2col), from which
// counting makes planes.
//
// Byte j of a quad is channel 4 n + j of a tile. Each source has its padding around it, as zeros.
// Quads of an operand: # (problems, sources, bytes of an integer, quads of a pixel, padded pixels), uint32
#pragma once
#include "conversion_job.h"
#include "lanes.h"
#include "memory.h"
#include "threads.h"

// The quads of each tile's channels. Tiles with the same channel share its quad.
class QuadsOfTiles {
    Scratch<int64_t> first_, channel_, held_;
public:
    int64_t quads = 0;                  // of a pixel
    QuadsOfTiles(const Tile* tiles, int tile_count, int64_t channels)
        : first_(tile_count), channel_(channels), held_(channels) {
        if (asim::refused_bytes) return;
        for (int t = 0; t < tile_count; ++t) {
            const bool repeats = t > 0 && tiles[t].first == tiles[t - 1].first;
            first_[t] = repeats ? first_[t - 1] : quads;
            for (int64_t c = tiles[t].first; c < tiles[t].last && !repeats; c += 4, ++quads) {
                channel_[quads] = c;
                held_[quads] = tiles[t].last - c < 4 ? tiles[t].last - c : 4;
            }
        }
    }
    int64_t first(int tile) const { return first_[tile]; }
    int64_t channel(int64_t quad) const { return channel_[quad]; }
    int64_t held(int64_t quad) const { return held_[quad]; }
};

class Operand {
    QuadsOfTiles tiles_;
    int64_t line_, padded_, bytes_;
    Scratch<uint32_t> own_;
    const uint32_t* quads_;
public:
    const Side& side;

    // The quads of a side, packed here or given.
    Operand(const Side& given, const Tile* tiles, int tile_count, int threads, const uint32_t* packed = nullptr)
        : tiles_(tiles, tile_count, given.channels), line_(given.width + 2 * given.pad_x),
          padded_((given.height + 2 * given.pad_y) * line_), bytes_(ceil_div(given.bits, 8)),
          own_(packed ? 0 : given.problems * given.sources * bytes_ * tiles_.quads * padded_),
          quads_(packed ? packed : own_.data()), side(given) {
        if (packed || asim::refused_bytes) return;
        asim::parallel_units(side.problems * side.sources * tiles_.quads, threads,
                             [&](int64_t unit) { pack(unit / tiles_.quads, unit % tiles_.quads); });
    }

    static int64_t size_of(const Side& side, const Tile* tiles, int tile_count) {
        const int64_t line = side.width + 2 * side.pad_x, padded = (side.height + 2 * side.pad_y) * line;
        return side.problems * side.sources * ceil_div(side.bits, 8) * QuadsOfTiles(tiles, tile_count, side.channels).quads * padded;
    }
    const uint32_t* quads() const { return quads_; }
    int64_t bytes() const { return bytes_; }
    int64_t byte_step() const { return tiles_.quads * padded_; }   // from a byte of integers to the next
    int64_t problem_step() const { return side.sources * bytes_ * byte_step(); }
    const uint32_t* problem(int64_t number) const { return quads_ + number * problem_step(); }

    // Where a lane of a problem begins in its first quad.
    int64_t place(int64_t lane) const {
        const int64_t pixels = side.rows * side.columns, pixel = lane % pixels;
        return lane / pixels * bytes_ * byte_step() + pixel / side.columns * side.stride_y * line_ +
               pixel % side.columns * side.stride_x;
    }

    static int64_t quads_of(const Tile& tile) { return ceil_div(tile.last - tile.first, 4) * (tile.high - tile.low); }

    // Call take(number, offset of the quad from a lane's place) for each quad of a tile.
    template <class Take> INLINE void each_quad(const Tile& tile, int number, int64_t byte, Take take) const {
        const int64_t chunks = ceil_div(tile.last - tile.first, 4);
        const int64_t base = byte * byte_step() + tiles_.first(number) * padded_;
        int64_t quad = 0;
        for (int64_t e = tile.low; e < tile.high; ++e)
            for (int64_t c = 0; c < chunks; ++c) take(quad++, base + c * padded_ + side.elements[e]);
    }

private:
    void pack(int64_t source, int64_t quad) {
        const int64_t held = tiles_.held(quad);
        const float* data = side.data + source / side.sources * side.problem_step +
                            source % side.sources * side.source_step + tiles_.channel(quad) * side.channel_step;
        for (int64_t byte = 0; byte < bytes_; ++byte)
            for (int64_t y = 0; y < side.height; ++y) {
                const float* from = data + y * side.row_step;
                uint32_t* to = own_.data() + ((source * bytes_ + byte) * tiles_.quads + quad) * padded_ +
                               (y + side.pad_y) * line_ + side.pad_x;
                if (held == 4 && side.pixel_step == 1) pack_line<4, true>(from, held, 8 * byte, to);
                else if (held == 4) pack_line<4, false>(from, held, 8 * byte, to);
                else pack_line<0, false>(from, held, 8 * byte, to);
            }
    }

    template <int HELD, bool CONTIGUOUS>
    void pack_line(const float* from, int64_t held, int64_t shift, uint32_t* __restrict to) const {
        const int64_t pixel = CONTIGUOUS ? 1 : side.pixel_step, n = HELD ? HELD : held;
        for (int64_t x = 0; x < side.width; ++x) {
            uint32_t word = 0;
            for (int64_t j = 0; j < n; ++j) {
                const int32_t number = (int32_t)from[j * side.channel_step + x * pixel];
                word |= ((uint32_t)(number >> shift) & 255u) << (8 * j);
            }
            to[x] = word;
        }
    }
};

// 16 lanes of a problem from `begin` on: plain loads if they are in a row, else look-ups. Lanes past the end repeat the last.
class LaneGroup {
    i32v places_[VECTORS];
    const uint32_t* first_;
    bool in_a_row_ = true;
public:
    const int64_t begin;
    LaneGroup(const Operand& operand, int64_t problem, int64_t begin) : begin(begin) {
        const int64_t last = operand.side.lanes() - 1, first = operand.place(begin);
        first_ = operand.problem(problem) + first;
        for (int l = 0; l < GROUP; ++l) {
            const int64_t lane = begin + l;
            const int64_t place = operand.place(lane < last ? lane : last) - first;
            places_[l / LANES][l % LANES] = (int32_t)place;
            in_a_row_ = in_a_row_ && place == l;
        }
    }
    // A vector of the quad at an offset from each lane's place.
    INLINE u32v of(int64_t offset, int vector) const {
        if (in_a_row_) return load<u32v>(first_ + offset + vector * LANES);
        return look_up<u32v>(first_ + offset, places_[vector]);
    }
};
