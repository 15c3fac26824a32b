// Conversions whose levels are given: noise, code, votes, shift-add. Counts come of a float product then, and levels and
// sigmas of the column's own functions in torch.
//
// Lanes are outputs of a row of the batch, a vector at a time; registers hold the sum of a vector's codes in double. Four
// cycles take the four words of one random counter. Codes are floats: whole numbers, or (an ideal converter) real ones.
// Constraints: codes and what is voted are exact in float32; sums of codes are exact in double.
#include "convert.h"
#include "export.h"
#include "threads.h"

namespace {

constexpr int64_t CHUNK = 1024;        // outputs of a unit of work

class LevelConversion {
public:
    explicit LevelConversion(const LevelsJob& job) : job_(job), keys_(job.key[0], job.key[1]) {
        for (int c = 0; c < job.cycle_count; ++c) most_votes_ = job.cycles[c].votes > most_votes_ ? job.cycles[c].votes : most_votes_;
        reads_.resize(4 * most_votes_ * LANES);
    }

    // Convert outputs [first, last) of a row.
    void run(int64_t row, int64_t first, int64_t last) {
        for (; first < last; first += LANES) {
            held_ = last - first < LANES ? last - first : LANES;
            if (job_.converter_of) converters_ = part<i32v>(job_.converter_of + first);
            double* codes = job_.codes + row * job_.outputs + first;
            double sums[LANES] = {};   // cycle after cycle is added to them: real codes are rounded as in the reference
            std::memcpy(sums, codes, held_ * sizeof(double));
            for (int four = job_.first_cycle / 4; four * 4 < job_.first_cycle + job_.cycle_count; ++four) add(row, first, four, sums);
            std::memcpy(codes, sums, held_ * sizeof(double));
        }
    }

private:
    // The numbers of a vector, and zeros where it passes the end of a row.
    template <class V, class T> V part(const T* from) const {
        V v{};
        std::memcpy(&v, from, held_ * sizeof(T));
        return v;
    }

    // Add the codes of those of four cycles that the job has.
    void add(int64_t row, int64_t first, int four, double* sums) {
        const int low = four * 4 > job_.first_cycle ? 0 : job_.first_cycle - four * 4;
        const int after = job_.first_cycle + job_.cycle_count - four * 4, high = after < 4 ? after : 4;
        int votes = 1;
        for (int k = low; k < high; ++k) votes = cycle(four, k).votes > votes ? cycle(four, k).votes : votes;
        for (int vote = 0; vote < votes; ++vote) {
            f32v normals[4]{};
            if (job_.sigmas) draw(row, first, four, vote, normals);
            for (int k = low; k < high; ++k)
                if (vote < cycle(four, k).votes) store(reads_.data() + (vote * 4 + k) * LANES, read(row, first, four, k, normals[k]));
        }
        for (int k = low; k < high; ++k) {
            const LevelCycle& own = cycle(four, k);
            const float* reads = reads_.data() + k * LANES;
            double codes[LANES] = {};
            if (job_.vote_rule == MEAN)
                for (int vote = 0; vote < own.votes; ++vote) add_codes(load<f32v>(reads + vote * 4 * LANES), codes);
            else add_codes(voted<f32v>(reads, 4 * LANES, own.votes, job_.vote_rule), codes);
            for (int l = 0; l < LANES; ++l) sums[l] += codes[l] * own.weight;
        }
    }
    const LevelCycle& cycle(int four, int k) const { return job_.cycles[four * 4 + k - job_.first_cycle]; }
    static void add_codes(f32v codes, double* sums) {
        for (int l = 0; l < LANES; ++l) sums[l] += codes[l];
    }

    void draw(int64_t row, int64_t first, int four, int vote, f32v (&normals)[4]) const {
        u32v positions;
        for (int l = 0; l < LANES; ++l) positions[l] = uint32_t(job_.offsets[row] * job_.outputs + first + l);
        const Words w = philox(u32v{} + uint32_t(job_.ids[row]), positions, u32v{} + uint32_t(job_.word_base + four),
                               job_.last_word + vote, keys_);
        const Pair low = box_muller(w.w0, w.w1), high = box_muller(w.w2, w.w3);
        normals[0] = low.first, normals[1] = low.second, normals[2] = high.first, normals[3] = high.second;
    }

    f32v read(int64_t row, int64_t first, int four, int k, f32v normal) const {
        const LevelCycle& own = cycle(four, k);
        const int64_t at = (row * job_.cycle_count + four * 4 + k - job_.first_cycle) * job_.outputs + first;
        const StaticAdc<LaneConverters> adc{job_.low, job_.top, job_.converters, {0, converters_ + own.converter}};
        f32v value = part<f32v>(job_.levels + at);
        if (job_.converter_of) value = adc.input(value, 0, 0);
        if (job_.sigmas) value += (job_.one_sigma ? all(*job_.sigmas) : part<f32v>(job_.sigmas + at)) * normal;
        if (job_.real) return smaller(larger(value, all(job_.low)), all(job_.top));
        if (job_.converter_of) return to_float(adc.code(value, 0, 0));
        return to_float(nearest(smaller(larger(value, all(job_.low)), all(job_.top))));
    }

    const LevelsJob& job_;
    const RoundKeys keys_;
    Scratch<float> reads_;             // # (votes, 4, LANES)
    int most_votes_ = 1;
    int64_t held_ = 0;
    i32v converters_{};
};

}  // namespace

// Bytes of a LevelsJob, which both sides must agree on.
ASIM_EXPORT int64_t asim_sizeof_levels_job() { return sizeof(LevelsJob); }

// Convert given levels. 0: done; 1: another layout of the job.
ASIM_EXPORT int32_t asim_convert_levels(const LevelsJob* job) {
    if (job->bytes != int64_t(sizeof(LevelsJob))) return 1;
    const int64_t chunks = ceil_div(job->outputs, CHUNK);
    asim::parallel_for(job->rows * chunks, job->threads, [&](asim::Shares& shares) {
        LevelConversion conversion(*job);
        for_units(shares, [&](int64_t unit) {
            const int64_t first = unit % chunks * CHUNK, last = first + CHUNK;
            conversion.run(unit / chunks, first, last < job->outputs ? last : job->outputs);
        });
    });
    return 0;
}
