// The ADC: level, sigma and code of a count. A new level function is one functor here and a case in with_level.
//
// Functors turn LANES counts into LANES levels or sigmas in codes. All are inlined into loops over a block, so a cycle's
// constants stay in registers.
#pragma once
#include "conversion_job.h"
#include "lanes.h"

struct Proportional {
    float gain;
    INLINE f32v operator()(i32v count) const { return to_float(count) * gain; }
};
struct Quotient {
    float gain, rest, top;
    INLINE f32v operator()(i32v count) const {
        const f32v real = to_float(count);
        return (real * gain + real * rest) * top;
    }
};
struct Tabulated {
    const float* table;
    INLINE f32v operator()(i32v count) const { return look_up<f32v>(table, count); }
};

// A table of counts for each number of driven rows, which begins at `row`.
struct TabulatedByDriven : Tabulated {};
template <class Function> constexpr bool IS_BY_DRIVEN = __is_same(Function, TabulatedByDriven);

// Sigmas of counts; Silent and Constant need none.
struct Silent { template <class V> INLINE f32v operator()(V) const { return f32v{}; } };
struct Constant {
    float sigma;
    template <class V> INLINE f32v operator()(V) const { return all(sigma); }
};
struct Shrinking {                     // sqrt(a + b / (c * count + 1)), by a guess and one Newton step: 7e-7 off
    float a, b, c;
    INLINE f32v operator()(i32v count) const {
        const f32v d = to_float(count) * c + 1.0f, n = d * a + b, p = d * n;
        // guess from the bits, and a step with constants fitted to it (Moroz et al., Computation 9, 21, 2021)
        f32v y = (f32v)(0x5F1FFFF9 - ((i32v)p >> 1));
        y = y * (p * y * y * -0.703952253f + float(0.703952253 * 2.38924456));
        y = y * (p * y * y * -0.5f + 1.5f);
        return n * y;
    }
};

// Level and sigma of real counts, operation by operation as columns.py has them.
struct RealLevel {
    float low, divisor, least, most, factor;
    INLINE f32v operator()(f32v count) const {
        return smaller(larger((count - low) / divisor, all(least)), all(most)) * factor;
    }
};
struct RealShrinking {
    float full, rows, a, b, unit;
    INLINE f32v operator()(f32v count) const {
        const f32v active = smaller(larger(count / full, f32v{}), all(1.0f)) * rows;
        return square_root(b / (active + 1.0f) + a) * unit;
    }
};

// Call use(level) with the functor of a converted cycle.
template <class Use> INLINE void with_level(const Cycle& c, const float* levels, Use use) {
    if (c.level == PROPORTIONAL) use(Proportional{c.gain});
    else if (c.level == QUOTIENT) use(Quotient{c.gain, c.rest, c.top});
    else if (c.level == LEVEL_BY_DRIVEN) use(TabulatedByDriven{{levels + c.table}});
    else use(Tabulated{levels + c.table});
}
template <class Use> INLINE void with_sigma(const Cycle& c, const float* sigmas, Use use) {
    if (c.sigma == SILENT) use(Silent{});
    else if (c.sigma == CONSTANT) use(Constant{c.constant});
    else if (c.sigma == SHRINKING) use(Shrinking{c.a, c.b, c.c});
    else if (c.sigma == SIGMA_BY_DRIVEN) use(TabulatedByDriven{{sigmas + c.table}});
    else use(Tabulated{sigmas + c.table});
}

// An ADC without errors: its input for a level, and the code of the input plus noise.
struct IdealAdc {
    static constexpr bool IS_REAL = false;
    float top;
    INLINE f32v input(f32v level, int, int) const { return level; }
    INLINE i32v code(f32v v, int, int) const { return nearest(smaller(larger(v, f32v{}), all(top))); }
};

// The converters of a block, one for each single or one for each lane.
struct BlockConverters {
    int64_t first;                     // the block's first converter in the arrays
    bool in_lanes;                     // whether output columns are lanes
    INLINE f32v numbers(const float* array, int single, int vector) const {
        return in_lanes ? load<f32v>(array + first + vector * LANES) : all(array[first + single]);
    }
    INLINE i32v numbers(const int32_t* array, int single, int vector) const {
        return in_lanes ? load<i32v>(array + first + vector * LANES) : i32v{} + array[first + single];
    }
    INLINE bool is_one() const { return !in_lanes; }   // whether all lanes of a vector have the same converter
};

// Place of the first converter of a tile, group or head and weight bit in the arrays of converters.
INLINE int64_t first_converter(const Converters& of, int64_t macros, int64_t outputs, int64_t tile, int64_t macro, int bit) {
    return ((tile * macros + macro) * of.weight_bits + bit) * ((outputs + GROUP - 1) / GROUP * GROUP);
}

// An ADC with gain, offset and INL, and codes 0 .. top.
template <class Places> struct StaticAdc {
    static constexpr bool IS_REAL = false;
    float top;
    const Converters& of;
    Places places;

    INLINE f32v input(f32v level, int single, int vector) const {
        if (of.gain) level = level * places.numbers(of.gain, single, vector);
        if (of.offset) level = level + places.numbers(of.offset, single, vector);
        return level;
    }
    INLINE i32v code(f32v v, int single, int vector) const {
        i32v code = nearest(smaller(larger(v, f32v{}), all(top)));
        if (of.curve) {
            const i32v table = places.numbers(of.curve, single, vector);
            for (int pass = 0; pass < of.passes; ++pass) code = moved(v, code, table);
        }
        return code;
    }

private:
    // A code after one comparison with the thresholds next to it.
    INLINE i32v moved(f32v v, i32v code, i32v table) const {
        const f32v real = to_float(code);
        const i32v most = i32v{} + (int32_t)top;
        const i32v below = (v < real - 0.5f + inl(code, table)) & (code > 0);       // true is -1
        const i32v above = (v >= real + 0.5f + inl(code + 1, table)) & (code < most) & ~below;
        return code + below - above;
    }
    // INL of the thresholds below codes 0 .. top + 1; the last is not used.
    INLINE f32v inl(i32v code, i32v table) const {
        if (!of.nibbles) {
            const i32v last = i32v{} + (of.length - 1);
            return look_up<f32v>(of.tables, table * of.length + (code > last ? last : code));
        }
        f32v sum{};
        for (int n = 0; n < of.nibbles; ++n) {
            const i32v nibble = (code >> (4 * n)) & 15;
            sum += places.is_one() ? look_up_16(of.tables + (int64_t(table[0]) * of.nibbles + n) * 16, nibble)
                                   : look_up<f32v>(of.tables, (table * of.nibbles + n) * 16 + nibble);
        }
        return sum;
    }
};

// The same at the end of columns whose cells differ.
template <class Places> struct RealAdc : StaticAdc<Places> {
    static constexpr bool IS_REAL = true;
    const float* gain;
    RealAdc(float top, const Converters& of, Places places, const float* gain) : StaticAdc<Places>{top, of, places}, gain(gain) {}
    INLINE f32v real(i32v count, int single, int vector) const {
        const f32v real = to_float(count) * 0x1p-12f;
        return gain ? real * this->places.numbers(gain, single, vector) : real;
    }
};
