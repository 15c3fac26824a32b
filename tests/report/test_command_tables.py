"""The tables line up, and say what was measured."""

import math

from asim_lightning.bench.times import InferenceTime, LayerTime, Repeats
from asim_lightning.nn.count_histograms import AdcRange
from asim_lightning.report.command_tables import layer_table, network_table, range_table

PLAIN = InferenceTime("float32", "", "torch", 2, Repeats((0.01, 0.02, 0.03)), None, 1.0, 1.0)
SIMULATED = InferenceTime(
    "simulated", "every conversion", "native", 2, Repeats((1.0, 0.5, 2.0)), 4_000_000, 50.0, 50.0
)  # fmt: skip


def test_network_table() -> None:
    assert str(network_table([PLAIN, SIMULATED])).splitlines() == [
        "                                        ms,      ms,  images  conversions  ratio,   ratio,    10,000   50,000",
        "inference  algorithm         engine  median  fastest      /s           /s  median  fastest    images   images",
        "---------  ----------------  ------  ------  -------  ------  -----------  ------  -------  --------  -------",
        "float32    -                 torch     20.0     10.0     100            -    1.00     1.00   100.0 s  8.3 min",
        "simulated  every conversion  native   1,000      500    2.00       8.00e6    50.0     50.0  83.3 min    6.9 h",
    ]


def test_layer_table_has_a_sum() -> None:
    fast, slow = Repeats((0.01,)), Repeats((0.03,))
    rows = [
        LayerTime("a", "CimConv2d", (3, 8, 8), (4, 8, 8), "exact + events", "events", 1, 1000, fast, slow, 0.25),
        LayerTime("b", "CimLinear", (4,), (10,), "exact", "exact", 1, 500, fast, fast, 0.5),
    ]
    lines = [line.split() for line in str(layer_table(rows)).splitlines()]
    assert lines[3] == ["a", "CimConv2d", "3x8x8", "->", "4x8x8", "exact", "+", "events", "events", "1,000", "10.0",
                        "30.0", "3.33e4", "25.0", "%"]  # fmt: skip
    assert lines[5] == ["2", "layers", "1,500", "20.0", "40.0", "3.75e4", "75.0", "%"]


def test_the_table_of_ranges() -> None:
    rows = [
        AdcRange("layer1.conv", 6, 1, 0, 3.64, math.inf, (0.0, 0.0)),
        AdcRange("fc", 6, 2, 34, -math.inf, 44.04, (0.0, 0.00001, 0.005, 0.123)),
    ]
    assert str(range_table(rows)).splitlines()[:5] == [
        "              ADC             CSNR (dB)         clipped",
        "layer        bits  step  low     before  after  %",
        "-----------  ----  ----  ---  ---------  -----  ------------",
        "layer1.conv     6     1    0        3.6  exact  0",
        "fc              6     2   34          -   44.0  0 <.01 .5 12",
    ]
