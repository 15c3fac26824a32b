// The wrong conversions of converters that differ.
#pragma once
#include "convert.h"
#include "rare_job.h"

namespace {

struct CandidateConverters {
    const int32_t* places;
    template <class T> INLINE auto numbers(const T* array, int, int vector) const {
        using Vector = std::conditional_t<std::is_same<T, float>::value, f32v, i32v>;
        return look_up<Vector>(array, load<i32v>(places + vector * LANES));
    }
    INLINE bool is_one() const { return false; }
};

// The conversions of one kind of cycles in a block by converters that differ.
class KindApart {
public:
    KindApart(const RareErrors& job, int64_t kind, int64_t row, int64_t first, int64_t outputs, int64_t* sums)
        : job_(job), apart_(job.apart), bits_(apart_.converters.weight_bits), converters_(job.tile_count * bits_),
          input_bits_(bits_of_input(job)), first_group_(row * groups_of(job)),
          of_macro_(apart_.columns / apart_.macros), padded_((of_macro_ + GROUP - 1) / GROUP * GROUP), row_(row),
          outputs_(outputs), first_rate_(kind * apart_.columns * converters_), firsts_(apart_.firsts + kind * (bits_ + 1)),
          bounds_(apart_.bounds + kind * BOUNDS), pairs_(job.cycles + job.kinds[kind].first_cycle), cycle_(apart_.cycles[apart_.numbers[kind]]), sums_(sums),
          at_(place_of(job, uint64_t(first))) {}

    bool is_silent() const { return cycle_.sigma == SILENT; }

    template <class Draw> void draw_all(Draw draw) {
        double start = 0.0, end = 0.0;                    // hazards from the block's start to the run's start and end
        double before = 0.0, each = 0.0, inverse = 0.0;   // hazards of the run before the converter; of one conversion
        const double* own = nullptr;
        int64_t tile = 0, bit = 0, turn = 0, number = 0;  // the converter; its next conversion, and its conversions
        for (int64_t i = 0;; ++i) {
            const auto [spent, chance] = draw(i);
            const double gap = spent * inverse;
            if (gap < double(number - turn)) {
                turn += int64_t(gap);
            } else {
                const double position = start + (before + double(turn) * each) + spent;
                for (; position >= end; tile = 0) {
                    if (!next()) return make_rest();
                    own = hazards();
                    start = end;
                    end += own[converters_ - 1] * length_;
                }
                const double last = own[converters_ - 1] * length_ * BELOW_ONE, after = position - start, at = after < last ? after : last;
                while (own[(tile + 1) * bits_ - 1] * length_ <= at) ++tile;
                bit = 0;
                for (int64_t b = 0; b + 1 < bits_; ++b) bit += own[tile * bits_ + b] * length_ <= at;
                const int64_t which = tile * bits_ + bit;
                number = number_of(bit) * run_;
                before = which ? own[which - 1] * length_ : 0.0;
                each = (own[which] * length_ - before) * (1.0 / double(number));
                inverse = 1.0 / each;
                const int64_t near = int64_t((at - before) * inverse);
                turn = near < number ? near : number - 1;
            }
            take(tile, bit, turn++, chance);
        }
    }

    // Convert all conversions of the converters that have a hazard.
    void make_all() {
        while (next()) {
            const double* own = hazards();
            double before = 0.0;
            for (int64_t which = 0; before < own[converters_ - 1]; before = own[which++])
                if (own[which] > before)
                    for (int64_t turn = 0; turn < number_of(which % bits_) * run_; ++turn) take(which / bits_, which % bits_, turn, 0.5);
        }
        make_rest();
    }

private:
    static constexpr double BELOW_ONE = 1.0 - 0x1p-53;

    // Conversions of a weight bit in an output.
    int64_t number_of(int64_t bit) const { return firsts_[bit + 1] - firsts_[bit]; }

    // Go to the next run of outputs of one column.
    bool next() {
        output_ += run_;
        if (output_ == outputs_) return false;
        if (run_ && job_.is_outermost) at_ = {at_.channel + 1, 0};
        else if (run_ && ++at_.channel == job_.inner) at_ = {0, at_.pixel + 1};
        const int64_t left = outputs_ - output_, same = job_.is_outermost ? job_.inner - at_.pixel : 1;
        run_ = left < same ? left : same, length_ = double(run_);
        macro_ = job_.w_head ? at_.pixel / job_.head_rows : apart_.macros > 1 ? at_.channel / of_macro_ : 0;
        column_ = job_.w_head ? at_.channel + macro_ * of_macro_ : at_.channel;
        ones_ = apart_.ones + (first_group_ + (job_.w_head ? 0 : macro_)) * apart_.pixels * job_.tile_count * input_bits_;
        return true;
    }
    const double* hazards() const { return apart_.hazards + first_rate_ + column_ * converters_; }

    // A conversion that may be wrong: its converter's rates, the ones of its pixel and tile, and its places.
    struct Candidate {
        const float* rates;
        const BitPair* pair;
        const int32_t* ones;
        double chance;
        int32_t channel, pixel, tile, of_sum, place;
    };

    // Note a candidate of the run. Its rates are read later, as those of large layers are out of cache.
    INLINE void take(int64_t tile, int64_t bit, int64_t turn, double chance) {
        const uint32_t of_output = uint32_t(number_of(bit)), output = turn < of_output ? 0 : uint32_t(turn) / of_output;
        const int64_t pixel = at_.pixel + output;
        const BitPair* pair = pairs_ + firsts_[bit] + turn - int64_t(output * of_output);
        const float* rates = apart_.rates + (first_rate_ + column_ * converters_ + tile * bits_ + bit) * RATES;
        const int32_t* ones = ones_ + (pixel * job_.tile_count + tile) * input_bits_;
        const int64_t place = ((tile * apart_.macros + macro_) * bits_ + bit) * padded_ + column_ - macro_ * of_macro_;
        __builtin_prefetch(rates);
        noted_[number_noted_++] = {rates, pair, ones, chance, int32_t(at_.channel), int32_t(pixel), int32_t(tile),
                                   int32_t(output_ + output), int32_t(place)};
        if (number_noted_ == GROUP) hold_noted();
    }

    // Whether noise can change the code. The pixel's inputs that have each bit bound the count.
    INLINE bool may_be_wrong(const Candidate& c) const {
        int64_t most = 0, bound = 0;
        for (int64_t bit = c.pair->low_bit; bit < c.pair->high_bit; ++bit) most += int64_t(c.ones[bit]) << (bit - c.pair->low_bit);
        for (int64_t b = 0; b + 1 < BOUNDS; ++b) bound += most > bounds_[b];
        const double part = c.chance * c.rates[0], above = c.rates[1];
        const bool is_below = part >= above;              // without branches, as half of the draws pass
        const double rest = part - (is_below ? above : 0.0);
        return bool((most > bounds_[BOUNDS - 1]) | (rest < c.rates[2 + 2 * bound + is_below]));
    }

    // Hold the noted candidates that may be wrong; make their conversions whenever 16 are held.
    APART void hold_noted() {
        for (const Candidate* noted = noted_; noted < noted_ + number_noted_; ++noted) {
            if (apart_.ones && !may_be_wrong(*noted)) continue;
            const TileWords& tile = job_.tiles[noted->tile];
            const Operands of = operands_[number_held_] = operands_of(job_, row_, {noted->channel, noted->pixel});
            for (int64_t i = 0; i < tile.runs * tile.run; i += 8) __builtin_prefetch(of.w + tile.first_word + i);   // out of cache, too
            held_[number_held_] = *noted;
            if (++number_held_ == GROUP) make();
        }
        number_noted_ = 0;
    }

    void make_rest() {
        hold_noted();
        if (number_held_) make();
    }

    APART void make() {
        alignas(64) double rates[GROUP], above[GROUP], chances[GROUP];
        alignas(64) float normals[GROUP];
        alignas(64) int32_t counts[GROUP], places[GROUP], codes[GROUP];
        for (int l = 0; l < GROUP; ++l) {
            const Candidate& c = held_[l < number_held_ ? l : 0];
            counts[l] = l < number_held_ ? int32_t(count_of(job_, operands_[l], job_.tiles[c.tile], *c.pair)) : 0;
            rates[l] = c.rates[0], above[l] = c.rates[1], chances[l] = c.chance, places[l] = c.place;
        }
        if (!is_silent())
            for (int l = 0; l < GROUP; l += WIDE) {
                const f64v part = load<f64v>(chances + l) * load<f64v>(rates + l), over = load<f64v>(above + l);
                const f64v normal = normal_above(part < over ? part : part - over);
                store(normals + l, __builtin_convertvector(part < over ? normal : -normal, half_f32v));
            }
        with_level(cycle_, apart_.levels, [&](auto level) INLINE_LAMBDA {
            for (int v = 0; v < VECTORS; ++v)
                store(codes + v * LANES, IdealAdc{cycle_.top}.code(level(load<i32v>(counts + v * LANES)), 0, 0));
        });
        const StaticAdc<CandidateConverters> adc{cycle_.top, apart_.converters, {places}};
        each_code(cycle_, adc, apart_.levels, apart_.sigmas, counts, normals, {}, 1, [&](int place, i32v code) INLINE_LAMBDA {
            store(codes + place, code - load<i32v>(codes + place));
        });
        for (int l = 0; l < number_held_; ++l) sums_[held_[l].of_sum] += codes[l] * weight_of(job_, operands_[l], held_[l].tile, *held_[l].pair);
        number_held_ = 0;
    }

    const RareErrors& job_;
    const Apart& apart_;
    const int64_t bits_, converters_;                     // weight bits; converters of an output
    const int64_t input_bits_, first_group_;              // bits of an input in whole bytes; groups of all earlier rows
    const int64_t of_macro_, padded_;                     // columns of a group or head
    const int64_t row_, outputs_, first_rate_;
    const int64_t *firsts_, *bounds_;
    const BitPair* pairs_;
    const Cycle& cycle_;
    int64_t* sums_;
    const int32_t* ones_ = nullptr;                       // counts for the run's row and group
    Place at_;                                            // where the run begins
    int64_t output_ = 0, run_ = 0, column_ = 0, macro_ = 0;   // the run's first output, outputs, column, and group or head
    double length_ = 0.0;                                 // the run's outputs
    int number_noted_ = 0, number_held_ = 0;
    Candidate noted_[GROUP], held_[GROUP];
    Operands operands_[GROUP];                            // of held candidates
};

}  // namespace
