// A block of conversions, from counts to sums of codes, whatever the way of counting.
//
// Each thread has its own sums of a tile, normals, reads and random counters of the block, in its first two caches (8 kB, and
// 4 kB a vote). With votes, codes are written before they are added up.
#pragma once
#include "convert.h"

// Four cycles, and the way to convert them.
struct Four {
    ByteCodes bytes;
    Plain plain;
    const Cycle* cycles;
    int32_t votes;                     // most reads of a cycle
    bool noisy, digital, quiet;        // quiet: a count of 0 gives code 0 in all four

    Four(const ConversionJob& job, const Cycle* four, int64_t most_count)
        : bytes(four, job.levels, most_count), plain(four), cycles(four), votes(1), noisy(false), digital(false), quiet(true) {
        for (const Cycle* c = four; c < four + 4; ++c) {
            noisy = noisy || c->sigma != SILENT;
            digital = digital || c->level == COUNT;
            quiet = quiet && c->silent && (c->level == COUNT || code_of_nothing(job, *c) == 0);
            votes = c->votes > votes ? c->votes : votes;
        }
    }
    static int32_t code_of_nothing(const ConversionJob& job, const Cycle& cycle) {
        int32_t code = 0;
        with_level(cycle, job.levels, [&](auto level) { code = IdealAdc{cycle.top}.code(level(i32v{}), 0, 0)[0]; });
        return code;
    }
};

// The converter of a cycle at the first output of a tile and problem, in the arrays of converters and cells.
INLINE int64_t converter_of(const ConversionJob& job, int64_t tile, int64_t problem, const Cycle& cycle) {
    const int64_t macros = job.outputs.problems_a_row;
    return first_converter(job.converters, macros, job.weights.lanes(), tile, problem % macros, cycle.weight_bit);
}

// Place of a block: single m is first_single + m, lane l is first_lane + l.
struct BlockPlace {
    int64_t problem, first_lane, first_single;
    int tile, held;                    // singles of the block
};

class BlockConversion {
public:
    BlockConversion(const ConversionJob& job, const DrivenRows& driven, int64_t block)
        : job_(job), driven_(driven), macros_(job.outputs.problems_a_row), lanes_(lanes_of(job).lanes()), between_(block * GROUP),
          has_static_(job.converters.gain || job.converters.offset || job.converters.curve || job.cells.units), fours_(job.cycle_count / 4),
          keys_(job.key[0], job.key[1]), ways_(fours_), normals_(4 * CELLS) {
        if (asim::refused_bytes) return;
        for (int f = 0; f < fours_; ++f) {
            ways_[f] = Four(job, job.cycles + 4 * f, most_count(job.cycles + 4 * f));
            most_votes_ = ways_[f].votes > most_votes_ ? ways_[f].votes : most_votes_;
            noisy_ = noisy_ || ways_[f].noisy;
            digital_ = digital_ || ways_[f].digital;
        }
        if (most_votes_ > 1 || job.flips) reads_.resize(4 * most_votes_ * CELLS);
    }

    int fours() const { return fours_; }
    bool digital() const { return digital_; }
    const Sums& sums() const { return sums_; }

    void begin(const BlockPlace& at) {
        at_ = at;
        std::memset(sums_.codes, 0, at.held * GROUP * sizeof(int32_t));
        if (digital_) std::memset(sums_.counts, 0, at.held * GROUP * sizeof(int32_t));
        if (noisy_) find_counters();
    }

    // Whether a count of 0 gives code 0 in four cycles, for all converters of the block.
    bool is_quiet(int four) const {
        if (!has_static_) return ways_[four].quiet;
        const int64_t padded = round_up(job_.weights.lanes(), GROUP);
        const uint8_t* quiet = job_.converters.quiet + ((at_.tile * macros_ + at_.problem % macros_) * fours_ + four) * padded;
        const int64_t first = first_output(), last = first + (job_.inputs_in_lanes ? at_.held : GROUP);
        for (int64_t o = first; o < last; ++o)
            if (!quiet[o]) return false;
        return true;
    }

    // Add the codes or counts of four cycles to the sums.
    void add(int four, const int32_t* counts) {
        const Four& way = ways_[four];
        if (has_static_ || job_.flips || way.noisy || (!way.bytes.holds && !way.plain.holds)) return add_any(four, counts);
        if (way.bytes.holds) return way.bytes.add(counts, between_, at_.held, sums_);
        add_plain(way.cycles, way.plain.zeros, counts, between_, at_.held, sums_);
    }

    void store_outputs(const BlockPlace& at, const double* codes, const double* counts) {
        at_ = at;
        const int held = lanes_ - at.first_lane < GROUP ? int(lanes_ - at.first_lane) : GROUP;
        int64_t places[GROUP];
        for (int l = 0; l < GROUP; ++l) {
            const Place found = place(job_.inputs_in_lanes, lane(l));
            places[l] = found.row * job_.outputs.size + found.in_row;
        }
        const bool in_a_row = held == GROUP && places[GROUP - 1] - places[0] == GROUP - 1;
        for (int m = 0; m < at.held; ++m) {
            double outputs[GROUP];
            const Place found = place(!job_.inputs_in_lanes, at.first_single + m);
            double* out = job_.out + found.row * job_.outputs.size + found.in_row;
            for (int l = 0; l < GROUP; ++l) {
                outputs[l] = (codes[m * GROUP + l] * job_.scale + out[places[l]] * job_.divisor) / job_.divisor;
                if (counts) outputs[l] += counts[m * GROUP + l];
            }
            if (in_a_row) std::memcpy(out + places[0], outputs, sizeof outputs);
            else for (int l = 0; l < held; ++l) out[places[l]] = outputs[l];
        }
    }

private:
    APART void add_any(int four, const int32_t* counts) {
        const Four& way = ways_[four];
        const uint32_t third = uint32_t(at_.tile * job_.schedule_cycles + four);
        for (int vote = 0; vote < way.votes; ++vote) {
            if (way.noisy) draw(counters_, keys_, third, job_.last_word + vote, at_.held, normals_.data());
            for (int k = 0; k < 4; ++k) {
                const Cycle& cycle = way.cycles[k];
                const int32_t* own = counts + k * between_;
                const float* normals = normals_.data() + k * CELLS;
                if (vote >= cycle.votes || !cycle.weight) continue;
                if (cycle.level == COUNT) add_counts(cycle, own);
                else if (cycle.votes == 1 && !job_.flips) add_codes(cycle, own, normals);
                else read_codes(cycle, own, normals, reads_.data() + (vote * 4 + k) * CELLS);
            }
        }
        for (int k = 0; k < 4; ++k)
            if (way.cycles[k].level != COUNT && (way.cycles[k].votes > 1 || (job_.flips && way.cycles[k].weight))) add_reads(way.cycles[k], reads_.data() + k * CELLS);
    }

    void add_counts(const Cycle& cycle, const int32_t* counts) {
        for (int m = 0; m < at_.held * GROUP; m += LANES)
            store(sums_.counts + m, load<i32v>(sums_.counts + m) + load<i32v>(counts + m) * weight(cycle, m));
    }
    APART void add_codes(const Cycle& cycle, const int32_t* counts, const float* normals) {
        convert(cycle, counts, normals, [&, weight = cycle.weight](int place, i32v code) INLINE_LAMBDA {
            store(sums_.codes + place, load<i32v>(sums_.codes + place) + code * weight);
        });
    }
    APART void read_codes(const Cycle& cycle, const int32_t* counts, const float* normals, int32_t* reads) {
        convert(cycle, counts, normals, [&](int place, i32v code) INLINE_LAMBDA { store(reads + place, code); });
    }
    // Call take(place, code) for each vector of codes of the block's converters.
    template <class Take> INLINE void convert(const Cycle& cycle, const int32_t* counts, const float* normals, Take take) {
        const DrivenOfBlock driven = driven_.of_block(at_.problem, at_.tile, cycle.digit, first_input());
        auto by = [&](const auto& adc) INLINE_LAMBDA {
            each_code(cycle, adc, job_.levels, job_.sigmas, counts, normals, driven, at_.held, take);
        };
        if (!has_static_) return by(IdealAdc{cycle.top});
        const BlockConverters places{converter_of(job_, at_.tile, at_.problem, cycle) + first_output(), !job_.inputs_in_lanes};
        if (job_.cells.units) by(RealAdc<BlockConverters>(cycle.top, job_.converters, places, cycle.digital ? nullptr : job_.cells.gain));
        else by(StaticAdc<BlockConverters>{cycle.top, job_.converters, places});
    }
    void add_reads(const Cycle& cycle, const int32_t* reads) {
        for (int m = 0; m < at_.held * GROUP; m += LANES) {
            const i32v code = voted(reads + m, 4 * CELLS, cycle.votes, job_.vote_rule);
            store(sums_.codes + m, load<i32v>(sums_.codes + m) + code * weight(cycle, m));
        }
    }
    // Weights of the codes in the vector at a place of the block: negative in columns that hold complements.
    INLINE i32v weight(const Cycle& cycle, int at) const {
        if (!job_.flips) return i32v{} + cycle.weight;
        const int64_t padded = round_up(job_.weights.lanes(), GROUP), unit = at_.problem % job_.weights.problems * job_.tile_count + at_.tile;
        const int32_t* own = job_.flips + unit * padded + first_output();
        const i32v flips = job_.inputs_in_lanes ? i32v{} + own[at / GROUP] : load<i32v>(own + at % GROUP);
        return (1 - 2 * ((flips >> cycle.weight_bit) & 1)) * cycle.weight;
    }

    // The largest count that four cycles can meet.
    int64_t most_count(const Cycle* four) const {
        int64_t rows = 0, most = 0;
        for (int t = 0; t < job_.tile_count; ++t) {
            const int64_t own = int64_t(job_.tiles[t].last - job_.tiles[t].first) * (job_.tiles[t].high - job_.tiles[t].low);
            rows = own > rows ? own : rows;
        }
        for (int k = 0; k < 4; ++k) {
            const int64_t own = rows * ((int64_t(1) << job_.digits[four[k].digit].bits) - 1);
            most = own > most ? own : most;
        }
        return most;
    }

    // Row of the batch, and place in it, of an input or an output column of the current problem.
    struct Place { int64_t row, in_row; };
    Place place(bool of_inputs, int64_t number) const {
        const Outputs& o = job_.outputs;
        if (!of_inputs) return {0, number * o.output_step};
        return {at_.problem / o.problems_a_row + number / o.inputs_a_row,
                at_.problem % o.problems_a_row * o.problem_step + number % o.inputs_a_row * o.input_step};
    }
    int64_t lane(int l) const { return at_.first_lane + l < lanes_ ? at_.first_lane + l : lanes_ - 1; }
    int64_t first_input() const { return job_.inputs_in_lanes ? at_.first_lane : at_.first_single; }
    int64_t first_output() const { return job_.inputs_in_lanes ? at_.first_single : at_.first_lane; }

    void find_counters() {
        const Outputs& o = job_.outputs;
        auto words = [&](bool of_inputs, int64_t number, uint32_t& id, uint32_t& position) {
            const Place found = place(of_inputs, number);
            id = of_inputs ? uint32_t(o.ids[found.row]) : 0;
            position = uint32_t((of_inputs ? o.offsets[found.row] * o.size : 0) + found.in_row);
        };
        for (int l = 0; l < GROUP; ++l) words(job_.inputs_in_lanes, lane(l), counters_.lane_ids[l], counters_.lane_positions[l]);
        for (int m = 0; m < at_.held; ++m)
            words(!job_.inputs_in_lanes, at_.first_single + m, counters_.single_ids[m], counters_.single_positions[m]);
    }

    const ConversionJob& job_;
    const DrivenRows& driven_;
    const int64_t macros_, lanes_, between_;   // macros: groups or heads; between: from a cycle's counts to the next cycle's
    const bool has_static_;
    const int fours_;
    const RoundKeys keys_;
    Scratch<Four> ways_;
    Scratch<float> normals_;
    Scratch<int32_t> reads_;           // # (votes, 4, singles of a block, 16)
    int most_votes_ = 1;
    bool noisy_ = false, digital_ = false;
    BlockPlace at_{};
    Counters counters_;
    alignas(64) Sums sums_;
};

// Whether a count of 0 gives code 0 in all of four cycles, converter by converter. # as Converters::quiet
inline void find_quiet(const ConversionJob& job, uint8_t* quiet) {
    const int64_t macros = job.outputs.problems_a_row, outputs = job.weights.lanes();
    alignas(64) const int32_t nothing[GROUP] = {};
    const DrivenOfBlock driven{nothing, true};
    for (int64_t unit = 0; unit < job.tile_count * macros; ++unit)
        for (int four = 0; four < job.cycle_count; four += 4)
            for (int64_t first = 0; first < outputs; first += GROUP, quiet += GROUP) {
                std::memset(quiet, 1, GROUP);
                for (const Cycle* c = job.cycles + four; c < job.cycles + four + 4; ++c) {
                    if (c->level == COUNT) continue;
                    Cycle cycle = *c;
                    cycle.sigma = SILENT;
                    auto note = [&](int place, i32v code) {
                        for (int l = 0; l < LANES; ++l)
                            quiet[place + l] = quiet[place + l] && c->silent && code[l] == 0;
                    };
                    const BlockConverters places{converter_of(job, unit / macros, unit, *c) + first, true};
                    if (job.cells.units) {
                        const RealAdc<BlockConverters> adc(c->top, job.converters, places, job.cells.gain);
                        each_code(cycle, adc, job.levels, job.sigmas, nothing, nullptr, driven, 1, note);
                    } else {
                        const StaticAdc<BlockConverters> adc{c->top, job.converters, places};
                        each_code(cycle, adc, job.levels, job.sigmas, nothing, nullptr, driven, 1, note);
                    }
                }
            }
}
