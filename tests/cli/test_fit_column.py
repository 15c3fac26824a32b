"""Columns measured on silicon, on the command line: recipes, checkpoints, sweeps, pictures, fits, wrong files."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from asim_lightning.circuit import MacroConfig, transfer
from tests.circuit.measured_chips import COUNTS, bent_level, codes_of, ideal_csv, moments_csv, reads_csv
from tests.cli.conftest import Asim, Refused, Write

IDEAL = ideal_csv()
NOISY = moments_csv(*(f(codes_of(bent_level(), 0.3, 200, 0), 1) for f in (np.mean, np.std)))
MEASURED: dict[str, Any] = {
    "model__fidelity": "simulated",
    "model__plan__macro__column": "measured",
    "model__plan__macro__column_args": {"file": "chip.csv"},
}


def line(new: str, old: str = "7,7.000000,0.000000") -> str:
    """The ideal file with another line."""
    assert f"\n{old}\n" in IDEAL
    return IDEAL.replace(f"\n{old}\n", f"\n{new}\n")


FEW = reads_csv(codes_of(COUNTS.astype(float), 0.0, 20, 0))
CONVERTERS = IDEAL.replace("\n", "\n0,").replace("count", "column,count", 1)
WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "no count 0": (line("", "0,0.000000,0.000000"), {}, "must have count 0 and the full scale, got counts 1..255"),
    "count twice": (line("7,7,0\n7,7,0"), {}, "must have each count once, got 2 of count 7"),
    "volts": ("count,mv\n" + "0,0\n1,500\n" * 20, {}, "has voltages, so `macro.full_scale_mv`"),
    "NaN": (line("7,nan,0"), {}, "chip.csv, line 9: mean must be a number, 0..65535, got nan"),
    "no number": (line("7,seven,0"), {}, "must have 3 numbers a line: could not convert string 'seven'"),
    "falling": (line("7,8.7,0.5"), {}, "must have means that rise with the count, got 8.7 at count 7 and 8 at count 8"),
    "header": ("0,0,0\n1,1,0\n", {}, "line 1: the header must be count,mean,std or count,code, or for voltages"),
    "few reads": (
        FEW.rsplit("\n", 1)[0],
        {},
        "20 or more reads of each count, got 19 of count 255",
    ),
    "deviation too small": (line("7,7.5,0.1"), {}, "mean and std of whole codes, got 7.5 and 0.1 at count 7"),
    "deviation too large": (line("7,7,65536"), {}, "mean and std of whole codes, got 7 and 65536 at count 7"),
    "converter not named": (CONVERTERS, {}, "`converter` must be a converter in chip.csv, 0, or in a macro `each`"),
    "one converter": (IDEAL, {"converter": 3}, "must be left out, because chip.csv has no column `column`, got 3"),
    "converter": (IDEAL, {"converter": "a"}, "`converter` must be 0..1048576, each or null, got 'a'"),
    "file": (IDEAL, {"file": "chips.csv"}, "must be a CSV file, got 'chips.csv', which is no file"),
}


@pytest.mark.parametrize(("content", "arguments", "message"), WRONG.values(), ids=WRONG)
def test_wrong_files(content: str, arguments: dict[str, Any], message: str, folder: Path) -> None:
    (folder / "chip.csv").write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        transfer(MacroConfig(column="measured", column_args={"file": "chip.csv", **arguments}), False)


@pytest.mark.parametrize(
    ("arguments", "message", "content"),
    [
        (("explain", "-c", "tiny.yaml", "--plot", "chip.csv"), "chip.csv/conv1.3.png cannot be written", IDEAL),
        (("fit-column", "chip.csv"), "fit-column needs `--reads`", NOISY),
        (("fit-column", "chip.csv", "--reads", "9"), "needs 8 or more counts whose reads", IDEAL),
        (("fit-column", "chip.csv", "--reads", "20"), "`--reads` must be left out because", FEW),
        (("fit-column", "chip.csv", "--encoding_bits", "3"), "must divide the last count by 7, got 255", NOISY),
    ],
)
def test_wrong_uses(arguments: tuple[str, ...], message: str, content: str, refused: Refused, written: Write) -> None:
    refused(arguments, message, {"tiny.yaml": written(**MEASURED).read_bytes(), "chip.csv": content})


def test_a_file_is_found_beside_its_recipe_or_from_here(asim: Asim, written: Write, folder: Path) -> None:
    (folder / "chips").mkdir()
    written("chips/tiny.yaml", **MEASURED)
    (folder / "chip.csv").write_text(NOISY)
    explained = asim("explain", "-c", "chips/tiny.yaml", "--plot", "pictures")
    assert "(file=chip.csv," in explained.out
    assert explained.last == "plot     pictures/chip.png"
    assert (folder / "pictures" / "chip.png").read_bytes().startswith(b"\x89PNG")
    (folder / "chips" / "chip.csv").write_text(IDEAL)
    explained = asim("explain", "-c", "chips/tiny.yaml").out
    assert "(file=chips/chip.csv," in explained
    assert "sigma is 0, at 256 of 256 counts" in explained


def test_a_checkpoint_means_the_file_that_it_was_trained_with(asim: Asim, written: Write, folder: Path) -> None:
    (folder / "chips").mkdir()
    written("chips/tiny.yaml", **MEASURED)
    file = folder / "chips" / "chip.csv"
    file.write_text(NOISY)
    asim("fit", "-c", "chips/tiny.yaml", "--model.fidelity", "quantized")
    checkpoint = "runs/tiny/version_0/checkpoints/best.ckpt"
    data = ("--data.init_args.test_images", 20, "--model.fidelity", "simulated")
    alone = asim("validate", "--ckpt_path", checkpoint, *data)
    assert alone.accuracy == asim("validate", "-c", "chips/tiny.yaml", "--ckpt_path", checkpoint, *data).accuracy
    file.write_text(IDEAL)
    found = asim("validate", "--ckpt_path", checkpoint, *data).error
    assert re.search(
        r"must be the file of content 'sha256-\w+', got chips/chip.csv of content sha256-\w+; leave out", found
    )
    # a file that the user names counts as it is, as every setting does
    for named in (("-c", "chips/tiny.yaml"), ("--model.plan.macro.column_args.file", "chips/chip.csv")):
        assert asim("validate", "--ckpt_path", checkpoint, *named, *data).code == 0


def settings_said(said: str) -> dict[str, Any]:
    """The macro that a fit prints."""
    assert max(map(len, said.splitlines())) <= 120
    found: dict[str, Any] = yaml.safe_load(said[said.index("model:\n") :])["model"]["plan"]["macro"]
    return found


FEWER = ("--adc_bits", 5)
"""A converter of 32 codes, which is fitted in a moment."""
SHORT = np.arange(32)


def test_fit_column_prints_settings_that_explain_takes(asim: Asim, folder: Path) -> None:
    share = SHORT / (1 + 4e-3 * SHORT) / 31
    codes = codes_of(0.2 + 1.1 * 31 * share, 0.3, 1000, 0)
    (folder / "chip.csv").write_text(reads_csv(codes))
    said = asim("fit-column", "chip.csv", *FEWER).out
    assert said.startswith("chip.csv: counts 0..31, 32000 reads; ")
    assert "current predicts better, by " in said
    macro = MacroConfig(**settings_said(said))
    assert macro.column_args["alpha"] == pytest.approx(4e-3, rel=0.05)
    assert macro.random_noise_percent == pytest.approx(100 * 0.3 / 31, rel=0.05)
    assert macro.column_args["gain"] == pytest.approx(1.1, rel=0.01)
    assert macro.column_args["offset"] == pytest.approx(0.2, abs=0.1)
    assert re.search(r"offset: 0\.\d+  # LSB; 95 %: ", said)


def test_fit_column_prints_the_measured_column_where_no_model_predicts_as_well(asim: Asim, folder: Path) -> None:
    codes = codes_of(SHORT + 0.4 * np.sin(SHORT), 0.15 + 0.25 * SHORT / 31, 400, 0).clip(0, 31)
    head, *lines = moments_csv(codes.mean(1), codes.std(1)).splitlines()
    name = "a chip: #1.csv"
    (folder / name).write_text("\n".join([f"column,{head}", *(f"3,{line}" for line in lines)]))
    said = asim("fit-column", name, *FEWER, "--reads", 400, "--converter", 3).out
    macro = settings_said(said)
    assert macro["column_args"] == {"file": name, "converter": 3}
    assert MacroConfig(**macro).column == "measured"
    assert re.search(r"sigma rises from 0\.\d+ LSB at count 0 to 0\.\d+ LSB at count 31", said)


def test_fit_column_fits_all_converters_and_prints_their_spread(asim: Asim, folder: Path) -> None:
    offsets = [-0.5, 0.1, 0.4]
    lines = [f"{n},{line}" for n, each in enumerate(offsets) for line in voltages(each)]
    (folder / "chip.csv").write_text("\n".join(["column,count,mv", *lines]))
    said = asim("fit-column", "chip.csv", *FEWER, "--full_scale_mv", 310).out
    assert "3 converters, counts 0..31, 16 of these measured" in said
    assert [line.split()[0] for line in said.splitlines() if line[:12].strip().isdigit()] == ["0", "1", "2"]
    macro = MacroConfig(**settings_said(said))
    assert macro.column == "charge"
    assert macro.converter_spreads[0] == pytest.approx(np.std(offsets, ddof=1), rel=0.1)
    assert macro.column_args["offset"] == pytest.approx(0, abs=0.05)
    assert asim("fit-column", "chip.csv", *FEWER, "--full_scale_mv", 310, "--converter", 2).out.startswith(
        "chip.csv: c"
    )
    last = [line for line in lines if line.startswith("2,")]
    (folder / "chip.csv").write_text("\n".join(["column,count,mv", *last]))
    assert "converter" not in asim("fit-column", "chip.csv", *FEWER, "--full_scale_mv", 310).out  # there is one


def test_fit_column_names_wild_reads_and_prints_both_fits(asim: Asim, folder: Path) -> None:
    codes = codes_of(0.2 + 0.95 * SHORT, 0.3, 50, 1)
    codes[4, 7], codes[20, 9] = 29, 2
    (folder / "chip.csv").write_text(reads_csv(codes))
    said = asim("fit-column", "chip.csv", *FEWER).out
    named = [
        "chip.csv: 2 of 1,600 reads are wild (0.12 %), more than 6 robust deviations from the median of their count:",
        "code 29 at count 4, code 2 at count 20",
    ]
    assert said.splitlines()[:2] == named
    assert re.findall(r"\n(.*), (with|without) wild reads:\n.*, (\d+) reads", said) == [
        ("the other fit", "with", "1600"), ("the fit of the settings below", "without", "1598"),
    ]  # fmt: skip
    macro = MacroConfig(**settings_said(said))
    assert macro.column == "charge"
    assert macro.random_noise_percent == pytest.approx(100 * 0.3 / 31, rel=0.05)
    whole = asim("fit-column", "chip.csv", *FEWER, "--wild_reads", "true").out
    assert whole.splitlines()[:2] == named
    macro = MacroConfig(**settings_said(whole))
    assert macro.column_args == {"file": "chip.csv", "wild_reads": True}
    driven = "".join(f"\n{n},{line}" for n in (16, 31) for line in reads_csv(codes[: n + 1]).splitlines()[1:])
    (folder / "chip.csv").write_text(f"driven,count,code{driven}")
    said = asim("fit-column", "chip.csv", *FEWER).out
    assert "3 of 2,450 reads are wild" in said
    assert "code 29 at count 4 of driven rows 16, code 29 at count 4 of driven rows 31, code 2 at count 20" in said


def voltages(offset: float) -> list[str]:
    """40 reads of each second count, 10 mV a code."""
    noise = np.random.default_rng(abs(int(100 * offset))).normal(0, 0.3, (32, 40))
    return [f"{k},{10 * (k + offset + z):.5f}" for k in [*range(0, 30, 2), 31] for z in noise[k]]


def test_fit_column_fits_the_droop_of_driven_rows(asim: Asim, folder: Path) -> None:
    lines = ["driven,count,code"]
    for driven in (8, 16, 31):
        counts = np.arange(driven + 1)
        codes = codes_of(0.2 + counts * (1 - 0.2 * driven / 31), 0.3, 400, driven).clip(0, 31)
        lines += [f"{driven},{n},{code}" for n, row in zip(counts, codes, strict=True) for code in row]
    (folder / "chip.csv").write_text("\n".join(lines))
    said = asim("fit-column", "chip.csv", *FEWER).out
    assert said.startswith("chip.csv: counts 0..31; driven rows 8, 16, 31")
    assert "droop predicts better, by " in said
    macro = MacroConfig(**settings_said(said))
    assert macro.column == "droop"
    assert macro.column_args["k"] == pytest.approx(0.2, rel=0.05)
    assert macro.column_args["offset"] == pytest.approx(0.2, abs=0.05)
    assert macro.random_noise_percent == pytest.approx(100 * 0.3 / 31, rel=0.05)
    low, high = (float(each) for each in re.findall(r"  k: .* 95 %: (.*) to (.*)", said)[0])
    assert low < macro.column_args["k"] < high
    (folder / "all.csv").write_text("\n".join([lines[0], *(line for line in lines if line.startswith("31,"))]))
    macro = MacroConfig(**settings_said(asim("fit-column", "all.csv", *FEWER).out))
    assert macro.column == "charge"  # one number of driven rows tells no droop from a gain
    assert macro.column_args["gain"] == pytest.approx(0.8, rel=0.02)


def printed(volts: dict[str, list[float]]) -> str:
    """A table as ngspice prints it, after the line of an analysis, with a page break."""
    head = f"Index   v-sweep         {'   '.join(volts)}\n{'-' * 40}\n"
    lines = [
        f"{n}\t{n:.6e}\t" + "".join(f"{v:.6e}\t" for v in row)
        for n, row in enumerate(zip(*volts.values(), strict=True))
    ]
    return "No. of Data Rows : 32\n" + head + "\n".join(lines[:20]) + f"\n\f\n{head}" + "\n".join(lines[20:]) + "\n"


def test_fit_column_reads_the_tables_of_ngspice(asim: Asim, folder: Path) -> None:
    level = 1.1 * 31 * SHORT / (1 + 4e-3 * SHORT) / 31
    (folder / "column.log").write_text(printed({"v(column)": [*(level / 31)]}))
    options = (*FEWER, "--full_scale_mv", 1000)
    said = asim("fit-column", "column.log", *options).out
    macro = MacroConfig(**settings_said(said))
    assert macro.column_args["alpha"] == pytest.approx(4e-3, rel=1e-4)
    assert macro.column_args["gain"] == pytest.approx(1.1, rel=1e-4)
    assert macro.random_noise_percent == macro.nonlinear_noise_percent == 0
    draws = np.random.default_rng(0)
    reads = [printed({"v(column)": [*((level + draws.normal(0, 0.3, 32)) / 31)]}) for _ in range(40)]
    (folder / "column.log").write_text("".join(reads))
    macro = MacroConfig(**settings_said(asim("fit-column", "column.log", *options).out))
    assert macro.random_noise_percent == pytest.approx(100 * 0.3 / 31, rel=0.05)
    (folder / "column.log").write_text(printed({"v(a)": [*level], "v(b)": [*level]}))
    found = asim("fit-column", "column.log", *options).error
    assert "must have one voltage by the count in the tables of ngspice, got Index v-sweep v(a) v(b)" in found
