// Quantises floats to bytes or to whole numbers in float32 and checks the floats; scales sums to floats. Each takes one pass
// over memory, equal to the bit to quant.quantize and to a float32 product followed by a sum.
// If arrays keep their layout, a vector holds LANES consecutive numbers. Images that change it (channels outermost to
// innermost, or back) go block by block: LANES positions by LANES words, transposed in registers. A word is a float or the
// bytes of four channels. Constraints: contiguous arrays; codes of at most 8 bits as bytes, of 22 as floats.
// Measured on one core of an EPYC with AVX-512, of an image of 64 channels, 32 x 32: 3e9 numbers a second to bytes in any
// layout, 2e9 to floats that change it; of 64 images, from memory, 1.4e9 and 0.9e9.
#include "blocks.h"
#include "threads.h"

namespace {

struct Quantize {
    const float* x;                      // (images, channels, positions) if turned, else images * channels * positions
    void* out;                           // (images, positions, channels) if turned
    int64_t images, channels, positions;
    float scale, low, top;               // codes = clamp(x / scale, low, 1) * top, rounded half to even
    int32_t shift;                       // added to codes in bytes
    int32_t is_bytes, is_turned, threads;
    int32_t largest, negative;           // results: bits of the largest magnitude, and of the largest of numbers below 0
};

struct Scale {
    const float *sums, *step, *bias;     // (images, positions, outputs), (outputs), (outputs) or null
    float* out;                          // (images, outputs, positions) if turned
    int64_t images, positions, outputs;
    int32_t is_turned, threads;
};

constexpr int64_t TILE = 64;             // positions that are turned at once
constexpr int64_t CHUNK = 4096;          // numbers of a unit of work if nothing is turned

INLINE i32v greater(i32v a, i32v b) { return a > b ? a : b; }

// Quantises in registers, and keeps the largest magnitudes.
class Quantizer {
    const f32v scale_, low_, top_;
    const u32v shift_;
    i32v largest_{}, negative_{};

    // A code plus 1.5 * 2^23, a sum that rounds the code and has it in the low bits.
    INLINE f32v rounded(f32v x) {
        const i32v bits = (i32v)x, magnitude = bits & 0x7FFFFFFF;
        largest_ = greater(largest_, magnitude);
        negative_ = greater(negative_, magnitude & (bits >> 31));
        return smaller(larger(x / scale_, low_), all(1.0f)) * top_ + MAGIC;
    }
    static void raise(int32_t* to, i32v values) {
        int32_t value = 0, held = __atomic_load_n(to, __ATOMIC_RELAXED);
        for (int l = 0; l < LANES; ++l) value = values[l] > value ? values[l] : value;
        while (held < value && !__atomic_compare_exchange_n(to, &held, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    }

public:
    explicit Quantizer(const Quantize& job)
        : scale_(all(job.scale)), low_(all(job.low)), top_(all(job.top)), shift_(u32v{} + uint32_t(job.shift)) {}
    INLINE f32v code(f32v x) { return rounded(x) - MAGIC; }
    INLINE u32v byte(f32v x) { return ((u32v)rounded(x) + shift_) & 255u; }
    void found(Quantize& job) const {
        raise(&job.largest, largest_);
        raise(&job.negative, negative_);
    }
};

// Numbers in their present layout, to bytes or floats.
template <bool BYTES> void quantize_chunk(Quantize& job, const float* x, uint8_t* out, int64_t size) {
    Quantizer quantizer(job);
    auto four = [&](const float* from, uint8_t* to) INLINE_LAMBDA {
        u32v codes[4];
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
            const f32v values = load<f32v>(from + k * LANES);
            if (BYTES) codes[k] = quantizer.byte(values);
            else store(to + 4 * k * LANES, quantizer.code(values));
        }
        if (BYTES) store_bytes(to, codes);
    };
    constexpr int64_t FOUR = 4 * LANES, WIDTH = BYTES ? 1 : 4;
    int64_t i = 0;
    for (; i + FOUR <= size; i += FOUR) four(x + i, out + i * WIDTH);
    if (i < size) {
        float rest[FOUR]{};
        uint8_t codes[4 * FOUR];
        std::memcpy(rest, x + i, size_t(size - i) * 4);
        four(rest, codes);
        std::memcpy(out + i * WIDTH, codes, size_t((size - i) * WIDTH));
    }
    quantizer.found(job);
}

// Positions start..start+size-1 of an image, EACH channels a word: four as bytes, or one as a float.
template <int EACH> void quantize_turned(Quantize& job, const float* x, uint8_t* out, int64_t start, int64_t size) {
    constexpr int64_t WIDTH = 4 / EACH;  // bytes of a channel
    const int64_t channels = job.channels, positions = job.positions;
    alignas(64) uint32_t words[LANES][TILE];
    Quantizer quantizer(job);
    for (int64_t first = 0; first < channels; first += LANES * EACH) {
        const int64_t left = channels - first, held = left < LANES * EACH ? (left + EACH - 1) / EACH : LANES;
        for (int64_t r = 0; r < held; ++r) {
            const float* from = x + (first + r * EACH) * positions + start;
            const int64_t each = left - r * EACH < EACH ? left - r * EACH : EACH;
            for (int64_t p = 0; p < size; p += LANES) {
                u32v word{};
                for (int64_t k = 0; k < each; ++k) {
                    const f32v values = load_part<f32v>(from + k * positions + p, size - p);
                    word |= EACH == 1 ? (u32v)quantizer.code(values) : quantizer.byte(values) << (8 * uint32_t(k));
                }
                store(&words[r][p], word);
            }
        }
        uint8_t* to = out + (start * channels + first) * WIDTH;
        for (int64_t p = 0; held == 1 && p < size; ++p) copy_part<4>(to + p * channels * WIDTH, &words[0][p], left * WIDTH);
        for (int64_t p = 0; held > 1 && p < size; p += LANES) {
            u32v rows[LANES];
            for (int r = 0; r < LANES; ++r) rows[r] = r < held ? load<u32v>(&words[r][p]) : u32v{};
            transpose(rows);
            for (int l = 0; l < LANES && p + l < size; ++l) store_part(to + (p + l) * channels * WIDTH, rows[l], left * WIDTH);
        }
    }
    quantizer.found(job);
}

const f32v NO_BIAS = -f32v{};            // -0 changes no number; adding 0 would change -0

// Rows low..high-1 in their present layout. The rest of a row that does not fill a vector is scaled again with the numbers
// before it. Rows shorter than a vector go LANES at a time, with repeated steps and biases.
void scale_rows(const Scale& job, int64_t low, int64_t high) {
    const int64_t outputs = job.outputs, together = outputs < LANES ? LANES : 1, size = together * outputs;
    alignas(64) float steps[LANES * LANES], biases[LANES * LANES];
    for (int64_t i = 0; together > 1 && i < size; ++i) {
        steps[i] = job.step[i % outputs];
        biases[i] = job.bias ? job.bias[i % outputs] : -0.0f;
    }
    const float *step = together > 1 ? steps : job.step, *bias = together > 1 ? biases : job.bias;
    int64_t row = low;
    for (; row + together <= high; row += together) {
        const float* from = job.sums + row * outputs;
        float* to = job.out + row * outputs;
        for (int64_t c = 0; c < size; c += LANES) {
            const int64_t at = c < size - LANES ? c : size - LANES;
            store(to + at, load<f32v>(from + at) * load<f32v>(step + at) + (bias ? load<f32v>(bias + at) : NO_BIAS));
        }
    }
    for (int64_t i = row * outputs; i < high * outputs; ++i) job.out[i] = job.sums[i] * steps[i % outputs] + biases[i % outputs];
}

// Positions start..start+size-1 of an image.
void scale_turned(const Scale& job, const float* from, float* to, int64_t start, int64_t size) {
    if (job.outputs < LANES) {           // too few for a block
        for (int64_t c = 0; c < job.outputs; ++c) {
            const float step = job.step[c], bias = job.bias ? job.bias[c] : -0.0f;
            const float* source = from + start * job.outputs + c;
            float* __restrict line = to + c * job.positions + start;
            for (int64_t p = 0; p < size; ++p, source += job.outputs) line[p] = *source * step + bias;
        }
        return;
    }
    for (int64_t c = 0; c < job.outputs; c += LANES) {
        const int64_t left = job.outputs - c;
        const f32v step = load_part<f32v>(job.step + c, left);
        const f32v bias = job.bias ? load_part<f32v>(job.bias + c, left) : NO_BIAS;
        for (int64_t p = start; p < start + size; p += LANES) {
            const int64_t held = start + size - p;
            u32v rows[LANES];
            for (int r = 0; r < LANES; ++r)
                rows[r] = r < held ? (u32v)(load_part<f32v>(from + (p + r) * job.outputs + c, left) * step + bias) : u32v{};
            transpose(rows);
            for (int l = 0; l < LANES && l < left; ++l) store_part(to + (c + l) * job.positions + p, rows[l], 4 * held);
        }
    }
}

}  // namespace

ASIM_EXPORT void asim_quantize(Quantize* job) {
    job->largest = job->negative = 0;
    const int64_t width = job->is_bytes ? 1 : 4, image = job->channels * job->positions, numbers = job->images * image;
    const int64_t tiles = (job->positions + TILE - 1) / TILE, size = job->is_turned ? TILE : CHUNK;
    const auto turned = job->is_bytes ? quantize_turned<4> : quantize_turned<1>;
    const auto chunk = job->is_bytes ? quantize_chunk<true> : quantize_chunk<false>;
    const int64_t units = job->is_turned ? job->images * tiles : (numbers + CHUNK - 1) / CHUNK;
    auto* out = static_cast<uint8_t*>(job->out);
    asim::parallel_units(units, job->threads, [&](int64_t unit) {
        const int64_t start = (job->is_turned ? unit % tiles : unit) * size;
        const int64_t left = (job->is_turned ? job->positions : numbers) - start, own = left < size ? left : size;
        const int64_t at = job->is_turned ? unit / tiles * image : start;
        if (job->is_turned) turned(*job, job->x + at, out + at * width, start, own);
        else chunk(*job, job->x + at, out + at * width, own);
    });
}

ASIM_EXPORT void asim_scale(const Scale* job) {
    const int64_t blocks = job->is_turned ? (job->positions + TILE - 1) / TILE : job->positions;
    asim::parallel_for(job->images * blocks, job->threads, [&](asim::Shares& shares) {
        for (int64_t low, high; shares.next(low, high);) {
            if (!job->is_turned) scale_rows(*job, low, high);
            for (int64_t unit = low; job->is_turned && unit < high; ++unit) {
                const int64_t at = unit / blocks * job->positions * job->outputs, start = unit % blocks * TILE;
                const int64_t left = job->positions - start;
                scale_turned(*job, job->sums + at, job->out + at, start, left < TILE ? left : TILE);
            }
        }
    });
}
