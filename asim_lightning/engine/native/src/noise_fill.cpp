// Fills arrays with standard normals of the noise stream (noise.h), or with bits that say which of them are in a tail.
// A vector holds LANES consecutive positions of a row; the four words of their counters become vectors of four lines.
// Constraints: lines do not overlap; sample ids and positions count modulo 2^32.
// Measured on one core of an EPYC with AVX-512: 1.3e9 normals a second in cache, 0.35e9 in new memory.
#include "blocks.h"
#include "memory.h"
#include "noise.h"
#include "threads.h"

#include <cmath>

namespace {

struct NormalFill {
    float* out;                          // lines of `positions` normals, for each cycle and row
    const int64_t *ids, *offsets;        // sample of each row, and its first position
    int64_t rows, positions, row_step, cycle_step;   // steps from line to line
    int64_t first_cycle, cycles;
    uint32_t key[2], word_base, last_word;
    int32_t threads;
};

// Fill four lines from the counters (sample, first + position, third, last).
void fill(float* const (&lines)[4], uint32_t sample, uint32_t first, uint32_t third, const NormalFill& job) {
    u32v position = u32v{} + first;
    for (int l = 0; l < LANES; ++l) position[l] += uint32_t(l);
    for (int64_t p = 0; p < job.positions; p += LANES, position += LANES) {
        const Words w = philox(u32v{} + sample, position, u32v{} + third, job.last_word, job.key[0], job.key[1]);
        const Pair low = box_muller(w.w0, w.w1), high = box_muller(w.w2, w.w3);
        const f32v four[] = {low.first, low.second, high.first, high.second};
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k)
            if (lines[k]) store_part(lines[k] + p, four[k], 4 * (job.positions - p));
    }
}

struct TailBits {
    int32_t* out;                        // # (positions,): bit k is that of line k
    int64_t positions, lines;
    float limit, sign;                   // a bit is 1 if sign * normal < limit
    uint32_t key[2], last_word;
    int32_t threads;
};

constexpr int64_t SHARE = 1 << 14;       // positions of a unit

// The bits of positions [first, last). A normal is at most as large as its radius, which one word decides: most are not made.
void find_tails(const TailBits& job, int64_t first, int64_t last) {
    const float least = job.limit < 0 ? -job.limit * 0.999f : 0.0f;
    const double largest = std::exp(-0.5 * double(least) * least) * 0x1p32;
    const u32v far = u32v{} + uint32_t(largest < 0x1p32 - 1 ? largest : 0x1p32 - 1);
    const RoundKeys keys(job.key[0], job.key[1]);
    u32v position{};
    for (int l = 0; l < LANES; ++l) position[l] = uint32_t(first + l);
    for (int64_t p = first; p < last; p += LANES, position += LANES) {
        i32v bits{};
        for (int64_t line = 0; line < job.lines; line += 4) {
            const Words w = philox(u32v{}, position, u32v{} + uint32_t(line / 4), job.last_word, keys);
            const u32v radius[] = {w.w0, w.w2}, angle[] = {w.w1, w.w3};
            for (int pair = 0; pair < 2 && line + 2 * pair < job.lines; ++pair) {
                if (!has_bits((u32v)(radius[pair] <= far))) continue;
                const Pair normals = box_muller(radius[pair], angle[pair]);
                bits |= (i32v)(normals.first * job.sign < job.limit) & int32_t(1u << (line + 2 * pair));
                if (line + 2 * pair + 1 < job.lines)
                    bits |= (i32v)(normals.second * job.sign < job.limit) & int32_t(1u << (line + 2 * pair + 1));
            }
        }
        store_part(job.out + p, bits, 4 * (last - p));
    }
}

}  // namespace

ASIM_EXPORT void asim_tail_bits(const TailBits* job) {
    asim::parallel_units(ceil_div(job->positions, SHARE), job->threads, [&](int64_t unit) {
        const int64_t last = (unit + 1) * SHARE;
        find_tails(*job, unit * SHARE, last < job->positions ? last : job->positions);
    });
}

// Consecutive cycles of a tile.
ASIM_EXPORT void asim_fill_normals(const NormalFill* job) {
    const int64_t first_group = job->first_cycle / 4, groups = (job->first_cycle + job->cycles - 1) / 4 - first_group + 1;
    asim::parallel_units(job->rows * groups, job->threads, [&](int64_t unit) {
        const int64_t row = unit / groups, group = first_group + unit % groups;
        float* lines[4];                 // null: the line is not wanted
        for (int k = 0; k < 4; ++k) {
            const int64_t cycle = group * 4 + k - job->first_cycle;
            const bool is_wanted = cycle >= 0 && cycle < job->cycles;
            lines[k] = is_wanted ? job->out + cycle * job->cycle_step + row * job->row_step : nullptr;
        }
        fill(lines, uint32_t(job->ids[row]), uint32_t(job->offsets[row]), job->word_base + uint32_t(group), *job);
    });
}
