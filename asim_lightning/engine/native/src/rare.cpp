// Adds the errors of the wrong conversions to exact outputs. engine/rare says which conversions are drawn, and rare/stream
// defines the draws. Candidates are few, so vectors serve only the draws, AHEAD at once, and the conversions by converters
// that differ, 16 at once.
//
// Measured on one core of an EPYC with AVX-512, 3x3, 64 channels, 255 rows: 0.1 us a candidate of one image, 0.2 us if
// outputs of 16 images are out of cache.
#include <utility>

#include "rare_apart.h"
#include "threads.h"

namespace {

// The error that a uniform draws from the running shares of a count.
INLINE int64_t error(const int64_t* errors, int64_t held, const double* shares, double chance) {
    int64_t which = 0;
    while (which < held && chance >= shares[which]) ++which;
    return errors[which];
}

// Error of a candidate of equal converters, in units of rows / divisor.
INLINE int64_t candidate(const RareErrors& job, const Kind& kind, int64_t row, uint64_t output, uint64_t rest, double chance) {
    const uint64_t tile = rest / uint64_t(kind.cycles);
    const BitPair& cycle = job.cycles[uint64_t(kind.first_cycle) + rest - tile * uint64_t(kind.cycles)];
    const Operands of = operands_of(job, row, place_of(job, output));
    const int64_t count = count_of(job, of, job.tiles[tile], cycle);
    const double* shares = job.shares + kind.first_share + count * kind.errors;
    return error(job.errors + kind.first_error, kind.errors, shares, chance) * weight_of(job, of, int64_t(tile), cycle);
}

template <class T> void add(const RareErrors& job, T* out, int64_t first, int64_t outputs, int64_t* sums) {
    for (int64_t o = 0; o < outputs; ++o) {
        constexpr int64_t MANY = 8;                       // zeros that are passed over at a time
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
void add_block(const RareErrors& job, int64_t row, int64_t block, int64_t* sums) {
    const int64_t first = block * job.block_outputs, left = job.positions - first;
    const int64_t outputs = left < job.block_outputs ? left : job.block_outputs;
    const uint32_t sample = uint32_t(job.ids[row]), number = uint32_t(job.offsets[row] * job.blocks + block);
    Draws draws;
    for (int64_t k = 0; k < job.kind_count; ++k) {
        const Kind& kind = job.kinds[k];
        const auto drawn = [&](int64_t i) INLINE_LAMBDA {
            if (i % AHEAD == 0) draw(draws, kind.factor, sample, number, uint32_t(k << 24) + uint32_t(i), job);
            return std::pair{draws.gaps[i % AHEAD], draws.chances[i % AHEAD]};
        };
        if (job.apart.hazards) {
            KindApart apart(job, k, row, first, outputs, sums);
            apart.is_silent() ? apart.make_all() : apart.draw_all(drawn);
            continue;
        }
        const uint64_t per_output = uint64_t(kind.cycles * job.tile_count), end = uint64_t(outputs) * per_output;
        uint64_t place = 0;
        for (int64_t i = 0; i < kind.draws; ++i, ++place) {
            const auto [gap, chance] = drawn(i);
            if (gap >= double(end - place)) break;
            place += uint64_t(gap);
            const uint64_t output = place / per_output;
            sums[output] += candidate(job, kind, row, uint64_t(first) + output, place - output * per_output, chance);
        }
    }
    const int64_t at = row * job.positions;
    if (job.is_double) add(job, static_cast<double*>(job.out) + at, first, outputs, sums);
    else add(job, static_cast<float*>(job.out) + at, first, outputs, sums);
}

}  // namespace

ASIM_EXPORT void asim_add_rare_errors(const RareErrors* job) {
    if (const Apart& apart = job->apart; apart.ones) {
        const int64_t groups = groups_of(*job), bits = bits_of_input(*job);
        asim::parallel_units(job->batch * groups * apart.pixels, job->threads, [&](int64_t unit) {
            const int64_t row = unit / (groups * apart.pixels), group = unit / apart.pixels % groups;
            const Place at{group * job->group_outputs, unit % apart.pixels};
            count_ones(*job, operands_of(*job, row, at).x, bits, apart.ones + unit * job->tile_count * bits);
        });
    }
    // units in this order meet the larger operand again while it is in a near cache
    const bool by_rows = job->w_row || job->x_row > job->apart.columns * job->w_output;
    asim::parallel_for(job->batch * job->blocks, job->threads, [&](asim::Shares& shares) {
        int64_t sums[MOST_OUTPUTS];
        std::memset(sums, 0, size_t(job->block_outputs) * sizeof *sums);
        for_units(shares, [&](int64_t unit) {
            if (by_rows) add_block(*job, unit / job->blocks, unit % job->blocks, sums);
            else add_block(*job, unit % job->batch, unit / job->batch, sums);
        });
    });
}
