"""The digital side of a layer in Verilog-2001: a shift-adder for its schedule, and a bench that checks all sums."""

from asim_lightning.silicon.files import Widths, input_groups
from asim_lightning.silicon.layer_vectors import LayerVectors

MODULE, BENCH = "shift_adder.v", "bench.v"


def shifted(value: str, weight: int) -> str:
    """A weight times a value, as a sum of shifted values: ``7`` is ``(v <<< 3) - (v <<< 0)``."""
    terms, place, left = [], 0, abs(weight)
    while left:
        if left & 1:
            sign = 2 - (left & 3)  # of two neighbouring ones, the lower is subtracted and the upper carries on
            left -= sign
            terms.append((sign if weight > 0 else -sign, place))
        left, place = left >> 1, place + 1
    text = "".join(f" {'+' if sign > 0 else '-'} ({value} <<< {place})" for sign, place in reversed(terms))
    return text.removeprefix(" + ").strip() or f"{value} & 0"


def verilog_files(found: LayerVectors) -> dict[str, str]:
    """The synthesizable module, and its bench, by file name."""
    return {MODULE: _module(found), BENCH: _bench(found)}


def _module(found: LayerVectors) -> str:
    circuit, widths = found.transfer, Widths(found.transfer, len(found.tiles))
    votes = max(c.votes if c.converted else 1 for c in circuit.cycles)
    weights = [circuit.code_weight(c) if c.converted else c.sign * 2**c.shift for c in circuit.cycles]
    cases = "\n".join(f"            {number}: term = {shifted('v', weight)};" for number, weight in enumerate(weights))
    digital = [number for number, c in enumerate(circuit.cycles) if not c.converted]
    is_digital = f"            {', '.join(map(str, digital))}: is_digital = 1'b1;\n" if digital else ""
    signed = "signed " if widths.is_signed else ""
    extended = "voted" if widths.is_signed else "$signed({1'b0, voted})"
    sums_reads = circuit.macro.vote == "mean" or votes == 1
    vote = "    assign voted = code;\n" if sums_reads else _vote(circuit.macro.vote, votes, widths.code, signed)
    return f"""// Sum of the codes of one output of layer {found.layer}, and sum of its counts of cycles without ADC.
// The codes of all tiles come one after the other: cycle after cycle, and read after read if a cycle is voted.
// An output in counts is sum * scale / divisor + digital_sum + offset * tiles, see expected.json.
// There is no reset but clear.
`timescale 1ns / 1ps
module shift_adder (
    input clk,
    input clear,                     // 1: sums are 0 after the next clock edge
    input valid,                     // 1: there is a code
    input [{_high(_cycle_bits(found))}:0] cycle,               // number of the cycle: 0..{len(weights) - 1}
    input last,                      // 1: last read of the cycle
    input {signed}[{widths.code - 1}:0] code,          // code{_extended(widths)}, or count of a cycle without ADC
    output reg signed [{widths.sum - 1}:0] sum,
    output reg signed [{widths.sum - 1}:0] digital_sum
);
    wire {signed}[{widths.code - 1}:0] voted;
{vote}    wire signed [{widths.sum - 1}:0] v = {extended};
    reg signed [{widths.sum - 1}:0] term;
    reg is_digital;

    always @* begin
        is_digital = 1'b0;
        case (cycle)
{is_digital}            default: is_digital = 1'b0;
        endcase
        case (cycle)
{cases}
            default: term = 0;
        endcase
    end

    always @(posedge clk) begin
        if (clear) begin
            sum <= 0;
            digital_sum <= 0;
        end else if (valid{"" if sums_reads else " && last"}) begin
            if (is_digital) digital_sum <= digital_sum + term;
            else sum <= sum + term;
        end
    end
endmodule
"""


def _vote(rule: str, votes: int, bits: int, signed: str) -> str:
    """Registers that hold earlier reads of a cycle, and the code that they and the last read agree on."""
    better = (
        "agree > agreement || (agree == agreement && candidate < best)"  # of equally frequent codes the smallest
        if rule == "mode"
        else "2 * below < reads + 1 && 2 * agree + 2 * below > reads + 1"
    )
    return f"""    reg [{bits * (votes - 1) - 1}:0] held;  // earlier reads, the latest in the lowest bits
    reg [{_high(votes.bit_length())}:0] reads;      // how many
    wire [{bits * votes - 1}:0] all = {{held, code}};
    reg {signed}[{bits - 1}:0] best, candidate, other;
    integer i, j, agree, below, agreement;

    always @(posedge clk) begin
        if (clear || (valid && last)) reads <= 0;
        else if (valid) begin
            reads <= reads + 1'b1;
            held <= all[{bits * (votes - 1) - 1}:0];
        end
    end

    always @* begin
        best = code;
        candidate = code;
        other = code;
        agreement = 0;
        for (i = 0; i < {votes}; i = i + 1) begin
            candidate = all[i * {bits} +: {bits}];
            agree = 0;
            below = 0;
            for (j = 0; j < {votes}; j = j + 1) begin
                other = all[j * {bits} +: {bits}];
                if (j <= reads && other == candidate) agree = agree + 1;
                if (j <= reads && other < candidate) below = below + 1;
            end
            if (i <= reads && ({better})) begin
                best = candidate;
                agreement = agree;
            end
        end
    end
    assign voted = best;
"""


def _bench(found: LayerVectors) -> str:
    circuit, widths = found.transfer, Widths(found.transfer, len(found.tiles))
    macro, reads, digits = circuit.macro, found.reads, input_groups(found.transfer)
    outputs, arrays = found.arrays[0].weights.shape[0], found.arrays
    columns, vectors = outputs * macro.weight_bits, arrays[0].inputs.shape[0]
    codes = vectors * len(reads) * outputs
    loads = "\n".join(
        f'        $readmemh("{each.name}_{kind}.hex", {kind}, {number * size}, {(number + 1) * size - 1});'
        for number, each in enumerate(arrays)
        for kind, size in (("weights", columns), ("inputs", vectors * len(digits)), ("codes", codes))
    )
    return f"""// Bench of shift_adder: feeds all codes of layer {found.layer}, and compares all sums.
// It also counts the ones of cycles without ADC from weights and inputs.
`timescale 1ns / 1ps
module bench;
    localparam VECTORS = {found.vectors}, GROUPS = {found.groups}, OUTPUTS = {outputs}, READS = {len(reads)};
    localparam ARRAYS = {len(arrays)}, LINES = {vectors}, DIGITS = {len(digits)}, BITS = {macro.weight_bits};
    reg [{macro.rows - 1}:0] weights [0:{len(arrays) * columns - 1}];
    reg [{macro.rows * widths.digit - 1}:0] inputs [0:{len(arrays) * vectors * len(digits) - 1}];
    reg {"signed " if widths.is_signed else ""}[{widths.code - 1}:0] codes [0:{len(arrays) * codes - 1}];
    reg signed [{widths.sum - 1}:0] sums [0:{found.vectors * found.groups * outputs - 1}];
    reg signed [{widths.sum - 1}:0] digital_sums [0:{found.vectors * found.groups * outputs - 1}];
    integer group_of [0:ARRAYS-1], first_of [0:ARRAYS-1];   // group, and first vector, of each array
    integer cycle_of [0:READS-1], last_of [0:READS-1];      // cycle of each read; 1: last of its cycle
    integer digit_of [0:READS-1], bit_of [0:READS-1];       // digit and weight bit of a cycle without ADC, else -1

    reg clk, clear, valid, last;
    reg [{_high(_cycle_bits(found))}:0] cycle;
    reg {"signed " if widths.is_signed else ""}[{widths.code - 1}:0] code;
    wire signed [{widths.sum - 1}:0] sum, digital_sum;
    shift_adder adder (clk, clear, valid, cycle, last, code, sum, digital_sum);

    integer v, g, o, a, r, row, line, count, place, wrong, miscounted, checked;

    initial begin
{loads}
        $readmemh("sums.hex", sums);
        $readmemh("digital_sums.hex", digital_sums);
{_constants(found)}
        clk = 0; valid = 0; last = 0; code = 0; cycle = 0; wrong = 0; miscounted = 0; checked = 0;
        for (v = 0; v < VECTORS; v = v + 1)
            for (g = 0; g < GROUPS; g = g + 1)
                for (o = 0; o < OUTPUTS; o = o + 1) begin
                    clear = 1; tick; clear = 0;
                    for (a = 0; a < ARRAYS; a = a + 1)
                        if (group_of[a] == g && v >= first_of[a] && v < first_of[a] + LINES)
                            for (r = 0; r < READS; r = r + 1) feed;
                    place = (v * GROUPS + g) * OUTPUTS + o;
                    if (sum !== sums[place] || digital_sum !== digital_sums[place]) begin
                        wrong = wrong + 1;
                        if (wrong <= 10)
                            $display("vector %0d group %0d output %0d: sums %0d and %0d, expected %0d and %0d",
                                     v, g, o, sum, digital_sum, sums[place], digital_sums[place]);
                    end
                    checked = checked + 1;
                end
        if (wrong + miscounted == 0) $display("PASS %0d sums of %0d codes", checked, ARRAYS * LINES * READS * OUTPUTS);
        else $display("FAIL %0d of %0d sums differ, and %0d counts of cycles without ADC", wrong, checked, miscounted);
        $finish;
    end

    task tick;
        begin
            #1 clk = 1;
            #1 clk = 0;
        end
    endtask

    task feed;
        begin
            code = codes[((a * LINES + v - first_of[a]) * READS + r) * OUTPUTS + o];
            cycle = cycle_of[r];
            last = last_of[r];
            if (digit_of[r] >= 0) begin
                count = 0;
                line = (a * LINES + v - first_of[a]) * DIGITS + digit_of[r];
                for (row = 0; row < {macro.rows}; row = row + 1)
                    if (weights[(a * OUTPUTS + o) * BITS + bit_of[r]][row])
                        count = count + inputs[line][row * {widths.digit} +: {widths.digit}];
                if (code !== count) begin
                    miscounted = miscounted + 1;
                    if (miscounted <= 10)
                        $display("vector %0d group %0d output %0d cycle %0d: count %0d, expected %0d",
                                 v, g, o, cycle, count, code);
                end
            end
            valid = 1; tick; valid = 0;
        end
    endtask
endmodule
"""


def _constants(found: LayerVectors) -> str:
    cycles, reads, digits = found.transfer.cycles, found.reads, input_groups(found.transfer)
    lines = []
    for number, each in enumerate(found.arrays):
        lines.append(
            f"group_of[{number}] = {each.group}; first_of[{number}] = {each.images.start * len(found.positions)};"
        )
    for number, (cycle, _) in enumerate(reads):
        last = int(number + 1 == len(reads) or reads[number + 1][0] != cycle)
        own = cycles[cycle]
        digit, bit = (-1, 0) if own.converted else (digits.index(own.input_bits), own.weight_bits[0])
        lines.append(
            f"cycle_of[{number}] = {cycle}; last_of[{number}] = {last}; digit_of[{number}] = {digit}; "
            f"bit_of[{number}] = {bit};"
        )
    return "\n".join(f"        {line}" for line in lines)


def _extended(widths: Widths) -> str:
    return " with its sign extended" if widths.is_signed else " with zeros on top"


def _cycle_bits(found: LayerVectors) -> int:
    return max(1, (len(found.transfer.cycles) - 1).bit_length())


def _high(bits: int) -> int:
    return bits - 1
