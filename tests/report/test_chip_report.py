"""A chip as text: what none of its converters has is a dash, in the table of layers and of the worst alike."""

import torch

from asim_lightning.evaluation.chip_layer import ChipLayer
from asim_lightning.report.chip_report import chip_table, worst_converters


def test_an_error_that_no_converter_has_is_a_dash() -> None:
    offset, place = torch.tensor([0.1, -0.3]), torch.tensor([[0, 0, 0, 0], [0, 0, 1, 0]])
    gain, inl = torch.tensor([1.01, 1.0]), torch.tensor([[0.0, 0.2], [0.5, 0.0]])
    found = {}
    for name, errors in {"offset": (offset, None, None), "rest": (None, gain, inl)}.items():
        layers = [ChipLayer("fc", "fc", place, *errors, 2, (0, 0), 0.0)]
        table, worst = chip_table(layers).splitlines()[-1].split(), worst_converters(layers).splitlines()[2:]
        found[name] = table[2:6], [line.split()[-3:] for line in worst]
    assert found["offset"][1] == [["-0.3", "-", "-"], ["+0.1", "-", "-"]]
    assert found["rest"][1] == [["-", "+0", "0.5"], ["-", "+1", "0.2"]]
    assert [cell == "-" for cell in found["offset"][0]] == [False, False, True, True]
    assert [cell == "-" for cell in found["rest"][0]] == [True, True, False, False]
