// The C interface of wrong conversions of converters with errors: planes of weights, and outputs with their errors.
//
// Measured on a core of a Zen 4 with AVX-512: see engine/PERFORMANCE.md.
#include "tails.h"

#include "bit_planes.h"
#include "convert.h"
#include "export.h"
#include "memory.h"
#include "normal_tail.h"
#include "noise.h"

namespace {

constexpr int64_t INL_PARTS = 4;
constexpr double ALWAYS = 0.5;         // conversions that are made at least so often are all made
constexpr float NO_LIMIT = 3e38f;

// Bytes of a tile's rows, gathered and turned into planes.
class Rows {
    Scratch<uint8_t> bytes_;
    const int64_t words_;
public:
    explicit Rows(int64_t words) : bytes_(words * WORD_ROWS + 8), words_(words) {}
    uint8_t* data() { return bytes_.data(); }
    // Planes 8 * byte .. of the rows, of which `held` are there.
    void planes(int64_t held, int byte, int64_t bits, uint64_t* out) {
        std::memset(bytes_.data() + held, 0, size_t(words_ * WORD_ROWS - held));
        const int planes = bits - 8 * byte < 8 ? int(bits - 8 * byte) : 8;
        for (int64_t i = 0; i < words_; ++i) to_planes(bytes_.data() + i * WORD_ROWS, planes, words_, out + 8 * byte * words_ + i);
    }
};

void pack_column(const PlanesOfWeights& job, int64_t matrix, int64_t column, Rows& rows, uint64_t* planes) {
    const float* w = job.w + (matrix * job.columns + column) * job.channels * job.elements;
    const int64_t padded = round_up(job.columns, GROUP);
    for (int64_t t = 0; t < job.tile_count; ++t) {
        const TileOfPlanes& tile = job.tiles[t];
        for (int byte = 0; byte < ceil_div(job.weight_bits, 8); ++byte) {
            int64_t held = 0;
            for (int64_t e = tile.element_low; e < tile.element_high; ++e)
                for (int64_t c = tile.channel_low; c < tile.channel_high; ++c)
                    rows.data()[held++] = uint8_t(int32_t(w[c * job.elements + e]) >> (8 * byte));
            rows.planes(held, byte, job.weight_bits, planes);
        }
        for (int64_t b = 0; b < job.weight_bits; ++b) {
            const int64_t place = ((matrix * job.tile_count + t) * job.weight_bits + b) * padded + column;
            std::memcpy(job.out + place * job.words, planes + b * job.words, size_t(job.words) * sizeof *planes);
            job.ones[place] = common_ones(planes + b * job.words, planes + b * job.words, job.words);
        }
    }
}

// Converters of candidates, by places from the first one of a tile and macro on.
struct CandidateConverters {
    int64_t first;
    const int32_t* places;
    template <class T> INLINE auto numbers(const T* array, int, int vector) const {
        using Vector = std::conditional_t<std::is_same<T, float>::value, f32v, i32v>;
        return look_up<Vector>(array + first, load<i32v>(places + vector * LANES));
    }
    INLINE bool is_one() const { return false; }
};

// A converter that may have candidates.
struct Likely { int32_t group, column; };

class Tails {
public:
    explicit Tails(const TailsJob& job)
        : job_(job), padded_(round_up(job.columns, GROUP)), keys_(job.key[0], job.key[1]), rows_(job.words),
          planes_(job.block_pixels * job.input_bits * job.words), caps_(job.digit_count), rates_(job.group_count * padded_),
          above_(job.group_count * padded_), factors_(job.group_count * padded_), likely_(job.group_count * padded_) {
        for (int64_t k = 0; k < job.kind_count; ++k) noisy_ = noisy_ || job.kinds[k].sigma > 0.0f;
    }

    // Add the errors of columns [low, high) of a block of pixels; low is a multiple of 16.
    void run(int64_t row, int64_t macro, int64_t block, int64_t low, int64_t high) {
        row_ = row, macro_ = macro, low_ = low, high_ = high;
        first_pixel_ = block * job_.block_pixels;
        pixels_ = job_.pixels - first_pixel_ < job_.block_pixels ? job_.pixels - first_pixel_ : job_.block_pixels;
        const int64_t blocks = ceil_div(job_.pixels, job_.block_pixels);
        sample_ = uint32_t(job_.ids[row]), number_ = uint32_t(job_.offsets[row] * blocks + block);
        sums_.resize(pixels_ * (high - low));
        changed_ = false;
        for (tile_ = 0; tile_ < job_.tile_count; ++tile_) add_tile();
        if (!changed_) return;
        if (job_.is_double) store(static_cast<double*>(job_.out));
        else store(static_cast<float*>(job_.out));
    }

private:
    void add_tile() {
        first_ = first_converter(job_.converters, job_.macros, job_.columns, tile_, macro_, 0);
        const int64_t matrix = row_ * job_.matrix_row + macro_ * job_.matrix_macro;
        plane_ = (matrix * job_.tile_count + tile_) * job_.converters.weight_bits * padded_;
        for (int64_t d = 0; d < job_.digit_count; ++d) caps_[d] = NO_LIMIT;
        if (!noisy_ && !find_rates()) return;   // certain, whatever the inputs are
        pack_inputs();
        if (!find_rates()) return;
        for (int64_t g = 0; g < job_.group_count;) {
            int64_t end = g;
            while (end < job_.group_count && job_.groups[end].kind == job_.groups[g].kind) ++end;
            if (job_.kinds[job_.groups[g].kind].sigma > 0.0f) draw(g, end);
            else make_all(g, end);
            g = end;
        }
    }

    // Planes of the tile's rows that each pixel meets, and the largest count that each digit can have.
    void pack_inputs() {
        const TileOfPlanes& tile = job_.tiles[tile_];
        const int64_t channels = tile.channel_high - tile.channel_low, size = job_.input_bits * job_.words;
        for (int64_t d = 0; d < job_.digit_count; ++d) caps_[d] = 0.0f;
        for (int64_t p = 0; p < pixels_; ++p) {
            const int64_t pixel = first_pixel_ + p, line = pixel / job_.out_width;
            const uint8_t* x = job_.x + row_ * job_.x_row + macro_ * job_.x_macro + line * job_.x_line +
                               (pixel - line * job_.out_width) * job_.x_right + tile.channel_low;
            uint64_t* planes = planes_.data() + p * size;
            for (int byte = 0; byte < ceil_div(job_.input_bits, 8); ++byte, x += job_.x_byte) {
                int64_t held = 0;
                for (int64_t e = tile.element_low; e < tile.element_high; ++e, held += channels)
                    for (int64_t c = 0; c < channels; c += 8)   // up to 7 too many, which the next ones overwrite
                        std::memcpy(rows_.data() + held + c, x + job_.steps[e] + c, 8);
                rows_.planes(held, byte, job_.input_bits, planes);
            }
            for (int64_t d = 0; d < job_.digit_count; ++d) {
                int32_t count = 0;
                for (int b = 0; b < job_.digits[d].bits; ++b) {
                    const uint64_t* plane = planes + (job_.digits[d].low + b) * job_.words;
                    count += common_ones(plane, plane, job_.words) << b;
                }
                caps_[d] = float(count) > caps_[d] ? float(count) : caps_[d];
            }
        }
    }

    // Rates of all converters of the tile; whether any is not 0.
    bool find_rates() {
        bool any = false;
        for (int64_t g = 0; g < job_.group_count; ++g) {
            const TailGroup& group = job_.groups[g];
            float most = 0.0f, digit = 0.0f;
            for (int32_t i = group.first; i < group.first + group.cycles; ++i) {
                const int32_t d = job_.cycles[job_.numbers[i]].digit;
                const float largest = float((int64_t(1) << job_.digits[d].bits) - 1);
                most = caps_[d] > most ? caps_[d] : most;
                digit = largest > digit ? largest : digit;
            }
            for (int64_t c = low_; c < high_; c += GROUP) any |= find_rates(group, most, digit, c, g * padded_ + c);
        }
        return any;
    }

    // Rates of 16 columns whose counts are at most `most`, and at most `digit` for each 1 of the weights.
    APART bool find_rates(const TailGroup& group, float most, float digit, int64_t column, int64_t at) {
        const TailKind kind = job_.kinds[group.kind];
        const int64_t place = group.weight_bit * padded_ + column;
        const int32_t* ones = job_.ones + plane_ + place;
        const bool noisy = kind.sigma > 0.0f;
        const float scale = noisy ? float(job_.tail_steps) / kind.sigma : 0.0f, last = float(job_.tail_count);
        float above[GROUP], below[GROUP];
        for (int l = 0; l < GROUP; ++l) {
            const float own = float(ones[l]) * digit, count = own < most ? own : most;
            const float gain = job_.converters.gain ? job_.converters.gain[first_ + place + l] : 1.0f;
            const float offset = job_.converters.offset ? job_.converters.offset[first_ + place + l] : 0.0f;
            const float slope = (gain - 1.0f) * (count * kind.codes), a = gain * kind.low, b = gain * kind.high;
            above[l] = 0.5f - job_.slack - ((slope > 0.0f ? slope : 0.0f) + (a > b ? a : b) + offset);
            below[l] = 0.5f - job_.slack + ((slope < 0.0f ? slope : 0.0f) + (a < b ? a : b) + offset);
        }
        if (job_.inl_low) {
            const float codes = most * kind.codes, part = (job_.top + 1.0f) / float(INL_PARTS);
            int64_t of = INL_PARTS - 1;
            while (of > 0 && codes < part * float(of)) --of;
            for (int l = 0; l < GROUP; ++l) {
                above[l] += job_.inl_low[of * job_.places + first_ + place + l];
                below[l] -= job_.inl_high[of * job_.places + first_ + place + l];
            }
        }
        if (!noisy) {
            bool any = false;
            for (int l = 0; l < GROUP; ++l) any |= (rates_[at + l] = above[l] < 0.0f || below[l] < 0.0f ? 1.0 : 0.0) > 0.0;
            return any;
        }
        for (int l = 0; l < GROUP; ++l) {
            const float up = above[l] * scale, down = below[l] * scale;
            const double part = job_.tails[int32_t(up < 0.0f ? 0.0f : up > last ? last : up)];
            const double rate = part + job_.tails[int32_t(down < 0.0f ? 0.0f : down > last ? last : down)];
            rates_[at + l] = rate < ALWAYS ? rate : 1.0;
            above_[at + l] = rate < ALWAYS ? part : 0.5;
        }
        return true;
    }

    // Make every conversion of converters whose rate is not 0, of cycles without noise.
    void make_all(int64_t group, int64_t end) {
        for (; group < end; ++group)
            for (int64_t c = low_; c < high_; ++c)
                if (rates_[group * padded_ + c] > 0.0)
                    for (int64_t n = 0; n < pixels_ * job_.groups[group].cycles; ++n) take(group, c, n, 0.0f);
        make();
    }

    // Converters whose candidates are drawn side by side; one that has no more makes place for the next.
    struct Lanes {
        uint32_t place[GROUP], draw[GROUP];
        int64_t group[GROUP], column[GROUP], next[GROUP], left[GROUP];   // next conversion, and those from it on
        double rate[GROUP], above[GROUP], factor[GROUP];
    };

    // Place of a converter in the stream, by kind, tile, group or head, weight bit and output column.
    uint32_t place(const TailGroup& group, int64_t column) const {
        const int64_t macro = (group.kind * job_.tile_count + tile_) * job_.macros + macro_;
        return uint32_t((macro * job_.converters.weight_bits + group.weight_bit) * job_.columns + column);
    }

    // Append to the list those of 16 converters that may have a candidate among n conversions, with what their gaps are
    // multiplied by; its first `noted` places are taken, and the result says how many are then. A converter whose first
    // uniform u is at most 1 - n rate has none, as 1 - n rate <= (1 - rate)^n.
    APART int64_t note_likely(int64_t group, int64_t column, int64_t noted) {
        constexpr double ROUNDING = 1e-9;
        const TailGroup& own = job_.groups[group];
        const int64_t at = group * padded_ + column, before = noted;
        const double n = double(pixels_ * own.cycles);
        uint32_t words[2][GROUP], places[GROUP];
        double uniforms[GROUP];
        for (int l = 0; l < GROUP; ++l) places[l] = place(own, column) + uint32_t(l);
        for (int i = 0; i < GROUP; i += LANES) {
            const Words w = philox(u32v{} + sample_, u32v{} + number_, load<u32v>(places + i), u32v{} + job_.last_word, keys_);
            ::store(words[0] + i, w.w0);
            ::store(words[1] + i, w.w1);
        }
        for (int l = 0; l < GROUP; l += WIDE) ::store(uniforms + l, uniform(words[0] + l, words[1] + l));
        const int columns = high_ - column < GROUP ? int(high_ - column) : GROUP;
        for (int l = 0; l < columns; ++l) {
            likely_[noted] = {int32_t(group), int32_t(column) + l};
            noted += uniforms[l] > 1.0 - n * rates_[at + l] - ROUNDING;
        }
        for (int l = 0; l < GROUP && noted > before; l += WIDE) {
            const f64v rate = load<f64v>(rates_.data() + at + l);
            ::store(factors_.data() + at + l, rate >= ALWAYS ? all(-0.0) : 1.0 / logarithm(1.0 - rate));
        }
        return noted;
    }

    void draw(int64_t group, int64_t end) {
        Lanes lanes{};
        int64_t noted = 0, next = 0;
        for (; group < end; ++group)
            for (int64_t c = low_; c < high_; c += GROUP) noted = note_likely(group, c, noted);
        int live = 0;
        auto refill = [&](int l) INLINE_LAMBDA {
            if (next == noted) {
                lanes.left[l] = -1;
                return false;
            }
            const Likely likely = likely_[next++];
            const TailGroup& own = job_.groups[likely.group];
            const int64_t at = likely.group * padded_ + likely.column;
            lanes.place[l] = place(own, likely.column), lanes.draw[l] = 0;
            lanes.group[l] = likely.group, lanes.column[l] = likely.column;
            lanes.next[l] = 0, lanes.left[l] = pixels_ * own.cycles;
            lanes.rate[l] = rates_[at], lanes.above[l] = above_[at], lanes.factor[l] = factors_[at];
            // of large layers the planes are out of cache
            __builtin_prefetch(job_.w + (plane_ + own.weight_bit * padded_ + likely.column) * job_.words);
            return true;
        };
        for (int l = 0; l < GROUP; ++l) live += refill(l);
        double gaps[GROUP];
        float normals[GROUP];
        while (live) {
            draw_lanes(lanes, gaps, normals);
            for (int l = 0; l < GROUP; ++l) {
                if (gaps[l] < double(lanes.left[l])) {
                    const int64_t gap = int64_t(gaps[l]);
                    take(lanes.group[l], lanes.column[l], lanes.next[l] + gap, normals[l]);
                    lanes.next[l] += gap + 1, lanes.left[l] -= gap + 1, ++lanes.draw[l];
                } else if (lanes.left[l] >= 0 && !refill(l)) {
                    --live;
                }
            }
        }
        make();
    }

    // Gaps before the next candidates (to be rounded down), and their normals.
    APART void draw_lanes(const Lanes& lanes, double* gaps, float* normals) const {
        uint32_t words[4][GROUP];
        for (int i = 0; i < GROUP; i += LANES) {
            const Words w = philox(u32v{} + sample_, u32v{} + number_, load<u32v>(lanes.place + i),
                                   load<u32v>(lanes.draw + i) + job_.last_word, keys_);
            ::store(words[0] + i, w.w0);
            ::store(words[1] + i, w.w1);
            ::store(words[2] + i, w.w2);
            ::store(words[3] + i, w.w3);
        }
        for (int l = 0; l < GROUP; l += WIDE)
            ::store(gaps + l, logarithm(uniform(words[0] + l, words[1] + l)) * load<f64v>(lanes.factor + l));
        for (int l = 0; l < GROUP; l += WIDE) {
            const f64v chance = uniform(words[2] + l, words[3] + l) * load<f64v>(lanes.rate + l), above = load<f64v>(lanes.above + l);
            const f64v normal = normal_above(chance < above ? chance : chance - above);
            ::store(normals + l, __builtin_convertvector(chance < above ? normal : -normal, half_f32v));
        }
    }

    // Note conversion n of a converter, and make those noted when there are 16.
    INLINE void take(int64_t group, int64_t column, int64_t n, float normal) {
        const TailGroup& own = job_.groups[group];
        const uint32_t pixel = uint32_t(n) / uint32_t(own.cycles);
        const int32_t number = job_.numbers[own.first + int32_t(uint32_t(n) - pixel * uint32_t(own.cycles))];
        const Digit digit = job_.digits[job_.cycles[number].digit];
        places_[held_] = int32_t(own.weight_bit * padded_ + column);
        const uint64_t* w = job_.w + (plane_ + places_[held_]) * job_.words;
        const uint64_t* x = planes_.data() + (int64_t(pixel) * job_.input_bits + digit.low) * job_.words;
        int32_t count = 0;
        for (int b = 0; b < digit.bits; ++b) count += common_ones(x + b * job_.words, w, job_.words) << b;
        counts_[held_] = count, normals_[held_] = normal, numbers_[held_] = number;
        sums_of_[held_] = int64_t(pixel) * (high_ - low_) + column - low_;
        if (++held_ == GROUP) make();
    }

    // Make the conversions noted, all of cycles that convert alike.
    APART void make() {
        if (!held_) return;
        for (int l = held_; l < GROUP; ++l) places_[l] = places_[0], counts_[l] = 0, normals_[l] = 0.0f;
        const Cycle cycle = job_.cycles[numbers_[0]];
        alignas(64) int32_t codes[GROUP];
        with_level(cycle, job_.levels, [&](auto level) INLINE_LAMBDA {
            for (int v = 0; v < VECTORS; ++v)
                ::store(codes + v * LANES, IdealAdc{cycle.top}.code(level(load<i32v>(counts_ + v * LANES)), 0, 0));
        });
        const StaticAdc<CandidateConverters> adc{cycle.top, job_.converters, {first_, places_}};
        i32v any{};
        each_code(cycle, adc, job_.levels, job_.sigmas, counts_, normals_, 1, [&](int place, i32v code) INLINE_LAMBDA {
            const i32v error = code - load<i32v>(codes + place);
            ::store(codes + place, error);
            any |= error;
        });
        if (has_bits((u32v)any))
            for (int l = 0; l < held_; ++l)
                if (codes[l]) sums_[sums_of_[l]] += int64_t(codes[l]) * job_.cycles[numbers_[l]].weight, changed_ = true;
        held_ = 0;
    }

    // Add the sums to outputs, and set them to 0.
    template <class T> void store(T* out) {
        out += row_ * job_.out_row + macro_ * job_.out_macro + first_pixel_ * job_.out_pixel;
        for (int64_t p = 0; p < pixels_; ++p)
            for (int64_t c = low_; c < high_; ++c) {
                int64_t& sum = sums_[p * (high_ - low_) + c - low_];
                if (!sum) continue;
                T& output = out[p * job_.out_pixel + c * job_.out_column];
                output = T((double(output) * double(job_.divisor) + double(sum * job_.rows)) / double(job_.divisor));
                sum = 0;
            }
    }

    const TailsJob& job_;
    const int64_t padded_;
    const RoundKeys keys_;
    Rows rows_;
    Scratch<uint64_t> planes_;         // of a block's inputs. # (pixels, input bits, words)
    Scratch<float> caps_;              // largest counts, digit by digit
    // How often conversions are candidates, the part above, and what gaps are multiplied by, 1 / log(1 - rate) (of likely
    // converters). # (groups of cycles, padded output columns)
    Scratch<double> rates_, above_, factors_;
    Scratch<Likely> likely_;           // # (groups of cycles * padded output columns)
    Scratch<int64_t> sums_;            // # (pixels, columns of the unit)
    int64_t row_ = 0, macro_ = 0, low_ = 0, high_ = 0, first_pixel_ = 0, pixels_ = 0, tile_ = 0, first_ = 0, plane_ = 0;
    uint32_t sample_ = 0, number_ = 0;
    bool noisy_ = false, changed_ = false;
    int held_ = 0;                     // conversions noted
    alignas(64) int32_t places_[GROUP], counts_[GROUP], numbers_[GROUP];
    alignas(64) float normals_[GROUP];
    int64_t sums_of_[GROUP];
};

}  // namespace

// 0, or 1 where the caller's structure has another size.
ASIM_EXPORT int asim_planes_of_weights(const PlanesOfWeights* job) {
    if (job->bytes != sizeof *job) return 1;
    asim::parallel_for(job->matrices * job->columns, job->threads, [&](asim::Shares& shares) {
        Rows rows(job->words);
        Scratch<uint64_t> planes(16 * job->words);
        for_units(shares, [&](int64_t unit) { pack_column(*job, unit / job->columns, unit % job->columns, rows, planes.data()); });
    });
    return 0;
}

ASIM_EXPORT int asim_add_tails(const TailsJob* job) {
    if (job->bytes != sizeof *job) return 1;
    const int64_t blocks = ceil_div(job->pixels, job->block_pixels), units = job->batch * job->macros * blocks;
    const int64_t groups = ceil_div(job->columns, GROUP);
    // parts of the columns where units are few; each packs its inputs
    const int64_t wanted = job->threads > 1 ? ceil_div(4 * job->threads, units) : 1, parts = wanted < groups ? wanted : groups;
    asim::parallel_for(units * parts, job->threads, [&](asim::Shares& shares) {
        Tails tails(*job);
        for_units(shares, [&](int64_t unit) {
            const int64_t part = unit % parts, rest = unit / parts, high = (part + 1) * groups / parts * GROUP;
            tails.run(rest / blocks / job->macros, rest / blocks % job->macros, rest % blocks, part * groups / parts * GROUP,
                      high < job->columns ? high : job->columns);
        });
    });
    return 0;
}
