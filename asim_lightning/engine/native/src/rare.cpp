// Adds the errors of the wrong conversions to exact outputs. engine/rare says which conversions are drawn, and rare/stream
// defines the draws. The count of a candidate is the popcount of a weight bit and an input bit over the tile's words
// (rare_operands.cpp): bits are shifted to the low ends of their bytes, masked, and added up. Candidates are few, so vectors
// serve only the draws, AHEAD at once, and the conversions by converters that differ, 16 at once.
//
// Measured on one core of an EPYC with AVX-512, 3x3, 64 channels, 255 rows: 0.1 us a candidate of one image, 0.2 us if
// outputs of 16 images are out of cache.
#include <utility>

#include "blocks.h"
#include "convert.h"
#include "noise.h"
#include "threads.h"
#include "uniforms.h"

namespace {

struct TileWords { int64_t first_word, first_run, runs, run; };     // words of w; runs of x, each of `run` words
struct BitPair { int64_t weight_bit, low_bit, high_bit, weight; };  // input bits low..high-1; weight of a code in the sums
struct Kind {                                             // a kind of cycles, which convert alike
    int64_t first_cycle, cycles, draws, first_error, errors, first_share;
    double factor;                                        // 1 / log(1 - rate), or -1 if converters differ
};

// Converters that differ. Columns are the columns of all groups or heads; hazards and rates: # (kinds, columns, tiles, weight bits)
struct Apart {
    const double* hazards;                                // running sums over the conversions of an output; null: all are equal
    const float* rates;                                   // a converter's rate, its part above, and bounds of both parts at
                                                          // counts up to each bound. (as hazards, RATES)
    const int64_t* bounds;                                // bounds of counts. (kinds, BOUNDS)
    const int64_t* firsts;                                // first cycle of each weight bit among a kind's. (kinds, weight bits + 1)
    const Cycle* cycles;                                  // the schedule; all cycles of a kind convert like its first one
    const int64_t* numbers;                               // numbers of the kinds' first cycles
    const float *levels, *sigmas;                         // tables of the cycles
    Converters converters;
    int32_t* ones;                                        // room for `count_ones`; null: bounds are not used
    int64_t columns, macros, pixels;                      // columns of all groups or heads; groups or heads; pixels of an output
};

struct RareErrors {
    const TileWords* tiles;
    const int64_t* places;                                // places in x of the runs of all tiles
    const Kind* kinds;
    const BitPair* cycles;
    const int64_t* errors;                                // errors of a code, kind after kind
    const double* shares;                                 // running shares of the errors. (counts, errors) a kind
    int64_t tile_count, kind_count, rows, divisor;        // an output is sum * rows / divisor
    int64_t positions, block_outputs, blocks;             // outputs of a row of the batch, of a block; blocks of a row
    int64_t is_outermost, inner, out_width;               // outputs are ordered (channel, pixel), or (pixel, channel)
    int64_t group_outputs, head_rows, width, stride_y, stride_x;
    int64_t x_row, x_group, x_byte, x_pixel;              // steps in words
    int64_t w_row, w_head, w_output, w_byte;
    void* out;                                            // float32 or float64. (batch, positions)
    const int64_t *ids, *offsets;                         // (batch)
    const uint64_t *x, *w;
    int64_t batch, out_channel, out_pixel;                // steps of outputs
    uint32_t key[2], last_word;
    int32_t is_double, threads;
    Apart apart;
};

constexpr int AHEAD = 16;                                 // draws made at once
constexpr int64_t MOST_OUTPUTS = 4096;                    // most outputs of a block, as in layout.py
constexpr int64_t BOUNDS = 3, RATES = 2 + 2 * BOUNDS;     // bounds of the counts of a kind of cycle; rates of a converter
constexpr uint64_t EACH_BYTE = 0x0101010101010101u, EACH_PAIR = 0x0001000100010001u, LOW_BYTES = 0x00FF00FF00FF00FFu;

struct Draws { double gaps[AHEAD], chances[AHEAD]; };     // gaps before rounding down; or hazards

// Draws third .. third + AHEAD - 1 of a block; not inlined, so that its loops keep the registers.
APART void draw(Draws& draws, double factor, uint32_t sample, uint32_t number, uint32_t third, const RareErrors& job) {
    uint32_t words[4][AHEAD];
    for (int i = 0; i < AHEAD; i += LANES) {
        u32v count = u32v{} + (third + uint32_t(i));
        for (int l = 0; l < LANES; ++l) count[l] += uint32_t(l);
        const Words w = philox(u32v{} + sample, u32v{} + number, count, job.last_word, job.key[0], job.key[1]);
        store(words[0] + i, w.w0);
        store(words[1] + i, w.w1);
        store(words[2] + i, w.w2);
        store(words[3] + i, w.w3);
    }
    for (int i = 0; i < AHEAD; i += WIDE) store(draws.gaps + i, logarithm(uniform(words[0] + i, words[1] + i)) * factor);
    for (int i = 0; i < AHEAD; i += WIDE) store(draws.chances + i, uniform(words[2] + i, words[3] + i));
}

// Sums of the eight bytes of each word.
INLINE u64v sums_of_bytes(u64v v) {
#if defined(__AVX512BW__)
    return (u64v)_mm512_sad_epu8((__m512i)v, __m512i{});
#elif defined(__AVX2__)
    return (u64v)_mm256_sad_epu8((__m256i)v, __m256i{});
#else
    return (((v & LOW_BYTES) + ((v >> 8) & LOW_BYTES)) * EACH_PAIR) >> 48;
#endif
}

// Popcount of a weight bit and an input bit over the words of a tile. Not inlined, so that the loop keeps the registers.
APART int64_t popcount(const uint64_t* x, int64_t x_bit, const uint64_t* w, int64_t w_bit, const int64_t* places, const TileWords& tile) {
    constexpr int64_t HELD = LANES / 2, MOST = 255;       // words of a vector; largest number in a byte
    u64v total{};
    const auto ones = [&](const uint64_t* from_x, const uint64_t* from_w, int64_t held) INLINE_LAMBDA {
        return (load_part<u64v>(from_x, held) >> x_bit) & (load_part<u64v>(from_w, held) >> w_bit) & EACH_BYTE;
    };
    if (tile.run <= HELD)
        for (int64_t low = 0; low < tile.runs; low += MOST) {
            const int64_t high = tile.runs < low + MOST ? tile.runs : low + MOST;
            u64v bytes{};
            for (int64_t r = low; r < high; ++r, w += tile.run) bytes += ones(x + places[r], w, 2 * tile.run);
            total += sums_of_bytes(bytes);
        }
    else
        for (int64_t r = 0; r < tile.runs; ++r, w += tile.run)
            for (int64_t i = 0; i < tile.run; i += HELD) total += sums_of_bytes(ones(x + places[r] + i, w + i, 2 * (tile.run - i)));
    int64_t sum = 0;
    for (int l = 0; l < LANES / 2; ++l) sum += int64_t(total[l]);
    return sum;
}

// How many of a pixel's inputs have each bit, tile by tile: at least as many as meet a weight. # (tiles, bits)
APART void count_ones(const RareErrors& job, const uint64_t* x, int64_t bits, int32_t* ones) {
    for (const TileWords* tile = job.tiles; tile < job.tiles + job.tile_count; ++tile)
        for (int64_t bit = 0; bit < bits; bit += WIDE, ones += WIDE) {
            u64v shift, sum{};
            for (int l = 0; l < WIDE; ++l) shift[l] = uint64_t(bit + l) % 8;
            for (int64_t r = tile->first_run; r < tile->first_run + tile->runs; ++r)
                for (int64_t i = 0; i < tile->run; ++i)
                    sum += sums_of_bytes((u64v{} + x[bit / 8 * job.x_byte + job.places[r] + i]) >> shift & EACH_BYTE);
            store(ones, __builtin_convertvector(sum, half_i32v));
        }
}

// The error that a uniform draws from the running shares of a count.
INLINE int64_t error(const int64_t* errors, int64_t held, const double* shares, double chance) {
    int64_t which = 0;
    while (which < held && chance >= shares[which]) ++which;
    return errors[which];
}

struct Place { int64_t channel, pixel; };

INLINE Place place_of(const RareErrors& job, uint64_t output) {
    const uint64_t outer = output / uint64_t(job.inner), within = output - outer * uint64_t(job.inner);
    return job.is_outermost ? Place{int64_t(outer), int64_t(within)} : Place{int64_t(within), int64_t(outer)};
}

INLINE int64_t groups_of(const RareErrors& job) { return job.x_row / job.x_group; }
INLINE int64_t bits_of_input(const RareErrors& job) { return 8 * job.x_pixel / job.x_byte; }   // in whole bytes

// Where the inputs and weights of an output begin.
struct Operands { const uint64_t *x, *w; };

INLINE Operands operands_of(const RareErrors& job, int64_t row, Place at) {
    const int64_t down = int64_t(uint32_t(at.pixel) / uint32_t(job.out_width)), right = at.pixel - down * job.out_width;
    const uint64_t* x = job.x + row * job.x_row + (down * job.stride_y * job.width + right * job.stride_x) * job.x_pixel;
    const uint64_t* w = job.w + row * job.w_row + at.channel * job.w_output;
    if (job.x_group != job.x_row) x += at.channel / job.group_outputs * job.x_group;
    if (job.w_head) w += at.pixel / job.head_rows * job.w_head;
    return {x, w};
}

INLINE int64_t count_of(const RareErrors& job, Operands of, const TileWords& tile, const BitPair& pair) {
    const uint64_t* w = of.w + (pair.weight_bit >> 3) * job.w_byte + tile.first_word;
    int64_t count = 0;
    for (int64_t bit = pair.low_bit; bit < pair.high_bit; ++bit)
        count += popcount(of.x + (bit >> 3) * job.x_byte, bit & 7, w, pair.weight_bit & 7, job.places + tile.first_run, tile)
                 << (bit - pair.low_bit);
    return count;
}

// Error of a candidate of equal converters, in units of rows / divisor.
INLINE int64_t candidate(const RareErrors& job, const Kind& kind, int64_t row, uint64_t output, uint64_t rest, double chance) {
    const uint64_t tile = rest / uint64_t(kind.cycles);
    const BitPair& cycle = job.cycles[uint64_t(kind.first_cycle) + rest - tile * uint64_t(kind.cycles)];
    const int64_t count = count_of(job, operands_of(job, row, place_of(job, output)), job.tiles[tile], cycle);
    const double* shares = job.shares + kind.first_share + count * kind.errors;
    return error(job.errors + kind.first_error, kind.errors, shares, chance) * cycle.weight;
}

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
                    if (!next()) return make();
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
        make();
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

    // Whether noise can change the code. The pixel's inputs that have each bit bound the count.
    INLINE bool may_be_wrong(const float* rates, int64_t tile, const BitPair& pair, int64_t pixel, double chance) const {
        const int32_t* ones = ones_ + (pixel * job_.tile_count + tile) * input_bits_;
        int64_t most = 0, bound = 0;
        for (int64_t bit = pair.low_bit; bit < pair.high_bit; ++bit) most += int64_t(ones[bit]) << (bit - pair.low_bit);
        for (int64_t b = 0; b + 1 < BOUNDS; ++b) bound += most > bounds_[b];
        const double part = chance * rates[0], above = rates[1];
        const bool is_below = part >= above;              // without branches, as half of the draws pass
        const double rest = part - (is_below ? above : 0.0);
        return bool((most > bounds_[BOUNDS - 1]) | (rest < rates[2 + 2 * bound + is_below]));
    }

    // Note a conversion of the run; make all noted conversions when there are 16.
    INLINE void take(int64_t tile, int64_t bit, int64_t turn, double chance) {
        const uint32_t of_output = uint32_t(number_of(bit)), output = turn < of_output ? 0 : uint32_t(turn) / of_output;
        const BitPair& pair = pairs_[firsts_[bit] + turn - int64_t(output * of_output)];
        const float* rates = apart_.rates + (first_rate_ + column_ * converters_ + tile * bits_ + bit) * RATES;
        if (apart_.ones && !may_be_wrong(rates, tile, pair, at_.pixel + output, chance)) return;
        operands_[held_] = operands_of(job_, row_, {at_.channel, at_.pixel + output});
        tiles_[held_] = job_.tiles + tile, pairs_of_[held_] = &pair;
        // large layers have their weights out of cache
        const uint64_t* w = operands_[held_].w + tiles_[held_]->first_word;
        for (int64_t i = 0; i < tiles_[held_]->runs * tiles_[held_]->run; i += 8) __builtin_prefetch(w + i);
        places_[held_] = int32_t(((tile * apart_.macros + macro_) * bits_ + bit) * padded_ + column_ - macro_ * of_macro_);
        rates_[held_] = rates[0], above_[held_] = rates[1], chances_[held_] = chance;
        of_sum_[held_] = output_ + output;
        if (++held_ == GROUP) make();
    }

    APART void make() {
        if (!held_) return;
        alignas(64) float normals[GROUP];
        alignas(64) int32_t codes[GROUP];
        for (int l = 0; l < held_; ++l) counts_[l] = int32_t(count_of(job_, operands_[l], *tiles_[l], *pairs_of_[l]));
        for (int l = held_; l < GROUP; ++l) places_[l] = places_[0], counts_[l] = 0, rates_[l] = above_[l] = chances_[l] = 0.5;
        if (!is_silent())
            for (int l = 0; l < GROUP; l += WIDE) {
                const f64v part = load<f64v>(chances_ + l) * load<f64v>(rates_ + l), above = load<f64v>(above_ + l);
                const f64v normal = normal_above(part < above ? part : part - above);
                store(normals + l, __builtin_convertvector(part < above ? normal : -normal, half_f32v));
            }
        with_level(cycle_, apart_.levels, [&](auto level) INLINE_LAMBDA {
            for (int v = 0; v < VECTORS; ++v)
                store(codes + v * LANES, IdealAdc{cycle_.top}.code(level(load<i32v>(counts_ + v * LANES)), 0, 0));
        });
        const StaticAdc<CandidateConverters> adc{cycle_.top, apart_.converters, {places_}};
        each_code(cycle_, adc, apart_.levels, apart_.sigmas, counts_, normals, 1, [&](int place, i32v code) INLINE_LAMBDA {
            store(codes + place, code - load<i32v>(codes + place));
        });
        for (int l = 0; l < held_; ++l) sums_[of_sum_[l]] += codes[l] * pairs_of_[l]->weight;
        held_ = 0;
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
    int held_ = 0;                                        // noted conversions
    alignas(64) int32_t places_[GROUP], counts_[GROUP];
    alignas(64) double rates_[GROUP], above_[GROUP], chances_[GROUP];
    Operands operands_[GROUP];
    const TileWords* tiles_[GROUP];
    const BitPair* pairs_of_[GROUP];
    int64_t of_sum_[GROUP];
};

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
