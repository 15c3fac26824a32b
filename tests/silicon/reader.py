"""What a reader of a folder of vectors writes: sums from expected.json and hex files alone, without the package."""

import json
from collections import Counter
from pathlib import Path
from statistics import median


def words(file: Path) -> list[int]:
    """The words of a hex file."""
    return [int(line, 16) for line in file.read_text().splitlines() if not line.startswith("//")]


def signed(word: int, bits: int) -> int:
    """Two's complement."""
    return word - (1 << bits) if word >> (bits - 1) else word


def agreed(codes: list[int], rule: str) -> float:
    """The code of several votes: their sum for the mean, else the median, or the smallest of the most frequent."""
    most = max(Counter(codes).values())
    mode = min(code for code, count in Counter(codes).items() if count == most)
    return sum(codes) if rule == "mean" else median(codes) if rule == "median" else mode


def outputs(folder: Path) -> dict[tuple[int, int, int, int], float]:
    """Outputs in counts by image, position, group and output."""
    expected = json.loads((folder / "expected.json").read_text())
    cycles, positions, out = expected["cycles"], expected["positions"], expected["output"]
    sums: dict[tuple[int, int, int, int], list[float]] = {}
    for array in expected["arrays"]:
        codes = iter(words(folder / f"{array['name']}_codes.hex"))
        for image in array["images"]:
            for position in positions:
                for cycle in cycles:
                    reads = [[next(codes) for _ in range(array["outputs"])] for _ in range(cycle["votes"])]
                    for output, own in enumerate(zip(*reads, strict=True)):
                        read = [
                            signed(code, expected["bits"]["code"]) if expected["signed_codes"] else code for code in own
                        ]
                        both = sums.setdefault((image, position, array["group"], output), [0, 0])
                        both[not cycle["converted"]] += cycle["weight"] * agreed(read, expected["vote"])
    return {
        at: coded * out["scale"] / out["divisor"] + counted + out["offset"] * out["tiles"]
        for at, (coded, counted) in sums.items()
    }
