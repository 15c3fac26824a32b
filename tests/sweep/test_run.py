"""A sweep evaluates each point once, whatever stops it, and a point's result depends on the point alone."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from lightning.pytorch import Trainer

from asim_lightning import CimClassifier, MacroConfig, Plan, Rule
from asim_lightning.classifier import BackboneConfig
from asim_lightning.cli import main
from asim_lightning.cli.checkpoint import load_weights
from asim_lightning.data import FashionMNIST
from asim_lightning.resources import shipped_file
from asim_lightning.surgery import macro_layers
from asim_lightning.sweep.axes import SweepAxes
from asim_lightning.sweep.publish import publish
from asim_lightning.sweep.result import PointResult
from asim_lightning.sweep.run import Sweep

IMAGES = 8
KWARGS = {"in_chans": 1, "stem_width": 4, "channels": [8, 16, 32, 64]}
MACRO = MacroConfig(weight_bits=4, input_bits=4)  # a quarter of the conversions of 8 bits
NOISE = SweepAxes(random_noise=[0.3, 1.0])

Make = Callable[..., Sweep]


class CountingTrainer(Trainer):
    """Counts the evaluations, and fails at one of them if told to."""

    evaluations = 0
    fails_at: int | None = None

    def test(self, *arguments: Any, **options: Any) -> Any:
        self.evaluations += 1
        if self.evaluations == self.fails_at:
            raise KeyboardInterrupt
        return super().test(*arguments, **options)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a sweep of the shipped network in a folder."""

    def sweep(
        axes: SweepAxes = NOISE,
        trials: int = 2,
        folder: str = "a",
        batch: int = 4,
        macro: MacroConfig = MACRO,
        trainer_options: dict[str, Any] | None = None,
        rules: Sequence[Rule] = (),
        **model_options: Any,
    ) -> Sweep:
        backbone = BackboneConfig("resnet10t", KWARGS, small=True, image_size=28)
        model = CimClassifier(backbone, Plan(macro, list(rules)), **model_options)
        load_weights(model, str(shipped_file("checkpoints", "fashion_resnet_qat")))
        data = FashionMNIST(test_images=IMAGES, eval_batch_size=batch)
        trainer = CountingTrainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            **(trainer_options or {}),
        )
        return Sweep(trainer, model, data, axes, trials, tmp_path / folder, progress=False)

    return sweep


def without_time(results: tuple[PointResult, ...]) -> list[tuple[Any, ...]]:
    return [(r.kind, r.axes, r.trials, r.images, r.accuracy, r.low, r.high, r.algorithm) for r in results]


def predictions(sweep: Sweep) -> dict[str, list[int]]:
    """Predictions of every trial file."""
    found = {}
    for path in sorted((sweep.folder / "trials").glob("*.npz")):
        with np.load(path, allow_pickle=False) as archive:
            found[path.name] = archive["prediction"].tolist()
    return found


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def evaluations(sweep: Sweep) -> int:
    assert isinstance(sweep.trainer, CountingTrainer)
    return sweep.trainer.evaluations


def test_several_axes_give_every_combination(make: Make) -> None:
    results = make(SweepAxes(adc_bits=[6, None], random_noise=[0.0, 0.2])).run()
    assert [(r.kind, r.axes) for r in results] == [
        ("float", {}),
        ("quantized", {}),
        ("simulated", {"adc_bits": 6, "random_noise": 0}),
        ("simulated", {"adc_bits": 6, "random_noise": 0.2}),
        ("simulated", {"adc_bits": None, "random_noise": 0}),
        ("simulated", {"adc_bits": None, "random_noise": 0.2}),
    ]
    assert [r.trials for r in results] == [1, 1, 1, 2, 1, 2]  # what has no noise gives the same each time
    assert all(r.images == IMAGES and r.low <= r.accuracy <= r.high for r in results)
    assert results[4].accuracy == results[1].accuracy  # an ideal converter is the quantised network


def test_every_field_of_the_macro_is_an_axis() -> None:
    assert {field.name for field in fields(SweepAxes)} == {field.name for field in fields(MacroConfig)}
    assert all(field.default is None for field in fields(SweepAxes))


def test_a_value_given_twice_counts_once() -> None:
    assert list(SweepAxes(adc_bits=[8, 8], votes=[1]).points()) == [{"adc_bits": 8, "votes": 1}]


def test_one_noise_written_in_several_ways_is_one_point() -> None:
    axes = SweepAxes(random_noise=["0.3 lsb", "0.3lsb", "0.30 LSB", 0.1, "0.1 %"])
    assert list(axes.points()) == [{"random_noise": "0.3 lsb"}, {"random_noise": 0.1}]


def test_points_that_compute_the_same_are_computed_once_and_all_have_rows(make: Make) -> None:
    axes = SweepAxes(vote_levels=[0, 1], votes=[1, 3], vote=["mode", "median"], random_noise=[0.5])
    sweep = make(axes)
    results = sweep.run()
    assert len(results) == 2 + 8
    assert evaluations(sweep) == 2 + 2 * 3  # no votes, 3 votes by mode, 3 votes by median
    unvoted = [r for r in results[2:] if r.axes["vote_levels"] == 0 or r.axes["votes"] == 1]
    assert len({r.right for r in unvoted}) == 1
    again = make(axes)
    assert without_time(again.run()) == without_time(results)
    assert evaluations(again) == 0
    assert len(rows(sweep.folder)) == 10
    percent = make(SweepAxes(vote_levels=[0], votes=[7], vote=["mean"], random_noise=["0.5 %"]))
    assert percent.folder == sweep.folder
    percent.run()
    assert evaluations(percent) == 0


def test_what_an_axis_decides_does_not_change_the_folder(make: Make) -> None:
    first = make()
    first.run()
    second = make(macro=MACRO.with_fields(random_noise=2.0))
    second.run()
    assert first.folder == second.folder
    assert evaluations(second) == 0
    wide = make(SweepAxes(weight_bits=[4]), macro=MACRO.with_fields(weight_bits=8))
    wide.run()
    narrow = make(SweepAxes(weight_bits=[4]), macro=MACRO)
    narrow.run()
    assert wide.folder == narrow.folder
    assert evaluations(narrow) == 1  # the quantised network of 4 bits


def test_a_smaller_sweep_keeps_what_the_folder_has(make: Make) -> None:
    large = make(SweepAxes(random_noise=[0.3, 1.0, 2.0]), trials=3)
    large.run()
    before = rows(large.folder)
    publish(large.record.results(), large, "tiny", 10)
    picture = (large.folder / "accuracy_vs_random_noise.png").read_bytes()
    small = make(SweepAxes(random_noise=[1.0]), trials=1)
    results = small.run()
    assert [r.trials for r in results] == [1, 1, 1]
    said = publish(results, small, "tiny", 10)
    assert rows(small.folder) == before
    assert (large.folder / "accuracy_vs_random_noise.png").read_bytes() == picture
    assert len([line for line in said.splitlines() if line.startswith("simulated")]) == 1


def test_a_mapping_can_be_a_value(make: Make) -> None:
    macro = MACRO.with_fields(column="current", column_args={"alpha": 0.1})
    results = make(SweepAxes(column_args=[{"alpha": 0.0}, {"alpha": 0.3}]), macro=macro).run()
    assert [r.axes["column_args"] for r in results[2:]] == [{"alpha": 0}, {"alpha": 0.3}]


def test_a_finished_sweep_returns_at_once(make: Make) -> None:
    first = make()
    results = first.run()
    assert evaluations(first) == 6
    again = make()
    assert without_time(again.run()) == without_time(results)
    assert evaluations(again) == 0


def test_more_trials_keep_the_finished_ones(make: Make) -> None:
    make(trials=1).run()
    more = make(trials=3)
    assert [r.trials for r in more.run()] == [1, 1, 3, 3]
    assert evaluations(more) == 4
    fewer = make(trials=2)
    assert [r.trials for r in fewer.run()] == [1, 1, 2, 2]
    assert evaluations(fewer) == 0
    whole = make(trials=3, folder="b")
    assert without_time(whole.run()) == without_time(make(trials=3).run())


def test_more_values_keep_the_finished_ones(make: Make) -> None:
    make().run()
    more = make(SweepAxes(random_noise=[1.0, 0.5, 0.3]))
    more.run()
    assert evaluations(more) == 2
    assert len(rows(more.folder)) == 5


def test_a_point_does_not_depend_on_the_others_or_their_order(make: Make) -> None:
    forward, backward = make(), make(SweepAxes(random_noise=[1.0, 0.3]), folder="b")
    one = make(SweepAxes(random_noise=[0.3]), folder="c")
    for sweep in (forward, backward, one):
        sweep.run()
    assert predictions(forward) == predictions(backward)
    assert predictions(one).items() <= predictions(forward).items()


def test_trials_differ_and_batches_do_not_matter(make: Make) -> None:
    axes = SweepAxes(random_noise=[1.0])
    whole, parts = make(axes, batch=IMAGES), make(axes, batch=5, folder="b")
    whole.run()
    parts.run()
    assert predictions(whole) == predictions(parts)
    noisy = [p for name, p in predictions(whole).items() if name.endswith("00001.npz")]
    assert len(noisy) == 1
    assert noisy[0] not in [p for name, p in predictions(whole).items() if name.endswith("00000.npz")]


def test_a_point_is_what_asim_test_measures_there(make: Make) -> None:
    sweep = make(SweepAxes(random_noise=[0.3]), trials=1)
    accuracy = sweep.run()[-1].accuracy
    alone = make(macro=MACRO.with_fields(random_noise=0.3))
    measured = alone.trainer.test(alone.model, datamodule=alone.data, verbose=False)[0]["test/acc"]
    assert measured == pytest.approx(accuracy)


def test_rules_win_over_axes(make: Make) -> None:
    rules = [Rule("fc", {"adc_bits": 8}), Rule("layer1.*", {"random_noise": 0})]
    sweep = make(SweepAxes(adc_bits=[3], random_noise=[1.0]), trials=1, rules=rules)
    before = {name: layer.assignment for name, layer in sweep.layers.items()}
    accuracy = sweep.run()[-1].accuracy
    assert {name: layer.assignment for name, layer in sweep.layers.items()} == before
    alone = make(macro=MACRO.with_fields(adc_bits=3, random_noise=1.0), rules=rules)
    measured = alone.trainer.test(alone.model, datamodule=alone.data, verbose=False)[0]["test/acc"]
    assert measured == pytest.approx(accuracy)
    without = make(SweepAxes(adc_bits=[3], random_noise=[1.0]), trials=1, folder="b")
    without.run()
    assert sorted(predictions(without).values()) != sorted(predictions(sweep).values())


def test_axes_that_do_not_fit_a_rule_are_refused_before_anything_is_computed(make: Make) -> None:
    with pytest.raises(
        ValueError, match=r"^`adc_bits` changes nothing, as `plan\.rules` decide .*, at the point adc_bi"
    ):
        make(SweepAxes(adc_bits=[3]), rules=[Rule("*", {"adc_bits": 8})])
    with pytest.raises(
        ValueError, match=r"^Layer `fc`: `macro\.encoding_bits` must be 1\.\.2 .* encoding_bits 3 of `axes`"
    ):
        make(SweepAxes(encoding_bits=[1, 3]), rules=[Rule("fc", {"input_bits": 2})])


@pytest.mark.parametrize("at", [2, 5])
def test_an_interrupted_sweep_goes_on_and_gives_the_same(at: int, make: Make) -> None:
    stopped = make()
    stopped.trainer.fails_at = at  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    assert len(predictions(stopped)) == at - 1
    resumed, whole = make(), make(folder="b")
    assert without_time(resumed.run()) == without_time(whole.run())
    assert evaluations(resumed) == 6 - (at - 1)
    assert predictions(resumed) == predictions(whole)
    assert rows(resumed.folder) == rows(whole.folder)


def test_the_network_is_left_as_it_was(make: Make) -> None:
    sweep = make(SweepAxes(adc_bits=[5], random_noise=[0.2]), fidelity="quantized", trial=3)
    callbacks = list(sweep.trainer.callbacks)  # type: ignore[attr-defined]
    sweep.run()
    assert {layer.macro for layer in macro_layers(sweep.model.backbone).values()} == {MACRO}
    assert (sweep.model.fidelity, sweep.model.trial) == ("quantized", 3)
    assert sweep.trainer.callbacks == callbacks  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "other",
    [
        {"noise_seed": 1},
        {"chip": 1},
        {"macro": MACRO.with_fields(rows=64)},
        {"trainer_options": {"limit_test_batches": 1}},
        {"trainer_options": {"precision": "bf16-mixed"}},
        {"axes": SweepAxes(adc_bits=[8])},
    ],
    ids=str,
)
def test_what_changes_the_outcome_has_a_folder_of_its_own(other: dict[str, Any], make: Make) -> None:
    assert make(**other).folder != make().folder


def test_what_does_not_change_it_has_not(make: Make) -> None:
    assert make(fidelity="float", trials=5).folder == make().folder


def test_publish_writes_a_plot_and_names_the_files(make: Make) -> None:
    sweep = make()
    said = publish(sweep.run(), sweep, "tiny", 10).splitlines()
    assert said[-3:] == [
        f"numbers  {sweep.folder / 'results.csv'}",
        f"picture  {sweep.folder / 'accuracy_vs_random_noise.png'}",
        f"charts   tensorboard --logdir {sweep.folder.parent.parent}",
    ]
    assert (sweep.folder / "accuracy_vs_random_noise.png").stat().st_size > 10_000
    assert json.loads((sweep.folder / "settings.json").read_text())["axes"] == ["random_noise"]


@pytest.mark.parametrize(
    ("axes", "picture", "title"),
    [
        (SweepAxes(random_noise=[0.3], adc_bits=[6, 7]), "adc_bits", "tiny: W4A4, 255 rows"),
        (SweepAxes(random_noise=[0.3, 1.0], rows=[64]), "random_noise", "tiny: W4A4, 8-bit ADC"),
        (SweepAxes(weight_bits=[3, 4]), "weight_bits", "tiny: A4, 255 rows, 8-bit ADC"),
    ],
)
def test_titles_name_no_field_that_is_swept(
    axes: SweepAxes, picture: str, title: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []

    def spy(rows: Any, axis: str, path: Path, given: str, *_: Any) -> Path:
        titles.append(given)
        return path

    monkeypatch.setattr("asim_lightning.sweep.publish.plot_sweep", spy)
    sweep = make(axes, trials=1)
    assert f"accuracy_vs_{picture}.png" in publish(sweep.run(), sweep, "tiny", 10)
    assert titles == [title]


def test_a_folder_with_noise_in_several_units_is_drawn_in_percent(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []

    def spy(rows: Any, axis: str, path: Path, *_: Any) -> Path:
        drawn.append([row.axes[axis] for row in rows if row.axes])
        return path

    monkeypatch.setattr("asim_lightning.sweep.publish.plot_sweep", spy)
    rules = [Rule("fc", {"random_noise": 0}), Rule("layer4.*", {"rows": 64})]
    for values in ([0, 0.5], ["0.51 lsb"]):
        sweep = make(SweepAxes(random_noise=values), trials=1, rules=rules)
        publish(sweep.run(), sweep, "tiny", 10)
    assert drawn == [[0, 0.5], [0, 0.5, 0.2]]
    for values in ([0.5], ["0.51 lsb"]):  # which is another percentage in layers of other ADCs
        sweep = make(SweepAxes(random_noise=values), trials=1, rules=[Rule("fc", {"adc_bits": 9})])
        publish(sweep.run(), sweep, "tiny", 10)
    assert drawn[-1] == [0.5, "0.51 lsb"]


@pytest.mark.parametrize("trials", [0, 65536])
def test_trials_are_checked(trials: int, make: Make) -> None:
    with pytest.raises(ValueError, match=r"`trials` must be 1\.\.65535"):
        make(trials=trials)


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """A sweep of 2 + 2 x 3 trials as a program."""
    config = {
        "trainer": {"accelerator": "cpu", "default_root_dir": str(tmp_path / "runs")},
        "model": {
            "backbone": {"name": "resnet10t", "kwargs": KWARGS, "small": True, "image_size": 28},
            "plan": {"macro": {"weight_bits": 4, "input_bits": 4}},
        },
        "data": {"class_path": "asim_lightning.data.FashionMNIST", "init_args": {"test_images": 100}},
        "ckpt_path": "fashion_resnet_qat",
        "axes": {"random_noise": [0.3, 1.0]},
        "trials": 3,
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    return [sys.executable, "-m", "asim_lightning", "sweep", "-c", str(path)]


def test_kill_9_leaves_the_finished_points_and_the_same_command_goes_on(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while len(list(tmp_path.glob("runs/tiny/*/trials/*.npz"))) < 6 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (folder,) = tmp_path.glob("runs/tiny/sweep-*")
    finished = rows(folder)
    assert 2 < len(finished) < 4  # float, quantized and the first point
    before = {path: path.stat().st_mtime_ns for path in folder.glob("trials/*.npz")}

    main(command[3:])
    assert "accuracy (%)" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before  # nothing was computed twice
    assert rows(folder)[: len(finished)] == finished
    main([*command[3:], "--trainer.default_root_dir", str(tmp_path / "other")])
    (whole,) = tmp_path.glob("other/tiny/sweep-*")
    assert rows(folder) == rows(whole)


@pytest.mark.slow
def test_two_processes_give_the_same(command: list[str], tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = []
    for options in ([], ["--trainer.devices", "2", "--trainer.strategy", "ddp"]):
        root = tmp_path / f"root{len(options)}"
        arguments = [*command, "--trainer.default_root_dir", str(root), "--data.init_args.test_images", "41", *options]
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, done.stderr
        (folder,) = root.glob("tiny/sweep-*")
        found.append(rows(folder))
    assert found[0] == found[1]
