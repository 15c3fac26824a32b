"""`asim explain` and `asim chip`: pages of counts, what a chip gives each layer, and a chip from a file."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.cli.conftest import Asim, Refused, Run, Write, main_in

QUICKSTART = ("chip", "-c", "quickstart", "--data.init_args.test_images", "2")
STATIC = ("--model.plan.macro.static", "{offset: 0.3 lsb, gain: 1 %, inl: 1 %, columns_per_adc: 4}")
SLOPE = ("--model.plan.macro.column", "tests.engine.chips.test_column_patterns.Slope")


def test_pages_of_counts(asim: Asim, written: Write) -> None:
    recipe = ("explain", "-c", written(), "--plot", "pages", "--images", "2", "--layer", "layer2.0.conv1")
    assert asim(*recipe).last == "plot     pages/layer2.0.conv1.png"
    assert Path("pages/layer2.0.conv1.png").read_bytes().startswith(b"\x89PNG")


def test_a_share_of_the_supply_takes_the_technology_of_the_recipe(asim: Asim, written: Write) -> None:
    share = ("--model.plan.macro.full_scale_mv", "0.8 supply", "--model.plan.macro.random_noise", "3.6 mV")
    for settings, preset, said in (
        ({}, (), "random noise 0.5 %"),
        ({"technology__supply": "450 mV"}, (), "random noise 1 %"),
        ({}, ("--model.plan.preset", "jia_2021"), "random noise 0.5625 %"),
    ):
        out = " ".join(asim("explain", "-c", written(**settings), *preset, *share).out.split())
        assert f"{said}, nonlinear noise 0 % at count 0 (does not follow the supply); full scale" in out
        assert "(0.8 of the supply)" in out
    wrong = asim("explain", "-c", written(), "--model.plan.macro.full_scale_mv", "0.8 suply").error
    assert "a positive number of mV, a share of the supply such as '0.8 of 900 mV', or null, got '0.8 suply'" in wrong
    assert "random_noise 20 is 20 % of full scale" in asim("explain", "-c", written(), share[2], 20).out


def test_what_a_chip_prints_and_leaves(asim: Asim) -> None:
    lines = asim(*QUICKSTART, "--chip", "17", *STATIC, "--format", "pdf").out.splitlines()
    table = [line.split() for line in lines if line.startswith("layer1.0.conv1")]
    assert table[0][1] == "16"  # 8 outputs of 8 bits, by fours
    assert any(line.startswith("worst converters") for line in lines)
    files = Path("runs/quickstart/chip-17")
    assert (files / "chip.pdf").read_bytes().startswith(b"%PDF")
    assert (files / "chip.safetensors").is_file()


def test_a_pattern_of_a_users_column_is_shown_and_not_saved(asim: Asim) -> None:
    lines = asim(*QUICKSTART, *SLOPE).out.splitlines()
    worst = next(number for number, line in enumerate(lines) if line.startswith("worst converters"))
    assert ["2", "+0.4", "-2", "-"] in [line.split()[-4:] for line in lines[worst:]]  # bit, offset, gain and INL
    assert [path.name for path in Path("runs/quickstart/chip-0").iterdir()] == ["chip.png"]


# a chip from a file

SIMULATED = (
    "-c", "tiny.yaml", "--model.fidelity", "simulated", "--data.init_args.test_images", "4",
    "--model.plan.macro.static", "{offset: 3 lsb, gain: 2, stuck_at_1: 0.01}",
)  # fmt: skip
OWN = ("--model.chip_file", "own.safetensors")


@pytest.fixture(scope="module")
def chip_17(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chip 17 of the tiny network, in a file."""
    folder = tmp_path_factory.mktemp("chip")
    shutil.copy(run.config, folder / "tiny.yaml")
    main_in(folder, "chip", *SIMULATED, "--chip", "17")
    return folder / "runs/tiny/chip-17/chip.safetensors"


@pytest.fixture
def chip(chip_17: Path, written: Write) -> Path:
    """The same, in the working folder."""
    written()
    return Path(shutil.copy(chip_17, "own.safetensors"))


def test_the_saved_chip_is_chip_17_in_every_command(asim: Asim, chip: Path) -> None:
    said = {}
    for number, flags in {"17": ("--model.chip", "17"), "file": OWN, "18": ("--model.chip", "18")}.items():
        assert asim("predict", *SIMULATED, *flags).code == 0
        said[number] = Path("runs/tiny/predictions.csv").read_text()
    assert said["file"] == said["17"]
    assert said["18"] != said["17"]
    grid = ("--axes.random_noise", "[0.1]", "--trials", "1", "--progress", "false")
    assert asim("sweep", *SIMULATED, *OWN, *grid).code == 0
    chip.rename("moved.safetensors")
    again = asim("sweep", *SIMULATED, "--model.chip_file", "moved.safetensors", *grid)
    assert "Reusing 3 stored results; nothing to compute." in again.out


def test_a_fit_takes_the_chip_into_the_loop_and_its_checkpoint_keeps_it(asim: Asim, chip: Path) -> None:
    loop = ("--model.train_noise_model", "chip", "--model.train_noise", "1", "--model.fidelity", "quantized")
    assert asim("fit", *SIMULATED, *OWN, *loop).code == 0
    chip.unlink()
    validate = ("validate", "--ckpt_path", "runs/tiny/version_0/checkpoints/best.ckpt")
    assert "cannot be read: No such file" in asim(*validate).error


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        ("validate", ("--model.plan.macro.static", "{offset: 0, gain: 0, stuck_at_1: 0}"), "because chips with this"),
        ("sweep", ("--chips", "3"), "`chip` and `chips` must be left out with `model.chip_file`"),
        ("validate", ("--compare", "[{macro: {static.gain: 9}}]"), "`static.gain` must stay 2.0 with `model.chip_file"),
        ("sweep", ("-c", "rules.yaml"), "whose chip has its own spreads, got 1 lsb, at the point rules.fc.static.of"),
        ("sweep", ("--axes.adc_bits", "[8, 7]"), "of a macro with adc_bits 7, got one with 8, at the point adc_bits 7"),
    ],
)
def test_wrong_settings_next_to_a_chip_in_a_file(
    command: str, flags: tuple[str, ...], message: str, chip: Path, refused: Refused
) -> None:
    Path("rules.yaml").write_text("axes: {rules: {fc: {static.offset: [1 lsb]}}}")
    refused((command, *SIMULATED, *OWN, *flags), message)


def test_a_file_of_another_network_and_a_file_next_to_its_recipe(asim: Asim, chip: Path, written: Write) -> None:
    tensors = load_file(chip)
    Path("there").mkdir()
    chip.rename("there/mine.safetensors")
    path = written("there/tiny.yaml", model__chip_file="mine.safetensors")
    assert asim("validate", *SIMULATED, "-c", path).code == 0
    some = next(key.partition("/")[0] for key in tensors)
    save_file({key.replace(f"{some}/", f"{some}x/"): value for key, value in tensors.items()}, chip)
    error = asim("validate", *SIMULATED, *OWN).error
    assert f"has layer `{some}x`, but the network has no such layer on a macro" in error


def test_shared_macros_are_explained_and_a_chip_is_saved_by_them(asim: Asim, written: Write) -> None:
    static = {"offset": "3 lsb", "placement": "reuse", "macros": 5, "columns": 32}
    path = written(model__fidelity="simulated", model__plan__macro__static=static)
    said = " ".join(asim("explain", "-c", path).out.split())
    assert "weights reloaded into 5 macros of 32 columns" in said
    assert "conv1.3 from macro 0, conv1.6 from macro 1" in said
    assert asim("chip", "-c", path, "--chip", "3").code == 0
    file = ("--model.chip_file", "runs/tiny/chip-3/chip.safetensors")
    assert {key: list(value.shape) for key, value in load_file(file[1]).items()} == {
        "macros 0/macro": [8], "macros 0/place": [160, 2], "macros 0/offset": [160],
    }  # fmt: skip
    said = []
    for flags in (("--model.chip", "3"), file):
        assert asim("predict", "-c", path, *flags, "--data.init_args.test_images", "4").code == 0
        said.append(Path("runs/tiny/predictions.csv").read_text())
    assert said[0] == said[1]
