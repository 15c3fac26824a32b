"""The report of a network that was converted: layers in order, and what tells their macros apart."""

import torch
from torch import nn

from asim_lightning import MacroConfig, Plan, Rule, StaticEffects, convert_
from asim_lightning.surgery import report_of
from asim_lightning.surgery.conversion_report import describe


def test_layers_are_in_the_order_in_which_they_run() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    report = convert_(network, Plan(MacroConfig(), [Rule("2", {"votes": 3})], keep=["1"]), torch.ones(1, 4))
    assert [row.name for row in report_of(network).rows] == [row.name for row in report.rows] == ["0", "1", "2"]


def test_macros_that_differ_are_described_apart() -> None:
    assert describe(MacroConfig(random_noise=0.1)) == "W8A8 255 rows ADC 8"
    macro = MacroConfig(encoding_bits=2, vote_levels=4, votes=3, static=StaticEffects(columns_per_adc=8))
    assert describe(macro) == "W8A8 255 rows ADC 8 enc 2 vote levels 4 votes 3 columns per ADC 8"
