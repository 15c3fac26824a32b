"""Counts of a layer by slow loops over outputs, tiles, weight bits and input digits, from the definitions alone."""

from collections import Counter
from dataclasses import dataclass


@dataclass
class Layer:
    """A layer as a designer sees it: matrices of columns, each with so many input vectors and channels of elements."""

    matrices: int
    steps: int
    columns: int
    channels: int
    elements: int = 1

    def tiles(self, rows: int) -> list[int]:
        """Rows in use of each tile: whole kernels, as many as fit; a kernel that does not fit is cut."""
        found, filled = [], 0
        for _ in range(self.channels):
            if self.elements > rows:
                left = self.elements
                while left:
                    found.append(min(rows, left))
                    left -= found[-1]
                continue
            if filled and filled + self.elements > rows:
                found.append(filled)
                filled = 0
            filled += self.elements
        return found + ([filled] if filled else [])


def input_digits(bits: int, encoding: int, signed: bool) -> list[int]:
    """Number of bits of each digit: full ones, the remainder, the sign alone."""
    left, found = bits - signed, []
    while left:
        found.append(min(encoding, left))
        left -= found[-1]
    return found + ([1] if signed else [])


def count(layer: Layer, macro: dict, signed: bool) -> Counter[str]:
    """Everything that is done, one event at a time."""
    found: Counter[str] = Counter()
    weight_bits, parallel = macro["weight_bits"], macro.get("weight_parallel", False)
    digits = [macro["input_bits"]] if parallel else input_digits(
        macro["input_bits"], macro.get("encoding_bits", 1), signed
    )  # fmt: skip
    slices = 1 if parallel else weight_bits
    corner = slices - 1 + len(digits) - 1
    shared, may_flip = macro.get("columns_per_adc", 1), macro.get("weight_coding") == "flip"
    tiles = layer.tiles(macro["rows"])
    for _ in range(layer.steps):
        for j in range(len(digits)):
            kinds, digital_bits = [], 0
            for i in range(slices):
                level = corner - (i + j)  # 0 is the most significant corner
                if parallel:
                    kinds.append(macro.get("votes", 1) if macro.get("vote_levels", 0) else 1)
                elif level < macro.get("digital_levels", 0) and not macro.get("digital_adc", False):
                    kinds.append(0)
                    digital_bits += digits[j]
                else:
                    is_digital = level < macro.get("digital_levels", 0)
                    voted = level < macro.get("vote_levels", 0) and not is_digital
                    kinds.append(macro.get("votes", 1) if voted else 1)
            busy = Counter[int]()  # conversions of each converter of an array
            for column in range(layer.columns * slices):
                busy[column // shared] += kinds[column % slices]
            rounds = max(busy.values()) or 1
            found["cycles"] += rounds
            for _ in range(layer.matrices):
                for used in tiles:
                    found["array_reads"] += rounds
                    found["complement_sums"] += used * may_flip  # input digits to their sum
                    for _ in range(layer.columns):
                        found["shift_adds"] += 1
                        found["digital_bit_macs"] += used * digital_bits
                        for votes in kinds:
                            found["conversions"] += votes
                            found["digital_cycles"] += votes == 0
                            found["complement_sums"] += may_flip  # the sum of the inputs to the code
                        if j == 0:
                            found["macs"] += used
                            found["row_macs"] += macro["rows"]
    for _ in range(layer.matrices):
        for used in tiles:
            found["converters"] += len(range(0, layer.columns * slices, shared))
            for _ in range(layer.columns):
                found["cells"] += used * weight_bits
                found["complement_bits"] += weight_bits * may_flip
                found["all_cells"] += macro["rows"] * weight_bits
    return found
