"""Output that nobody takes or that cannot be written, errors of the code, signals, and what starts without torch."""

import errno
import gc
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asim_lightning import __version__
from asim_lightning.classifier import CimClassifier
from asim_lightning.cli import main
from asim_lightning.cli.main import Killed, kill_raises
from tests.cli.conftest import GRID, SECONDS, Asim, Run, Write, environment, everything, sweep_of


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


@pytest.mark.process
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


def test_a_validation_loads_no_study_report_or_cost(written: Write, folder: Path) -> None:
    words = ["validate", "-c", str(written(axes={"random_noise": [0.1]})), "--trainer.callbacks", "null"]
    program = "import sys; from asim_lightning.cli import main; main(sys.argv[1:]); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, env=environment(), timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    ours = [name.split(".") for name in done.stdout.splitlines()[-1].split() if name.startswith("asim_lightning.")]
    assert len(ours) < 172
    unused = ["bench", "cost", "exploration", "report"]
    assert [name for name in ours if name[1] in unused or (name[1] == "exchange" and len(name) > 2)] == []


def test_garbage_is_collected_while_a_command_works_and_after_it(
    asim: Asim, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        CimClassifier, "validation_step", lambda *_: seen.append((gc.isenabled(), gc.get_freeze_count()))
    )
    asim("validate", "-c", run.config)
    assert seen[0][0]
    assert seen[0][1] > 100_000
    assert (gc.isenabled(), gc.get_freeze_count()) == (True, 0)


def test_a_column_in_the_current_folder_is_found(asim: Asim, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from asim_lightning.circuit import Column\n\n\nclass Mine(Column):\n    pass\n"
    (folder / "my_own_column.py").write_text(source)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])  # as the program's, without the folder
    answer = asim("explain", "-c", "quickstart", "--model.plan.macro.column", "my_own_column.Mine")
    assert "Mine" in answer.out


@pytest.mark.process
def test_closed_streams(folder: Path) -> None:
    shell = {"shell": True, "cwd": folder, "env": environment(), "timeout": SECONDS}
    command = f"{sys.executable} -m asim_lightning"
    said = subprocess.run(f"{command} --help >&-", capture_output=True, **shell)  # type: ignore[call-overload]
    assert (said.returncode, said.stderr) == (0, b"")
    wrong = f"{command} explain -c nosuch.yaml 2>&-"
    said = subprocess.run(wrong, stdout=subprocess.PIPE, **shell)  # type: ignore[call-overload]
    assert (said.returncode, said.stdout) == (2, b"")


# Ctrl-C and a kill end with a short line and the exit code that shells expect

KEPT = "stopped; finished trials are saved; the same command continues\n"
SAVED = "stopped; with --ckpt_path last it continues from the last save, at least each epoch\n"


def test_ctrl_c(asim: Asim, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(CimClassifier, "training_step", interrupt)
    answer = asim("fit", "-c", run.config)
    assert (answer.code, answer.err) == (130, SAVED)


def test_a_stopped_sweep_says_that_it_goes_on(asim: Asim, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stopped in the last of two batches of the third trial."""
    steps, original, at = [], CimClassifier.outcomes, 6

    def interrupt(self: CimClassifier, batch: Any, batch_number: int) -> Any:
        steps.append(batch_number)
        if len(steps) == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch, batch_number)

    monkeypatch.setattr(CimClassifier, "outcomes", interrupt)
    handler = signal.getsignal(signal.SIGTERM)
    answer = asim(*sweep_of(run))
    assert (answer.code, answer.err) == (143, KEPT)
    assert signal.getsignal(signal.SIGTERM) == handler
    assert len(steps) == at
    assert asim(*sweep_of(run)).code == 0
    assert len(steps) - at == 8 - 4  # the third trial is computed anew


def test_a_kill_raises_at_once_and_a_second_changes_nothing() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    try:
        kill_raises()
        with pytest.raises(Killed) as stop:
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert stop.value.code == 143


@pytest.mark.process
@pytest.mark.parametrize(("given", "spins"), [(None, "PASSIVE"), ("active", "ACTIVE")])
def test_threads_do_not_spin_while_they_wait_unless_the_user_says_so(given: str | None, spins: str) -> None:
    """OpenMP says the setting that it took when torch loaded it."""
    settings = {name: value for name, value in environment().items() if name != "OMP_WAIT_POLICY"}
    settings |= {"OMP_DISPLAY_ENV": "TRUE"} | ({} if given is None else {"OMP_WAIT_POLICY": given})
    script = "from asim_lightning.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass\nimport torch"
    run = subprocess.run([sys.executable, "-c", script], env=settings, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0
    assert f"OMP_WAIT_POLICY = '{spins}'" in run.stderr
