// The job that Python passes: plain structures, whose fields passes.py reads here. Nothing here depends on the processor.
//
// A product consists of *problems*: independent matrix products (groups of a convolution, or sample and head of a product of
// two activations). In a problem every *lane* of the inputs (an output pixel, or a row of a matrix) meets every lane of the
// weights (an output channel) in one output. Rows of the summed dimension are divided into tiles.
#pragma once
#include <cstdint>

// Rows that a column sums: channels [first, last) of kernel elements [low, high).
struct Tile { int32_t first, last, low, high; };

// Consecutive bits of an integer that are used together in a conversion.
struct Digit { int32_t low, bits; };

// How a count becomes a level: COUNT keeps it (a digital cycle); count * gain; (count * gain + count * rest) * top, which
// equals a division to the bit; or a table. Where cells differ, REAL: clamp((count - low) / divisor, least, most) * factor.
// BY_DRIVEN: a table of counts for each number of driven rows, which are rows of the tile whose input digit is not 0.
enum Level : int32_t { COUNT, PROPORTIONAL, QUOTIENT, LEVEL_TABLE, REAL, LEVEL_BY_DRIVEN };
// Sigma: none; constant; sqrt(a + b / (c * count + 1)); or a table, also by driven rows. Of a REAL level, SHRINKING is
// sqrt(a + b / (clamp(count / full, 0, 1) * c + 1)) * constant.
enum Sigma : int32_t { SILENT, CONSTANT, SHRINKING, SIGMA_TABLE, SIGMA_BY_DRIVEN };
enum VoteRule : int32_t { MEAN, MODE, MEDIAN };

// One conversion of a column: which digits meet, how the ADC converts their count, and what a code adds to the sums.
struct Cycle {
    int32_t weight_bit, digit;        // a bit of the weights; number of a digit of the inputs
    int32_t level, sigma, table;      // Level, Sigma, first place in the tables
    int32_t votes, weight;            // reads; integer weight of a code, or of a digital count
    int32_t silent;                   // whether a count of 0 has sigma 0, and the same level with any driven rows
    int32_t counts;                   // counts for a number of driven rows, in tables by driven rows
    int32_t drooped;                  // whether the table of levels has a factor of the level for each number of driven rows
    int32_t digital;                  // whether a column counts ones, even if cells differ
    float gain, rest, top, constant, a, b, c;
    float low, divisor, least, most, factor, full;   // of a REAL level
};

// One side of a product: integers, as float32.
struct Side {
    const float* data;
    int64_t problems, sources, channels, height, width;   // sources are images of a problem
    int64_t problem_step, source_step, channel_step, row_step, pixel_step;  // steps in data
    int64_t pad_y, pad_x;
    int64_t rows, columns, stride_y, stride_x;            // lanes of a source: pixels where a kernel begins
    const int64_t* elements;                              // offset of each kernel element in a padded source
    int64_t bits;
    int64_t lanes() const { return sources * rows * columns; }   // of a problem
};

// Where an output is in its sample, and which random words its conversions use.
struct Outputs {
    const int64_t *ids, *offsets;     // for each row of the batch: sample id, and number of earlier rows of the sample
    int64_t problems_a_row, inputs_a_row;
    int64_t problem_step, input_step, output_step, size;  // from one to the next in a row; outputs of a row
};

// Errors of a chip's converters; null if all converters are ideal.
// v = level * gain + offset + sigma * z; threshold c (from code c - 1 to c) is at c - 1/2 + inl[c].
// All arrays but tables: # (tiles, groups or heads, weight bits, output columns rounded up to 16)
struct Converters {
    const float *gain, *offset;
    const int32_t* curve;             // number of a converter's table, or null: no INL
    const float* tables;              // (tables, nibbles, 16): inl[c] is the sum of entries over the nibbles of c; or, if
    int32_t nibbles, length;          // nibbles is 0, (tables, length): inl[c] itself
    int32_t passes, weight_bits;      // most codes by which INL moves a code; weight bits of all arrays by place
    uint8_t* quiet;                   // (tiles, groups or heads, fours of cycles, output columns rounded up to 16):
};                                    // whether a count of 0 gives code 0 in all of the four

// Cells that differ; units is null if they are equal. A column sums contents, in steps of 2^-12, instead of ones.
struct Cells {
    const int16_t* units;             // (tiles, groups or heads, output columns, weight bits, fours of quads, 16 rows)
    const float* gain;                // of counts, as the arrays of Converters; null: all are 1
    int32_t bytes;                    // of the largest sum of four rows, at least 2
};

enum CountingWay : int32_t { POPCOUNT, LOOK_UPS, REAL_COUNTS };

struct ConversionJob {
    Side inputs, weights;
    Outputs outputs;
    Converters converters;
    Cells cells;
    const Tile* tiles;
    const Cycle* cycles;              // a multiple of four, filled up with cycles of weight 0
    const Digit* digits;              // of the inputs
    const float *levels, *sigmas;     // tables
    const int32_t* flips;             // bit b: the column of weight bit b holds complements, whose codes count negatively; null: none.
                                      // (problems of the weights, tiles, output columns rounded up to 16)
    uint32_t* weight_form;            // the weights' form, by asim_weight_form
    double* out;                      // (batch, outputs): sums of inputs, to which (codes * scale) / divisor + digital counts are added
    double scale, divisor;
    uint32_t key[2], last_word;
    int32_t tile_count, cycle_count, schedule_cycles, digit_count;
    int32_t counting, inputs_in_lanes, vote_rule, threads;
    int64_t form_words, refused;      // results: words of the weights' form; bytes of memory that the system refused, or 0
};
