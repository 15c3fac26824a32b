"""Each converter of a measured file has its own level and noise, and columns have them in turn."""

from itertools import product as pairs
from pathlib import Path
from typing import Any

import pytest
import torch

from asim_lightning.circuit import Conversion, MacroConfig, resolved, transfer
from asim_lightning.engine import ENGINES, Conv2dProduct, MatmulProduct, Product, choose, decision, refusals, sums_of
from asim_lightning.engine.explanation import explain
from tests.engine.native.test_conversion import operands
from tests.engine.products import PRODUCTS, noise_of

ROWS, TOP = 63, 63


def file_of(folder: Path, converters: dict[int, tuple[float, float]]) -> str:
    """A file of converters whose codes lie so much above the count, with such a deviation."""
    lines = ["column,count,mean,std"]
    for number, (offset, std) in converters.items():
        lines += [
            f"{number},{count},{min(TOP, count + offset)},{std if 8 <= count <= 50 else 0}" for count in range(ROWS + 1)
        ]
    path = folder / "each.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def macro_of(file: str, converter: Any = "each", **more: Any) -> MacroConfig:
    return MacroConfig(4, 4, ROWS, 6, column="measured", column_args={"file": file, "converter": converter}, **more)


def test_columns_have_the_curves_of_the_file_in_turn(tmp_path: Path) -> None:
    circuit = transfer(macro_of(file_of(tmp_path, {5: (3, 0), 2: (0, 0), 9: (1, 0)})), False)
    offsets = [0, 3, 1]  # by rising number
    x, w = torch.zeros(1, 20), torch.full((7, 20), 7.0)
    x[0, :5] = 1.0
    found = sums_of(ENGINES["reference"], MatmulProduct(), circuit, x, w, noise_of(1))[0]
    for output in range(7):
        expected = 0
        for bit, group in pairs(range(4), range(4)):
            count = 5 * (bit < 3) * (group == 0)
            code = count + offsets[(output * 4 + bit) % 3]
            expected += code * 2 ** (bit + group) * (-1 if bit == 3 else 1)
        assert float(found[output]) == expected


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_curves_that_are_alike_are_one(product: Product, tmp_path: Path) -> None:
    file = file_of(tmp_path, {0: (1, 0.5), 1: (1, 0.5), 2: (1, 0.5)})
    one, each = (transfer(macro_of(file, converter), True) for converter in (1, "each"))
    x, w = operands(product, one.macro, True, batch=2)
    found = [sums_of(ENGINES["reference"], product, circuit, x, w, noise_of(2)) for circuit in (one, each)]
    assert torch.equal(*found)


def test_groups_begin_anew(tmp_path: Path) -> None:
    circuit = transfer(macro_of(file_of(tmp_path, {0: (0, 0), 1: (1, 0), 2: (2, 0)})), False)
    x, w = torch.zeros(1, 4, 2, 2), torch.zeros(6, 2, 1, 1)
    product = Conv2dProduct((1, 1), (0, 0), (1, 1), 2)
    found = sums_of(ENGINES["reference"], product, circuit, x, w, noise_of(1))[0, :, 0, 0]
    assert torch.equal(found[:3], found[3:])
    assert len(set(found[:3].tolist())) > 1


def test_deviations_are_those_of_the_converters(tmp_path: Path) -> None:
    macro = MacroConfig(
        2, 1, ROWS, 6, column="measured",
        column_args={"file": file_of(tmp_path, {0: (0, 0), 1: (0, 0), 2: (0, 0.8), 3: (0, 0)}), "converter": "each"},
    )  # fmt: skip
    x, w = torch.zeros(4000, 30), torch.ones(4, 30)
    x[:, :20] = 1.0
    found = sums_of(ENGINES["reference"], MatmulProduct(), transfer(macro, False), x, w, noise_of(4000))
    # the file's deviations are of codes: of weight bit 0 of outputs 1 and 3 alone
    assert found.std(0).tolist() == pytest.approx([0, 0.8, 0, 0.8], abs=0.03)


def test_kernels_refuse_them_and_say_why(tmp_path: Path) -> None:
    circuit = transfer(macro_of(file_of(tmp_path, {0: (0, 0), 1: (1, 0)})), False)
    assert choose(circuit) == "reference"
    assert refusals(circuit)["native"] == "its tables have one curve for all converters"
    assert decision(circuit)[0] == "every conversion"
    assert set(circuit.conversions) == {Conversion.LOSSY}
    said = " ".join(str(explain(circuit.macro)).split())
    assert "2 converters, which columns have in turn, by (output * weight_bits + bit) mod 2" in said


def test_other_counts_of_one_converter_are_refused(tmp_path: Path) -> None:
    path = Path(file_of(tmp_path, {0: (0, 0), 1: (0, 0)}))
    path.write_text(path.read_text().replace(f"1,{ROWS},{TOP},0\n", ""))
    with pytest.raises(ValueError, match="must have each count once, got 0 of count 63"):
        resolved(macro_of(str(path)))
