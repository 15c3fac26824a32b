"""`asim search`: what it says and writes, and whose costs it takes."""

import csv
from pathlib import Path

import pytest

from tests.cli.conftest import Asim, Write


def test_a_search_says_what_it_found_and_goes_on(asim: Asim, written: Write) -> None:
    path = written(search={"space": {"adc_bits": [6, 8]}, "constraints": ["accuracy 10 % of quantized"]})
    answer = asim("search", "-c", path, "--technology.supply", "0.8", "--progress", "false")
    assert answer.code == 0, answer.err
    assert "search   grid, at most 2 points of adc_bits" in answer.out
    assert "energy (uJ)" in answer.out
    assert "at 28 nm, 0.8 V" in answer.out
    (folder,) = Path("runs/tiny").glob("search-*")
    assert {"results.csv", "settings.json", "trade_off.png"} <= {each.name for each in folder.iterdir()}
    again = asim("search", "-c", path, "--technology.supply", "0.7", "--progress", "false")
    assert "record   all 4 trials are of an earlier run" in again.out  # the technology changes no answer
    assert len(list(Path("runs/tiny").glob("search-*"))) == 2


def test_a_published_macro_brings_its_technology_to_searches_and_sweeps(asim: Asim, written: Write) -> None:
    space = {"weight_bits": [4], "technology": {"preset": ["28nm", "cr_cim_2024"]}}
    path = written(search={"space": space}, axes={"weight_bits": [4]}, trials=1, data__init_args__test_images=4)
    common = ("-c", path, "--model.plan.preset", "cr_cim_2024", "--progress", "false")
    assert "cost     of an image at 65 nm, 1 V (assumed), 25 ns" in asim("sweep", *common).out
    assert asim("search", *common).code == 0
    one, both = (
        [row["energy_uj"] for row in csv.DictReader(path.open()) if row["kind"] == "simulated"]
        for path in sorted(Path("runs/tiny").glob("*-*/results.csv"), key=lambda path: "search" in str(path))
    )
    assert float(one[0]) == pytest.approx(float(both[1]), rel=1e-4)
    assert float(both[0]) < 0.9 * float(both[1])
