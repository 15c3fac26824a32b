"""Output that nobody takes or that cannot be written, errors of the code, and what starts without torch."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asim_lightning import __version__
from asim_lightning.cli import main
from tests.cli.conftest import GRID, SECONDS, Asim, Write, environment, everything


@pytest.mark.parametrize(("command", "in_the_way"), [("fit", "runs"), ("predict", "runs/tiny"), ("sweep", "runs")])
def test_an_output_that_cannot_be_written(
    command: str, in_the_way: str, asim: Asim, written: Write, folder: Path
) -> None:
    config = written().name
    path = folder / in_the_way
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    before = everything(folder)
    assert "runs" in asim(command, "-c", config, *(GRID if command == "sweep" else ())).error
    assert everything(folder) == before


def test_a_full_disk(asim: Asim, written: Write, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    assert asim("fit", "-c", written()).error.endswith("/best.ckpt cannot be written: No space left on device")
    assert not [*folder.rglob("*.ckpt"), *folder.rglob("*.partial")]


@pytest.mark.parametrize("debug", [False, True])
def test_an_error_of_the_code_is_a_line_that_names_the_file_with_its_traceback(
    debug: bool, asim: Asim, written: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("shapes cannot\nbe multiplied")

    monkeypatch.setattr("asim_lightning.classifier.CimClassifier.predict_step", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    answer = asim("predict", "-c", written(), *(["--debug"] if debug else []))
    assert answer.code == 1
    said, _, file = answer.err.splitlines()[-1].partition("; traceback in ")
    assert said == "error: RuntimeError: shapes cannot be multiplied"
    assert "predict_step" in Path(file).read_text()
    assert ("Traceback" in answer.err) == debug


def test_an_ascii_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), "ascii", write_through=True))
    with pytest.raises(SystemExit) as stop:
        main(["explain", "-c", "gr\u00f6\u00dfe\u2192.yaml"])
    print("0 \u00b1 1")
    assert stop.value.code == 2
    assert b"There is no file 'gr\\xf6\\xdfe\\u2192.yaml'" in sys.stderr.buffer.getvalue()  # type: ignore[attr-defined]
    assert sys.stdout.buffer.getvalue() == b"0 \\xb1 1\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize("asked", [["--help"], ["explain", "-c", "quickstart"]], ids=" ".join)
def test_output_that_nobody_reads_on(
    asked: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(SystemExit) as stop:
            main(asked)
    assert (stop.value.code, capsys.readouterr().err) == (141, "")


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["--help"], 0, "usage: asim COMMAND -c CONFIG"),
        (["--version"], 0, f"asim {__version__}\n"),
        (["valdate", "-c", "quickstart"], 2, "got 'valdate'; nearest: validate"),
    ],
)
def test_what_needs_no_network_does_not_wait_for_torch(given: list[str], code: int, said: str) -> None:
    program = "import sys; from asim_lightning.cli import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program, *given], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr


def test_a_column_in_the_current_folder_is_found(asim: Asim, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from asim_lightning.circuit import Column\n\n\nclass Mine(Column):\n    pass\n"
    (folder / "my_own_column.py").write_text(source)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])  # as the program's, without the folder
    answer = asim("explain", "-c", "quickstart", "--model.plan.macro.column", "my_own_column.Mine")
    assert "Mine" in answer.out


def test_closed_streams(folder: Path) -> None:
    shell = {"shell": True, "cwd": folder, "env": environment(), "timeout": SECONDS}
    command = f"{sys.executable} -m asim_lightning"
    said = subprocess.run(f"{command} --help >&-", capture_output=True, **shell)  # type: ignore[call-overload]
    assert (said.returncode, said.stderr) == (0, b"")
    wrong = f"{command} explain -c nosuch.yaml 2>&-"
    said = subprocess.run(wrong, stdout=subprocess.PIPE, **shell)  # type: ignore[call-overload]
    assert (said.returncode, said.stdout) == (2, b"")
