"""`asim search`: what it says, what it writes, and what it refuses."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Asim, Run
from tests.cli.wrong_inputs import Wrong, assert_refused

Write = Callable[..., Path]

SEARCH = ("search", "-c", "tiny.yaml", "--progress", "false")
SPACE = ("--search.space", "{adc_bits: [6, 8], random_noise: [0]}")


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
    path = written(search={"space": {"weight_bits": [4]}}, axes={"weight_bits": [4]}, trials=1)
    common = ("-c", path, "--model.plan.preset", "cr_cim_2024", "--progress", "false")
    assert "at 65 nm, 1 V (assumed), 25 ns a conversion (assumed)" in asim("search", *common).out
    assert "cost     of an image at 65 nm, 1 V (assumed), 25 ns" in asim("sweep", *common).out
    space = "{weight_bits: [4], technology: {preset: [28nm, cr_cim_2024]}}"
    assert asim("search", *common, "--search.space", space).code == 0
    paths = sorted(Path("runs/tiny").glob("*-*/results.csv"))
    energies = [
        [row["energy_uj"] for row in csv.DictReader(each.open()) if row["kind"] == "simulated"] for each in paths
    ]
    one, other, both = sorted(energies, key=len)
    assert float(one[0]) == pytest.approx(float(other[0]), rel=1e-4) == pytest.approx(float(both[1]), rel=1e-4)
    assert float(both[0]) < 0.9 * float(both[1])


def test_other_commands_take_a_recipe_with_a_search(asim: Asim, written: Write) -> None:
    path = written(search={"space": {"adc_bits": [6, 8]}}, technology={"preset": "65nm"})
    assert asim("validate", "-c", path).code == 0


ROWS: dict[str, tuple[tuple[str, ...], str]] = {
    "no space": ((), "`search.space` must be a mapping of axes to values or ranges, such as {adc_bits: [6, 7, 8], "),
    "unknown field": (("--search.space", "{adc_bit: [6]}"), "`search.space.adc_bit` is no axis; nearest: adc_bits"),
    "empty list": (
        ("--search.space", "{adc_bits: []}"),
        "`search.space.adc_bits` must be a list of one or more values",
    ),
    "value out of range": (("--search.space", "{adc_bits: [77]}"), "`macro.adc_bits` must be 1..16 or null, got 77"),
    "space of no mapping": (("--search.space", "[1]"), "`search.space` must be dict, got [1]"),
    "an axis twice": (
        ("--search.space", "{rules: {fc: {adc_bits: [7]}}, rules.fc.adc_bits: [8]}"),
        "`search.space` must name each axis once, got rules.fc.adc_bits twice",
    ),
    "rule of no layer": (("--search.space", "{rules: {layer9.*: {adc_bits: [7]}}}"), "nearest: layer4"),
    "objective": ((*SPACE, "--search.objectives", "[enrgy]"), "got 'enrgy'; nearest: energy"),
    "two yields": (
        (*SPACE, "--search.constraints", "[yield 0.9 at 80 %, yield 0.5 at 90 %]", "--search.chips", "3"),
        "`search.constraints` may have one yield, got ['yield 0.9 at 80 %', 'yield 0.5 at 90 %']",
    ),
    "constraint": ((*SPACE, "--search.constraints", "[good]"), "`search.constraints` must be as in 'accuracy 88 %', '"),
    "method": ((*SPACE, "--search.method", "gird"), "must be one of grid, list, random, optuna, got 'gird'; did you"),
    "setting": ((*SPACE, "--search.metod", "grid"), "`search.metod` is no setting; nearest: search.method"),
    "no trials": ((*SPACE, "--search.trials", "0"), "`search.trials` must be 1..100000, got 0"),
    "half a trial": ((*SPACE, "--search.trials", "1.5"), "`search.trials` must be int or null, got 1.5"),
    "equal chips": ((*SPACE, "--search.chips", "3"), "`chip` changes nothing, as cells and converters of no macro"),
    "endless grid": (("--search.space", "{random_noise: {low: 0.1, high: 1.0}}"), "grid needs lists, or ranges with"),
    "no checkpoint": (("--search.space", "{checkpoint: [nosuch]}"), "nosuch"),
    "unknown preset": ((*SPACE, "--technology.preset", "28"), "`technology.preset` must be one of 28nm, 65nm"),
    "technology of a space": (("--search.space", "{technology: {suply: [1]}}"), "nearest: supply"),
    "technology with a typo": ((*SPACE, "--technology.suply", "1"), "nearest: technology.supply"),
    "no worker": (
        (*SPACE, "--runner", "ray", "--runner.workers", "0"),
        "`runner.workers` must be 1 or more or null, got 0",
    ),
    "charging by counts": (
        (*SPACE, "--technology.charging", "ground"),
        "`technology.charging` must be fixed in a sweep or search, which keeps no counts, got 'ground'; asim",
    ),
    "charging of a space": (
        ("--search.space", "{technology: {charging: [fixed, ground]}}"),
        "`technology.charging` must be fixed in a sweep or search",
    ),
    "no such model": ((*SPACE, "--technology.energy_model", "nosuch.Model"), "which cannot be imported"),
    "a list of technologies": (
        ("--search.space", "{technology: [28nm]}"),
        "`search.space.technology` must be a mapping such as {supply: [0.8, 0.9]}, got ['28nm']",
    ),
    "a list of rules": (("--search.space", "{rules: [layer1]}"), "`search.space.rules` must be a mapping such as"),
    "unit of a space": (
        ("--search.space", "{technology: {supply: [800 mA]}}"),
        "got '800 mA', at the point technology.supply 800 mA of `search.space`",
    ),
    "yield of a constraint": (
        (*SPACE, "--search.constraints", "[yield 2 at 85 %]", "--search.chips", "3"),
        "`search.constraints` must have a yield between 0 and 1",
    ),
    "until of a sweep": ((*SPACE, "--until", "accuracy 88 %"), "`until` is no setting; nearest: search.until"),
    "until of a yield": ((*SPACE, "--search.until", "yield 0.9 at 88 %"), "`search.until` must be as in 'accuracy"),
    "group of no mapping": (("--search", "3"), "`search` must be a mapping"),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", ROWS.values(), ids=ROWS)
def test_wrong_searches(case: tuple[tuple[str, ...], str], asim: Asim, folder: Path, run: Run) -> None:
    given, said = case
    assert_refused(Wrong((*SEARCH, *given), said), asim, folder, run)


def test_images_end_by_a_target(asim: Asim, written: Write) -> None:
    noise = ("--axes.random_noise", "[0, 0.1]", "--trials", "1", "--progress", "false")
    answer = asim("sweep", "-c", written(), *noise, "--data.init_args.test_images", "60", "--until", "accuracy 95 %")
    assert answer.code == 0, answer.err
    assert "fewer if the target of the accuracy is answered before" in answer.out
    assert "Images ended by 'accuracy 95 %'" in answer.out
    refused = asim("sweep", "-c", "tiny.yaml", *noise, "--chips", "3", "--until", "accuracy 95 %").error
    assert refused == "`until` 'accuracy 95 %' ends the images of a chip, so that `chips` must be null, got 3"
    assert (
        "`trials` must be 1 with `until` 'accuracy 95 %'"
        in asim("sweep", "-c", "tiny.yaml", "--trials", "2", "--until", "accuracy 95 %").error
    )
