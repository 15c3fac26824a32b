// Every conversion of a product, tile by tile, in blocks of singles by lanes, four cycles at a time.
//
// A class of counting (CountPopcount, CountLookUps) takes one side of a product in turn, one unit of up to 16 lanes (or
// singles) after another. Each unit meets all units of the other side. The form of the other side is made beforehand: once for
// weights, at each call for inputs. Threads share out the units in turn and, if these are few, parts of the other side.
#pragma once
#include "block_conversion.h"
#include "operand.h"

template <class Counting> class Conversion {
    static constexpr bool LANES_IN_TURN = Counting::LANES_IN_TURN;
public:
    Conversion(const ConversionJob& job, const uint32_t* form, const Operand& turn, const DrivenRows& driven)
        : turn_(turn), singles_(singles_of(job).lanes()), tiles_(job.tile_count),
          block_(block_size(singles_, Counting::MULTIPLE)), counting_(job, form, turn), conversion_(job, driven, block_),
          counted_(4 * block_ * GROUP) {}

    // Units of a problem: of the side in turn, and of the other side.
    static int64_t turns(const ConversionJob& job) { return units(job, LANES_IN_TURN); }
    static int64_t others(const ConversionJob& job) { return units(job, !LANES_IN_TURN); }

    // Convert one unit in turn with units [low, high) of the other side.
    void run(int64_t problem, int64_t turn, int64_t low, int64_t high) {
        const int64_t size = int64_t(block_) * GROUP;
        const bool digital = conversion_.digital();
        const LaneGroup in_turn(turn_, problem, turn * (LANES_IN_TURN ? GROUP : block_));
        codes_.resize((high - low) * size);
        counts_.resize(digital ? (high - low) * size : 0);
        if (asim::refused_bytes) return;
        for (int tile = 0; tile < tiles_; ++tile) {
            counting_.arrange(in_turn, problem, tile);
            for (int64_t other = low; other < high; ++other) {
                const BlockPlace at = place(problem, turn, other, tile);
                convert(at);
                add(conversion_.sums().codes, at.held, tile == 0, codes_.data() + (other - low) * size);
                if (digital) add(conversion_.sums().counts, at.held, tile == 0, counts_.data() + (other - low) * size);
            }
        }
        for (int64_t other = low; other < high; ++other) {
            const int64_t own = (other - low) * size;
            conversion_.store_outputs(place(problem, turn, other, 0), codes_.data() + own, digital ? counts_.data() + own : nullptr);
        }
    }

private:
    static int64_t units(const ConversionJob& job, bool of_lanes) {
        const int64_t singles = singles_of(job).lanes();
        return of_lanes ? ceil_div(lanes_of(job).lanes(), GROUP) : ceil_div(singles, block_size(singles, Counting::MULTIPLE));
    }

    BlockPlace place(int64_t problem, int64_t turn, int64_t other, int tile) const {
        const int64_t lane = (LANES_IN_TURN ? turn : other) * GROUP, single = (LANES_IN_TURN ? other : turn) * block_;
        return {problem, lane, single, tile, int(singles_ - single < block_ ? singles_ - single : block_)};
    }

    void convert(const BlockPlace& at) {
        conversion_.begin(at);
        counting_.select(LANES_IN_TURN ? at.first_single : at.first_lane, at.held);
        for (int four = 0; four < conversion_.fours(); ++four) {
            if (counting_.is_empty(four) && conversion_.is_quiet(four)) continue;
            counting_.count(four, counted_.data());
            conversion_.add(four, counted_.data());
        }
    }

    // Write a tile's sums, or add them to the sums of earlier tiles.
    static void add(const int32_t* sums, int held, bool is_first, double* out) {
        if (is_first) for (int i = 0; i < held * GROUP; ++i) out[i] = sums[i];
        else for (int i = 0; i < held * GROUP; ++i) out[i] += sums[i];
    }

    const Operand& turn_;
    const int64_t singles_;
    const int tiles_, block_;
    Counting counting_;
    BlockConversion conversion_;
    Scratch<int32_t> counted_;         // counts of four cycles
    Scratch<double> codes_, counts_;   // sums of all tiles. # (units of the other side, singles of a block, 16)
};
