"""A search finds what its settings say, goes on from its records, and shares them with sweeps."""

import importlib.util
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from asim_lightning.cost import Technology
from asim_lightning.evaluation.results import Outcomes
from asim_lightning.evaluation.run import Run
from asim_lightning.exploration.publish import whole_search_text
from asim_lightning.exploration.ray_runner import RayRunner
from asim_lightning.exploration.runner import Evaluation, RunnerSettings, Steps, Trial, Work, proceed
from asim_lightning.exploration.search import SearchSettings, open_search
from asim_lightning.exploration.trials import Trials
from asim_lightning.resources import shipped_file
from tests.cli.conftest import environment
from tests.exploration.conftest import Make, MakeSearch, grid, rows, stored, write_recipe


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was evaluated by a network, and not read."""
    found: list[Any] = []
    steps_of = Trials.steps

    def counting(self: Trials, trial: Trial) -> Steps[Outcomes]:
        steps = steps_of(self, trial)
        asked = proceed(steps, None)
        while isinstance(asked, Evaluation):
            found.append((trial.kind, dict(trial.axes), trial.read))
            asked = proceed(steps, (yield asked))
        return asked

    monkeypatch.setattr(Trials, "steps", counting)
    return found


def plain(found: Run) -> list[Any]:
    return [(p.axes, p.right, p.low, p.figures, p.decisions) for p in found.points]


def test_a_grid_is_a_sweep_with_costs_and_shares_its_records(
    search: MakeSearch, make: Make, counted: list[Any]
) -> None:
    sweep = make(grid(adc_bits=[6, 8], random_noise=[0.3]), trials=1, batch=8)
    swept = sweep.run()
    counted.clear()
    made = search(constraints=["accuracy 99 % of quantized", "energy 1 nJ"])
    found = made.run(progress=False)
    assert [axes for _, axes, _ in counted] == [{"adc_bits": b, "random_noise": 1.0} for b in (6, 8)]
    assert [p.axes for p in found.points] == [{"adc_bits": b, "random_noise": n} for b in (6, 8) for n in (0.3, 1.0)]
    assert [found.points[place].right for place in (0, 2)] == [row.right for row in swept[2:]]
    assert [each.kind for each in found.references] == ["float", "quantized"]
    assert found.points[0].figures["energy_uj"] < found.points[2].figures["energy_uj"]
    assert all(point.figures["adcs"] > 0 and "area_mm2" not in point.figures for point in found.points)
    assert {str(p.decisions["energy 0.001 uJ"]) for p in found.points} == {"missed"}
    for p in found.points:
        below = 0.99 * found.references[1].accuracy - p.accuracy
        assert list(made._worth(p)[1].values()) == pytest.approx([below, p.figures["energy_uj"] / 0.001 - 1])
    counted.clear()
    again = make(grid(adc_bits=[6, 8], random_noise=[1.0]), trials=1, batch=8)
    again.run()
    assert again.evaluations == 0


def test_a_number_of_the_macro_is_that_of_its_layers_and_no_objective_where_rules_part_them(search: MakeSearch) -> None:
    everywhere = search(space={"rules": {"*": {"adc_bits": [9, 7, 8]}}}, objectives=["accuracy", "adc_bits"])
    assert [point.figures["adc_bits"] for point in everywhere.run(progress=False).points] == [9, 7, 8]
    one = {"rules": {"fc": {"adc_bits": [7]}}, "adc_bits": [8]}
    with pytest.raises(ValueError, match=r"takes adc_bits if all layers .* got 7 and 8 by rules, at the point"):
        search(space=one, objectives=["accuracy", "adc_bits"])


def test_notes_on_prices_are_of_each_points_technology(search: MakeSearch) -> None:
    for nodes, note in (([28, 5], 1), ([28, 32], 0)):
        made = search(space={"technology": {"node": nodes}})
        assert whole_search_text(made.run(progress=False), made).count("5 nm is outside the nodes") == note


def test_more_trials_go_on_and_the_same_search_computes_nothing(search: MakeSearch, counted: list[Any]) -> None:
    space = {"adc_bits": [5, 6, 7, 8], "random_noise": {"low": 0.1, "high": 1.0}}
    random: dict[str, Any] = {"method": "random", "seed": 3, "space": space}
    few = search(trials=3, **random).run(progress=False)
    counted.clear()
    more_search = search(trials=5, **random)
    more = more_search.run(progress=False)
    assert plain(more)[:3] == plain(few)
    assert len(counted) == 2
    counted.clear()
    said: list[str] = []
    again = search(trials=5, **random)
    assert again.folder == more_search.folder
    assert plain(again.run(said.append, progress=False)) == plain(more)
    assert counted == []
    assert said == ["Reusing 7 stored results; nothing to compute."]


def test_checkpoints_and_chips_are_axes(search: MakeSearch, counted: list[Any]) -> None:
    settings: dict[str, Any] = {
        "space": {"checkpoint": ["fashion_resnet_qat", "fashion_resnet_nat"], "static": {"offset": ["0.3 lsb"]}},
        "chips": 3,
        "constraints": ["yield 0.5 at 50 %"],
        "objectives": ["yield", "energy"],
    }
    made = search(**settings)
    own, opened = (each.state_dict() for each in (search().study.work.model, made.study.work.model))
    assert all(torch.equal(value, opened[name]) for name, value in own.items())  # its own weights again
    found = made.run(progress=False)
    assert [p.axes["checkpoint"] for p in found.points] == ["fashion_resnet_qat", "fashion_resnet_nat"]
    assert {each.axes["checkpoint"] for each in found.references} == {"fashion_resnet_qat"}
    assert all(p.trials == 3 and "yield" in p.figures for p in found.points)
    assert found.points[0].right != found.points[1].right
    assert len(counted) == 2 + 2 * 3
    counted.clear()
    static = {"offset": ["0.3 lsb", 0]}  # all chips are equal without an offset
    other = {**settings, "space": {"checkpoint": ["fashion_resnet_nat"], "static": static}}
    again, equal = search(**other).run(progress=False).points
    assert again.right == found.points[1].right
    assert (equal.trials, equal.figures["yield"], equal.verdict) == (1, 1, "kept")
    assert sorted(kind for kind, _, _ in counted) == ["float", "quantized", "simulated"]  # of the other network


def test_trials_of_an_equal_checkpoint_are_of_this_run(search: MakeSearch, counted: list[Any]) -> None:
    same = str(shipped_file("checkpoints", "fashion_resnet_qat"))
    space = {"checkpoint": ["fashion_resnet_qat", same], "votes": [1, 3]}
    said: list[str] = []
    found = search(space=space).run(said.append, progress=False)
    assert len({each.accuracy for each in found.points}) == 1
    assert len(counted) == 3  # float, quantised and one macro, as votes of no cycle change nothing
    assert said == []
    search(space=space).run(said.append, progress=False)
    assert said == ["Reusing 3 stored results; nothing to compute."]


def test_checkpoints_are_refused_where_workers_keep_their_weights(search: MakeSearch, tmp_path: Path) -> None:
    one = search(space={"adc_bits": [6]})
    settings = SearchSettings(space={"checkpoint": ["fashion_resnet_qat", "fashion_resnet_nat"]})
    given = (of := one.study.work).trainer, of.model, of.data
    runner = RayRunner(*given, RunnerSettings("ray", 1))
    work = Work(*given, tmp_path / "b", runner, load=lambda name: None)
    with pytest.raises(ValueError, match="which `runner: ray` does not, got the checkpoint fashion_resnet_qat"):
        open_search(work, settings, Technology())


def test_wrong_points_are_refused_before_any_work(search: MakeSearch, counted: list[Any]) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"space": {"adc_bits": [6, 77]}}, r"`macro.adc_bits` must be 1..16 or null, got 77, at the point adc_bits 77"),
        ({"space": {"rules": {"layer9.*": {"adc_bits": [7]}}}}, "layer9"),
        ({"chips": 3}, "`chip` changes nothing"),
        ({"space": {"chip": [0]}, "chips": 3}, "leave out `search.space.chip`"),
        ({"space": {"checkpoint": ["fashion_resnet_qatt"]}}, "fashion_resnet_qat"),
        ({"space": {"technology": {"supply": [9]}}}, r"`technology.supply` must be 0.2..3 V, got 9"),
        ({"method": "list", "points": [{"rows": 9}]}, "`search.space` must be absent with the method list"),
    ]
    for options, said in wrong:
        with pytest.raises((ValueError, FileNotFoundError), match=said):
            search(**options)
    if importlib.util.find_spec("optuna") is None:
        with pytest.raises(ValueError, match=r"needs the package optuna: pip install 'asim_lightning\[search\]'"):
            search(method="optuna")
    assert counted == []


def kill_at(moment: int, command: list[str], root: Path) -> None:
    """Start a command, and kill it once the store below its folder has so many trials."""
    with subprocess.Popen(command, cwd=root, env=environment()) as process:
        deadline = time.monotonic() + 200
        while len(stored(root)) < moment and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_search_and_a_sweep_at_once_are_both_right_also_where_one_is_killed(tmp_path: Path) -> None:
    write_recipe(tmp_path, 60, search={"space": {"adc_bits": [5, 6, 7, 8], "random_noise": [0.1, 0.3, 1.0]}})
    axes = ("--axes.adc_bits", "[5, 6, 7, 8]", "--axes.random_noise", "[1.0, 0.3, 0.1]", "--trials", "1")
    given, start = ("-c", "tiny.yaml", "--progress", "false"), (sys.executable, "-m", "asim_lightning")
    search, sweep = [*start, "search", *given], [*start, "sweep", *given, *axes]
    with subprocess.Popen(search, cwd=tmp_path, env=environment()) as first:
        kill_at(5, sweep, tmp_path)
        with subprocess.Popen(sweep, cwd=tmp_path, env=environment()) as second:
            written = stored(tmp_path)
            while None in (first.poll(), second.poll()):
                before, written = written, stored(tmp_path)
                assert before.items() <= written.items()  # a trial that both compute is written once
                time.sleep(0.005)
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(stored(tmp_path)) == 2 + 12
    tables = [rows(next(tmp_path.glob(f"runs/tiny/{what}-*"))) for what in ("search", "sweep")]
    names = ("adc_bits", "random_noise", "kind", "trials", "images", "accuracy", "low", "high")
    mine, its = (sorted([row[name] for name in names] for row in table) for table in tables)
    assert len(mine) == 2 + 12
    assert mine == its
