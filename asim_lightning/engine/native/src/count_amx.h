// Counts by AMX: registers of 16 rows of 64 bytes, 16 singles by 16 lanes by 64 rows an instruction.
//
// Registers 0 to 3 hold counts of cycles, 4 and 6 singles, 5 and 7 lanes. Digits are bytes. Where singles are few a register
// holds those of two or four cycles, which meet one digit of the lanes.
// Lanes: a digit's quads of a group and tile, made when they are needed. # (digits, steps of 16 quads, 16 quads, 16 lanes)
// Singles: # (problems, tiles, blocks, registers, steps, 16 rows, 16 quads)
// Constraints: digits of at most 8 bits. Never timed in this form; its prototype made 4.3e9 noise-free conversions a second
// on a core of a Xeon.
#pragma once
#include "block.h"
#include "digits.h"

#if defined(__AMX_INT8__)
class CountAmx {
    static_assert(LANES == 16);
    static constexpr int64_t REGISTER = 256;   // words
    static int64_t steps_of(const Tile& tile) { return ceil_div(Operand::quads_of(tile), 16); }

    // Which digits of the singles stand in which registers.
    struct Registers {
        int block, together, count = 0;        // singles of a block; cycles of a register; registers
        int64_t blocks;
        Scratch<int> digits, of_cycles;        // four of each register; the register of each `together` cycles
        explicit Registers(const ConversionJob& job)
            : block(block_size(singles_of(job).lanes(), MULTIPLE)), together(cycles_together(job, block)),
              blocks(ceil_div(singles_of(job).lanes(), block)), digits(4 * job.cycle_count), of_cycles(job.cycle_count) {
            if (asim::refused_bytes) return;
            for (int c = 0; c < job.cycle_count; c += together) of_cycles[c / together] = number(job, c);
        }
    private:
        static int cycles_together(const ConversionJob& job, int64_t singles) {
            for (int c = 0; c < job.cycle_count; c += 4)
                for (int k = 1; k < 4; ++k)
                    if (lane_plane(job, job.cycles[c + k]) != lane_plane(job, job.cycles[c])) return 1;
            return singles <= 4 ? 4 : singles <= 8 ? 2 : 1;
        }
        int number(const ConversionJob& job, int first) {
            int own[4] = {};
            for (int k = 0; k < together; ++k) own[k] = single_plane(job, job.cycles[first + k]);
            for (int n = 0; n < count; ++n)
                if (!std::memcmp(digits.data() + 4 * n, own, sizeof own)) return n;
            std::memcpy(digits.data() + 4 * count, own, sizeof own);
            return count++;
        }
    };
    // Numbers of the planes that a cycle meets: a weight bit, or a digit of the inputs.
    static int lane_plane(const ConversionJob& job, const Cycle& c) { return job.inputs_in_lanes ? c.digit : c.weight_bit; }
    static int single_plane(const ConversionJob& job, const Cycle& c) { return job.inputs_in_lanes ? c.weight_bit : c.digit; }
    static Digit plane(const ConversionJob& job, bool of_inputs, int number) {
        return of_inputs ? job.digits[number] : Digit{number, 1};
    }
    static int64_t problem_size(const ConversionJob& job, const Registers& registers) {
        int64_t steps = 0;
        for (int t = 0; t < job.tile_count; ++t) steps += steps_of(job.tiles[t]);
        return steps * registers.blocks * registers.count * REGISTER;
    }
public:
    static constexpr bool LANES_IN_TURN = true, BESIDE = true;  // AMX counts while other instructions convert
    static constexpr int MULTIPLE = 1;

    static int64_t form_size(const ConversionJob& job) { return singles_of(job).problems * problem_size(job, Registers(job)); }

    static void make_form(const ConversionJob& job, const Operand& operand, uint32_t* out) {
        const Registers registers(job);
        if (asim::refused_bytes) return;
        std::memset(out, 0, form_size(job) * sizeof(uint32_t));
        const int64_t step = problem_size(job, registers);
        asim::parallel_for(operand.side.problems * registers.blocks, job.threads, [&](asim::Shares& shares) {
            for_units(shares, [&](int64_t unit) {
                uint32_t* to = out + unit / registers.blocks * step;
                for (int t = 0; t < job.tile_count; ++t) {
                    const int64_t size = steps_of(job.tiles[t]) * REGISTER;
                    for (int r = 0; r < registers.count; ++r)
                        for (int k = 0; k < registers.together; ++k)
                            fill(job, operand, registers, t, unit, plane(job, !job.inputs_in_lanes, registers.digits[4 * r + k]),
                                 to + (unit % registers.blocks * registers.count + r) * size + k * registers.block * 16);
                    to += registers.blocks * registers.count * size;
                }
            });
        });
    }

    CountAmx(const ConversionJob& job, const uint32_t* form, const Operand& operand)
        : job_(job), registers_(job), form_(form), operand_(operand), most_(most_words(job, steps_of) * REGISTER),
          planes_count_(job.inputs_in_lanes ? job.digit_count : int(job.weights.bits)),
          problem_step_(problem_size(job, registers_)), quads_(most_ * operand.bytes()), planes_(most_ * planes_count_),
          filled_(planes_count_) {
        alignas(64) uint8_t sizes[64] = {1};  // the only palette
        for (int r = 0; r < 8; ++r) {         // fewer rows of singles take less time
            sizes[16 + 2 * r] = 64;
            sizes[48 + r] = r == 5 || r == 7 ? 16 : uint8_t(registers_.block * registers_.together);
        }
        _tile_loadconfig(sizes);
    }
    ~CountAmx() { _tile_release(); }

    void arrange(const LaneGroup& lanes, int64_t problem, int tile) {
        const int64_t quads = Operand::quads_of(job_.tiles[tile]);
        plane_ = steps_of(job_.tiles[tile]) * REGISTER;
        tile_ = form_ + problem * problem_step_;
        for (int t = 0; t < tile; ++t) tile_ += registers_.blocks * registers_.count * steps_of(job_.tiles[t]) * REGISTER;
        arrange_quads(operand_, lanes, job_.tiles[tile], tile, most_, quads_.data());
        for (int64_t byte = 0; byte < operand_.bytes(); ++byte)
            std::memset(quads_.data() + byte * most_ + quads * GROUP, 0, (plane_ - quads * GROUP) * sizeof(uint32_t));
        for (int p = 0; p < planes_count_; ++p)
            filled_[p] = take_digit(DigitOfQuads(plane(job_, job_.inputs_in_lanes, p)), quads_.data(), plane_, most_, planes_.data() + p * plane_);
    }
    void select(int64_t first_single, int) {
        block_ = tile_ + first_single / registers_.block * registers_.count * plane_;
    }

    int batch() const { return registers_.together == 4 ? 4 : 1; }  // fours that are counted together

    bool is_empty(int four) const {
        for (int k = 0; k < 4; ++k)
            if (filled_[lane_plane(job_, job_.cycles[4 * four + k])]) return false;
        return true;
    }

    // Counts of fours of cycles. # (fours, 4, singles of a block, 16)
    void count(const int* fours, int number, int32_t* counts) {
        const int together = registers_.together;
        const int64_t between = int64_t(registers_.block) * GROUP * together, plane = plane_;
        const uint32_t *a[4], *b[4];
        if (together == 4) {  // four fours, which do not wait for each other
            for (int k = 0; k < 4; ++k) {
                const int four = fours[k < number ? k : 0];
                a[k] = block_ + registers_.of_cycles[four] * plane;
                b[k] = planes_.data() + lane_plane(job_, job_.cycles[4 * four]) * plane;
            }
        } else {
            for (int k = 0; k < 4 / together; ++k) a[k] = block_ + registers_.of_cycles[*fours * (4 / together) + k] * plane;
            for (int k = 0; k < 4; ++k) b[k] = planes_.data() + lane_plane(job_, job_.cycles[4 * *fours + k]) * plane;
        }
        asm volatile("" ::: "memory");  // GCC does not know that registers are loaded from memory
        if (together == 2) {
            _tile_zero(0); _tile_zero(1);
            for (int64_t at = 0; at < plane; at += REGISTER) {
                _tile_loadd(5, b[0] + at, 64);
                _tile_loadd(4, a[0] + at, 64); _tile_dpbuud(0, 4, 5);
                _tile_loadd(6, a[1] + at, 64); _tile_dpbuud(1, 6, 5);
            }
            _tile_stored(0, counts, 64);
            _tile_stored(1, counts + between, 64);
            return;
        }
        _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
        if (b[0] == b[1] && b[0] == b[2] && b[0] == b[3])  // one plane of the lanes
            for (int64_t at = 0; at < plane; at += REGISTER) {
                _tile_loadd(5, b[0] + at, 64);
                _tile_loadd(4, a[0] + at, 64); _tile_dpbuud(0, 4, 5);
                _tile_loadd(6, a[1] + at, 64); _tile_dpbuud(1, 6, 5);
                _tile_loadd(4, a[2] + at, 64); _tile_dpbuud(2, 4, 5);
                _tile_loadd(6, a[3] + at, 64); _tile_dpbuud(3, 6, 5);
            }
        else if (a[0] == a[2] && a[1] == a[3] && b[0] == b[1] && b[2] == b[3])  // two of each
            for (int64_t at = 0; at < plane; at += REGISTER) {
                _tile_loadd(4, a[0] + at, 64); _tile_loadd(5, b[0] + at, 64); _tile_dpbuud(0, 4, 5);
                _tile_loadd(6, a[1] + at, 64); _tile_dpbuud(1, 6, 5);
                _tile_loadd(7, b[2] + at, 64); _tile_dpbuud(2, 4, 7);
                _tile_dpbuud(3, 6, 7);
            }
        else if (a[0] == a[1] && a[0] == a[2] && a[0] == a[3])  // one plane of the singles
            for (int64_t at = 0; at < plane; at += REGISTER) {
                _tile_loadd(4, a[0] + at, 64);
                _tile_loadd(5, b[0] + at, 64); _tile_dpbuud(0, 4, 5);
                _tile_loadd(7, b[1] + at, 64); _tile_dpbuud(1, 4, 7);
                _tile_loadd(5, b[2] + at, 64); _tile_dpbuud(2, 4, 5);
                _tile_loadd(7, b[3] + at, 64); _tile_dpbuud(3, 4, 7);
            }
        else
            for (int64_t at = 0; at < plane; at += REGISTER) {
                _tile_loadd(4, a[0] + at, 64); _tile_loadd(5, b[0] + at, 64); _tile_dpbuud(0, 4, 5);
                _tile_loadd(6, a[1] + at, 64); _tile_loadd(7, b[1] + at, 64); _tile_dpbuud(1, 6, 7);
                _tile_loadd(4, a[2] + at, 64); _tile_loadd(5, b[2] + at, 64); _tile_dpbuud(2, 4, 5);
                _tile_loadd(6, a[3] + at, 64); _tile_loadd(7, b[3] + at, 64); _tile_dpbuud(3, 6, 7);
            }
        _tile_stored(0, counts, 64);
        _tile_stored(1, counts + between, 64);
        _tile_stored(2, counts + 2 * between, 64);
        _tile_stored(3, counts + 3 * between, 64);
    }

private:
    // A digit of a block's singles into the rows of registers. # (steps, 16 rows, 16 quads)
    static void fill(const ConversionJob& job, const Operand& operand, const Registers& registers, int tile, int64_t unit,
                     Digit given, uint32_t* out) {
        const DigitOfQuads digit(given);
        const uint32_t* quads = operand.problem(unit / registers.blocks);
        const int64_t above = digit.has_left ? operand.byte_step() : 0, first = unit % registers.blocks * registers.block;
        for (int64_t m = 0; m < registers.block && first + m < operand.side.lanes(); ++m) {
            const int64_t place = operand.place(first + m);
            operand.each_quad(job.tiles[tile], tile, digit.byte, [&](int64_t quad, int64_t offset) {
                out[quad / 16 * REGISTER + m * 16 + quad % 16] = digit.of(quads[place + offset], quads[place + offset + above]);
            });
        }
    }

    const ConversionJob& job_;
    const Registers registers_;
    const uint32_t* form_;
    const Operand& operand_;
    const int64_t most_;
    const int planes_count_;
    const int64_t problem_step_;
    Scratch<uint32_t> quads_, planes_;
    Scratch<uint8_t> filled_;
    const uint32_t *tile_ = nullptr, *block_ = nullptr;
    int64_t plane_ = 0;
};
#endif
