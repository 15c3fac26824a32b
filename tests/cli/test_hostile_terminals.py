"""Terminals without UTF-8, folders that are no text, output that nobody takes, and grids of thousands of points."""

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from asim_lightning import __version__
from asim_lightning.cli import main
from tests.cli.conftest import GRID, TINY, Asim, Run, contents, unread_output
from tests.cli.runs_to_stop import SECONDS, environment

Write = Callable[..., Path]


@pytest.fixture
def no_utf8(tmp_path: Path) -> bytes:
    """A folder whose name is no text, with a configuration."""
    folder = os.fsencode(tmp_path) + b"/b\xff"
    os.mkdir(folder)
    with open(folder + b"/tiny.yaml", "w") as file:
        yaml.safe_dump(TINY, file)
    return folder


def test_an_ascii_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), "ascii", write_through=True))
    with pytest.raises(SystemExit) as stop:
        main(["explain", "-c", "gr\u00f6\u00dfe\u2192.yaml"])
    print("0 \u00b1 1")
    assert stop.value.code == 2
    assert b"There is no file 'gr\\xf6\\xdfe\\u2192.yaml'" in sys.stderr.buffer.getvalue()  # type: ignore[attr-defined]
    assert sys.stdout.buffer.getvalue() == b"0 \\xb1 1\n"  # type: ignore[attr-defined]
    assert not contents(folder)


def test_a_working_folder_that_is_no_text(no_utf8: bytes, asim: Asim, monkeypatch: pytest.MonkeyPatch) -> None:
    config = os.fsdecode(no_utf8 + b"/tiny.yaml")  # as Python decodes arguments
    monkeypatch.chdir(os.fsdecode(no_utf8))
    assert asim("fit", "-c", config).code == 0
    monkeypatch.chdir("/")
    answer = asim("explain", "-c", config, f"--data.init_args.root={os.fsdecode(no_utf8)}")
    assert "what is given must be text in UTF-8, got --data.init_args.root=" in answer.error
    assert sorted(os.listdir(no_utf8)) == [b"runs", b"tiny.yaml"]


def test_standard_output_that_is_full(
    written: Write, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written()
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as stop:
            main(["explain", "-c", "tiny.yaml"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: standard output cannot be written: No space left on device\n"
    assert contents(folder) == {"tiny.yaml"}


ASKED = [
    ["--version"],
    ["--help"],
    ["sweep", "--help"],
    ["export", "--help"],
    ["explain", "-c", "quickstart", "--print_config"],
]


@pytest.mark.parametrize("asked", ASKED, ids=" ".join)
@pytest.mark.parametrize("buffering", [1, -1])  # argparse itself passes over what it cannot write
def test_help_that_cannot_be_written(
    asked: list[str], buffering: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w", buffering) as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as stop:
            main(asked)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("asked", ASKED, ids=" ".join)
def test_help_that_nobody_reads_on(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with unread_output(monkeypatch), pytest.raises(SystemExit) as stop:
        main(asked)
    assert stop.value.code == 141
    assert capsys.readouterr().err == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert (stop.value.code, capsys.readouterr().out) == (0, f"asim {__version__}\n")


def test_closed_streams(folder: Path) -> None:
    shell = {"shell": True, "cwd": folder, "env": environment(), "timeout": SECONDS}
    command = f"{sys.executable} -m asim_lightning"
    said = subprocess.run(f"{command} --help >&-", capture_output=True, **shell)  # type: ignore[call-overload]
    assert (said.returncode, said.stderr) == (0, b"")
    wrong = f"{command} explain -c nosuch.yaml 2>&-"
    said = subprocess.run(wrong, stdout=subprocess.PIPE, **shell)  # type: ignore[call-overload]
    assert (said.returncode, said.stdout) == (2, b"")


def test_a_command_without_streams(written: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    written()
    for name in ("stdout", "stderr"):  # as Python has them where they are closed
        monkeypatch.setattr(sys, name, None)
    main(["explain", "-c", "tiny.yaml"])
    with pytest.raises(SystemExit) as stop:
        main(["explain", "-c", "tiny.yaml", "--seed_everything", "-1"])
    assert stop.value.code == 2


def test_a_large_grid_says_what_it_asks_for(
    asim: Asim, run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enough(*_: object) -> None:
        raise ValueError("enough")

    monkeypatch.setattr("asim_lightning.cli.sweep.prepare", enough)
    grid = (
        *("--axes.random_noise", [step / 100 for step in range(60)]),
        *("--axes.nonlinear_noise", [step / 100 for step in range(20)]),
        *("--axes.adc_bits", [6, 7, 8, 9, 10, 11], "--axes.rows", [64, 128, 255, 511, 512]),
    )
    answer = asim("sweep", "-c", run.config, "--ckpt_path", run.checkpoint, *grid)
    assert answer.error == "enough"
    (line,) = (line for line in answer.out.splitlines() if line.startswith("grid"))
    assert line.startswith("grid     36,000 points, up to 72,002 trials of 20 images, at least ")
    assert line.endswith(" (float32's time; simulation takes longer)")


def test_a_long_sweep_says_how_long(asim: Asim, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asim_lightning.exploration.estimate._LONG", 0.0)
    answer = asim("sweep", "-c", run.config, "--ckpt_path", run.checkpoint, *GRID)
    assert "grid     1 point, up to 4 trials of 20 images\n" in answer.out
    (line,) = (line for line in answer.out.splitlines() if line.startswith("time"))
    assert re.match(r"time     about [\d.]+ m?s for 1 more trial, as the last took ", line)
