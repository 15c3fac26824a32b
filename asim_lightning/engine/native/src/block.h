// A block of conversions: up to 16 singles by 16 lanes. Which side of a product has the lanes, and how many singles a block has.
//
// Counts of a cycle in a block: # (singles of a block, 16 lanes), int32; counts of four cycles follow one another.
#pragma once
#include "conversion_job.h"
#include "lanes.h"
#include "memory.h"

constexpr int BLOCK = 16;                 // most singles of a block
constexpr int CELLS = BLOCK * GROUP;      // conversions of a cycle

INLINE const Side& lanes_of(const ConversionJob& job) { return job.inputs_in_lanes ? job.inputs : job.weights; }
INLINE const Side& singles_of(const ConversionJob& job) { return job.inputs_in_lanes ? job.weights : job.inputs; }

// Singles of a block if they are divided evenly, a multiple of a number.
INLINE int block_size(int64_t singles, int multiple) {
    return int(round_up(ceil_div(singles, ceil_div(singles, BLOCK)), multiple));
}

template <class Words> int64_t most_words(const ConversionJob& job, Words words_of) {
    int64_t most = 0;
    for (int t = 0; t < job.tile_count; ++t) {
        const int64_t words = words_of(job.tiles[t]);
        most = words > most ? words : most;
    }
    return most;
}
