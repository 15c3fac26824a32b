// Driven rows: rows of a tile whose input digit is not 0, counted once for each lane of the inputs, tile and digit.
// Numbers: # (problems, tiles, digits, lanes of the inputs rounded up to 16)
#pragma once
#include "block.h"
#include "operand.h"

// The numbers of a block's inputs, one for each single or one for each lane.
struct DrivenOfBlock {
    const int32_t* first;
    bool in_lanes;                     // whether inputs are lanes
    INLINE i32v numbers(int single, int vector) const {
        return in_lanes ? load<i32v>(first + vector * LANES) : i32v{} + first[single];
    }
};

class DrivenRows {
    const ConversionJob& job_;
    const int64_t padded_;
    Scratch<int32_t> numbers_;         // empty if no cycle needs them

    static bool is_needed(const ConversionJob& job) {
        for (const Cycle* c = job.cycles; c < job.cycles + job.cycle_count; ++c)
            if (c->drooped || c->level == LEVEL_BY_DRIVEN || c->sigma == SIGMA_BY_DRIVEN) return true;
        return false;
    }
    int64_t place(int64_t problem, int64_t tile, int64_t digit) const {
        return ((problem * job_.tile_count + tile) * job_.digit_count + digit) * padded_;
    }

public:
    explicit DrivenRows(const ConversionJob& job)
        : job_(job), padded_(round_up(job.inputs.lanes(), GROUP)),
          numbers_(is_needed(job) ? job.inputs.problems * job.tile_count * job.digit_count * padded_ : 0) {}

    DrivenOfBlock of_block(int64_t problem, int64_t tile, int64_t digit, int64_t first) const {
        return {numbers_.data() + place(problem, tile, digit) + first, bool(job_.inputs_in_lanes)};
    }

    // Count the driven rows of all inputs, if they are needed.
    void count(const Operand& inputs) {
        if (!numbers_.data() || asim::refused_bytes) return;
        const int64_t groups = padded_ / GROUP;
        asim::parallel_units(job_.inputs.problems * groups, job_.threads, [&](int64_t unit) {
            const LaneGroup lanes(inputs, unit / groups, unit % groups * GROUP);
            for (int tile = 0; tile < job_.tile_count; ++tile)
                for (int vector = 0; vector < VECTORS; ++vector) count_tile(inputs, lanes, unit / groups, tile, vector);
        });
    }

private:
    static constexpr int MOST_DIGITS = 16, MOST_QUADS = 255;   // of input bits; of which a byte holds the sum

    // The bits of a digit in a byte of each of four integers.
    static uint32_t mask_of(Digit digit, int byte) {
        return (((1u << digit.bits) - 1) << digit.low >> (8 * byte) & 255u) * 0x01010101u;
    }

    void count_tile(const Operand& inputs, const LaneGroup& lanes, int64_t problem, int tile, int vector) {
        u32v bytes[MOST_DIGITS]{}, totals[MOST_DIGITS]{};
        const int digits = job_.digit_count;
        auto flush = [&]() {
            for (int d = 0; d < digits; ++d) {
                const u32v halves = (bytes[d] & 0x00FF00FFu) + ((bytes[d] >> 8) & 0x00FF00FFu);
                totals[d] += (halves & 0xFFFFu) + (halves >> 16);
                bytes[d] = u32v{};
            }
        };
        const bool is_wide = inputs.bytes() > 1;
        int held = 0;
        inputs.each_quad(job_.tiles[tile], tile, 0, [&](int64_t, int64_t offset) {
            const u32v low = lanes.of(offset, vector);
            const u32v high = is_wide ? lanes.of(offset + inputs.byte_step(), vector) : u32v{};
            for (int d = 0; d < digits; ++d) {
                const Digit digit = job_.digits[d];
                const u32v own = (low & mask_of(digit, 0)) | (high & mask_of(digit, 1));
                bytes[d] += ((((own & 0x7F7F7F7Fu) + 0x7F7F7F7Fu) | own) >> 7) & 0x01010101u;
            }
            if (++held % MOST_QUADS == 0) flush();
        });
        flush();
        for (int d = 0; d < digits; ++d)
            store(numbers_.data() + place(problem, tile, d) + lanes.begin + vector * LANES, totals[d]);
    }
};
