// Digits of quads: the bits of four integers that a cycle takes, each in a byte of its own.
#pragma once
#include "operand.h"

struct DigitOfQuads {
    int byte, right, left;             // of the two bytes of an integer that hold the digit, the first one; shifts
    uint32_t mask_right, mask_left;
    bool has_left;
    explicit DigitOfQuads(Digit d) : byte(d.low / 8) {
        const int shift = d.low % 8, below = d.bits < 8 - shift ? d.bits : 8 - shift;  // bits in the first byte
        right = shift;
        left = (8 - shift) % 8;
        mask_right = 0x01010101u * ((1u << below) - 1);
        mask_left = 0x01010101u * (((1u << (d.bits - below)) - 1) << below);
        has_left = d.bits > below;
    }
    template <class U> INLINE U of(U low) const { return (low >> right) & mask_right; }
    template <class U> INLINE U of(U low, U high) const { return of(low) | ((high << left) & mask_left); }
};

// A digit of quads, and whether any is not 0. Quads of the next byte of the integers stand `step` further on.
inline APART bool take_digit(const DigitOfQuads& given, const uint32_t* quads, int64_t size, int64_t step, uint32_t* out) {
    const DigitOfQuads digit = given;
    const uint32_t* low = quads + digit.byte * step;
    u32v any{};
    for (int64_t at = 0; at < size; at += LANES) {
        u32v v = digit.of(load<u32v>(low + at));
        if (digit.has_left) v = digit.of(load<u32v>(low + at), load<u32v>(low + step + at));
        store(out + at, v);
        any |= v;
    }
    return has_bits(any);
}

// Quads of a tile's rows in a group of lanes. # (bytes of an integer, quads of a tile, 16), bytes `step` apart
inline void arrange_quads(const Operand& operand, const LaneGroup& lanes, const Tile& tile, int number, int64_t step,
                          uint32_t* out) {
    for (int64_t byte = 0; byte < operand.bytes(); ++byte)
        operand.each_quad(tile, number, byte, [&](int64_t quad, int64_t offset) INLINE_LAMBDA {
            for (int v = 0; v < VECTORS; ++v) store(out + byte * step + quad * GROUP + v * LANES, lanes.of(offset, v));
        });
}
