// Wrong conversions of converters with errors: what Python asks for (native/tails.py), and the classes that answer.
//
// A code is certain where its normal stays within the converter's margin, so that only conversions whose normal passes it
// are made: engine/tails says how they are found. Counts are popcounts of bit planes: those of weights are packed once,
// those of the inputs that a block of pixels meets when the block is worked out, tile by tile.
#pragma once
#include "conversion_job.h"

struct TileOfPlanes { int64_t channel_low, channel_high, element_low, element_high; };

// Planes of weights, two's complement. Columns are padded to a multiple of 16, and words to those of the largest tile.
struct PlanesOfWeights {
    int64_t bytes;                    // size of this structure
    const float* w;                   // (matrices, columns, channels, elements)
    uint64_t* out;                    // (matrices, tiles, weight bits, padded columns, words)
    int32_t* ones;                    // of each plane. (matrices, tiles, weight bits, padded columns)
    const TileOfPlanes* tiles;
    int64_t matrices, columns, channels, elements, tile_count, weight_bits, words;
    int32_t threads;
};

// Cycles that convert alike. A count c has code c * codes + d without noise and converter, low <= d <= high.
struct TailKind { float sigma, low, high, codes; };    // sigma: the largest of any count

// Cycles of a kind that one weight bit meets.
struct TailGroup { int32_t kind, weight_bit, first, cycles; };   // first place in `numbers`

struct TailsJob {
    int64_t bytes;                    // size of this structure
    const uint8_t* x;                 // padded bytes of inputs, as asim_pack_inputs writes them
    const int64_t* steps;             // of each kernel element in x
    const uint64_t* w;
    const int32_t* ones;
    const TileOfPlanes* tiles;
    const Cycle* cycles;
    const int32_t* numbers;           // of cycles, group by group
    const TailGroup* groups;          // kind by kind
    const TailKind* kinds;
    const Digit* digits;
    const float *levels, *sigmas;     // tables of the cycles
    const double* tails;              // of the normal, at multiples of 1 / tail_steps. (tail_count + 1)
    const float *inl_low, *inl_high;  // least and largest INL of codes below a bound, or null. (4, converters' places)
    const int64_t *ids, *offsets;     // (batch)
    void* out;                        // float32 or float64
    Converters converters;
    int64_t batch, macros, pixels, columns, block_pixels, tile_count, group_count, kind_count, digit_count;
    int64_t words, input_bits, tail_steps, tail_count, places;   // places of all converters
    int64_t x_row, x_macro, x_line, x_right, x_byte, out_width;  // steps in bytes
    int64_t matrix_row, matrix_macro;                            // steps in matrices of weights
    int64_t out_row, out_macro, out_column, out_pixel, rows, divisor;   // an output is sum * rows / divisor
    float slack, top;                 // rounding of a value; largest code
    uint32_t key[2], last_word;
    int32_t is_double, threads;
};
