"""Workers of Ray: the same numbers as without, whatever ends them, and none that is left behind.

Everything here starts Ray, which takes seconds and needs the extra [ray].
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from asim_lightning.exploration.ray_runner import MOST_DEATHS, RayRunner, _connected, packed
from asim_lightning.exploration.runner import RunnerSettings
from tests.cli.conftest import environment
from tests.exploration.conftest import MACRO, Load, Make, grid, rows, stored, trials, write_recipe

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
SECONDS = 400.0
POINTS = 12
OWN = """
    import os, sys, time
    from asim_lightning.circuit import Column

    class Own(Column):
        def __init__(self, macro, does=""):
            super().__init__(macro)
            self.does = does
        def level(self, count, cycle):
            if sys.argv[0].endswith("default_worker.py"):  # Ray's
                if os.environ["OMP_WAIT_POLICY"] != "PASSIVE":
                    raise RuntimeError("waiting threads spin")
                simulated = self.macro.random_noise == 1
                if self.does == "dies" and simulated:
                    os._exit(1)
                if self.does == "fails" and simulated:
                    raise RuntimeError("no such level\\nat all")
            return super().level(count, cycle)
"""
STRANGER = """
    import os, ray, sys

    ray.init(address=sys.argv[1], logging_level="ERROR")
    print("ran as user", ray.get(ray.remote(num_cpus=0)(os.getuid).remote()))
"""
Command = Callable[..., "subprocess.Popen[str]"]


def processes() -> dict[int, tuple[int, str]]:
    """Parent and command of each process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            found[int(path.name)] = parent, (path / "cmdline").read_text().replace("\0", " ")
        except (OSError, ValueError):  # it has ended
            pass
    return found


def below(process: int) -> dict[int, str]:
    """Commands of the processes that one has started, and those have."""
    everyone, found, ends = processes(), dict[int, str](), [process]
    while ends:
        parent = ends.pop()
        for number, (above, command) in everyone.items():
            if above == parent and number not in found:
                found[number] = command
                ends.append(number)
    return found


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    """Starts a sweep of 12 points, of two trials each, as a program."""
    axes = {"random_noise": [0.1, 0.3, 1.0, 3.0], "adc_bits": [6, 7, 8]}
    write_recipe(tmp_path, 40, axes=axes, trials=2, progress=False)
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        given = [sys.executable, "-m", "asim_lightning", "sweep", "-c", "tiny.yaml", *arguments]
        started.append(
            subprocess.Popen(
                given, cwd=tmp_path, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def in_mid_point(process: "subprocess.Popen[str]", folder: Path, count: int) -> dict[int, str]:
    """Processes of a sweep that has kept so many trials, once a worker computes the next."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = below(process.pid)
        computing = any("Worker.evaluate" in each for each in found.values())
        if computing and len(stored(folder)) >= count:
            return found
        time.sleep(0.02)
    raise AssertionError(process.communicate()[0])


def test_twelve_points_are_the_same_in_process_on_ranks_and_by_workers_one_of_which_is_killed(
    command: Command, tmp_path: Path
) -> None:
    found = []
    ranks = ("--trainer.strategy", "ddp", "--trainer.devices", "2")
    workers = ("--runner", "ray", "--runner.workers", "2")
    for name, arguments in {"process": (), "ranks": ranks, "ray": workers}.items():
        root = tmp_path / name
        process = command("--trainer.default_root_dir", name, *arguments)
        if name == "ray":
            each = in_mid_point(process, root, 5)
            os.kill(next(number for number, said in each.items() if "Worker.evaluate" in said), signal.SIGKILL)
        said = process.communicate(timeout=SECONDS)[0]
        assert process.returncode == 0, said
        (table,) = root.glob("tiny/sweep-*")
        known = {
            name: (each.sample_index.tolist(), each.prediction.tolist()) for name, each in trials(table.parent).items()
        }
        assert len(known) == 2 + 2 * POINTS
        found.append((rows(table), known))
    assert len(found[0][0]) == 2 + POINTS
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_no_process_is_left_where_a_sweep_is_stopped(
    command: Command, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    process = command("--trainer.default_root_dir", "runs", "--runner", "ray", "--runner.workers", "1")
    started = in_mid_point(process, tmp_path / "runs", 2)
    assert len(started) > 3
    if sent == signal.SIGINT:
        os.killpg(process.pid, sent)  # as a terminal does
    else:
        os.kill(process.pid, sent)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == code, said
    assert code < 0 or said.splitlines()[-1].endswith("the same command continues")
    deadline = time.monotonic() + (60 if code > 0 else 240)  # an agent of Ray looks for its parent now and then
    while left := {number: each for number, (_, each) in processes().items() if started.get(number) == each}:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_what_goes_wrong_in_a_worker_is_one_line_and_signals_are_handled_as_before(
    load: Load, make: Make, tmp_path: Path
) -> None:
    load("own_column", textwrap.dedent(OWN))
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    for does, message in {
        "fails": "simulated random_noise 1 trial 0: Layer `conv1.3`: `macro.column` own_column.Own: level must take",
        "dies": f"simulated random_noise 1 trial 0 was given up because {MOST_DEATHS + 1} of its workers died",
    }.items():
        own = MACRO.with_fields(column="own_column.Own", column_args={"does": does})
        runner = partial(RayRunner, settings=RunnerSettings("ray", 1))
        sweep = make(grid(random_noise=[1.0]), trials=1, macro=own, folder=does, runner=runner)
        with pytest.raises(ValueError, match="random_noise 1 trial 0") as raised:
            sweep.run()
        assert str(raised.value).startswith(message)
        assert len(str(raised.value).splitlines()) == 1
        assert len(stored(sweep.folder.parent)) == 2  # what was finished is kept
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers


def test_a_cluster_of_our_own_takes_jobs_from_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", short := tempfile.mkdtemp())
    with _connected(None, 1):
        import ray

        (folder,) = Path(short).glob("asim-*")
        assert folder.stat().st_mode & 0o777 == 0o700
        address = ray.get_runtime_context().gcs_address
        assert answers(int(address.rpartition(":")[2]))
        assert not answers(int(address.rpartition(":")[2]), "127.0.0.2")  # which a port of all interfaces takes
        theirs = {**os.environ, "HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": ""}
        given = [sys.executable, "-c", textwrap.dedent(STRANGER), address]
        stranger = subprocess.run(given, env=theirs, capture_output=True, text=True, check=False)
        assert stranger.returncode == 1
        assert "ran as user" not in stranger.stdout
        assert "AuthToken" in stranger.stderr
    Path(short).rmdir()  # as it is empty


def test_workers_look_for_modules_where_a_notebook_does(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sweep = make()
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    monkeypatch.setattr(sys, "path", ["", "lib", *sys.path])
    _, modules = packed(sweep.trainer, sweep.model, sweep.data, False, 1)
    assert {str(tmp_path / "mine"), str(tmp_path / "mine" / "lib")} <= set(modules)


@pytest.mark.slow
def test_an_address_at_which_no_cluster_answers_is_refused_in_one_line(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        begin = time.monotonic()
        process = command("--runner", "ray", "--runner.address", address)
        lines = process.communicate(timeout=SECONDS)[0].splitlines()
        assert time.monotonic() - begin < 120  # half a minute next to imports
    assert process.returncode == 2
    assert lines[-1].startswith("error: `runner.address` must be a Ray cluster")
    assert address in lines[-1]
    assert not [line for line in lines if "Traceback" in line]


@pytest.mark.slow
def test_workers_of_a_cluster(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--num-cpus", "1", "--object-store-memory", str(128 << 20)]
    options += ["--include-dashboard", "false", "--disable-usage-stats", "--temp-dir", tempfile.mkdtemp(dir="/tmp")]
    head = subprocess.Popen(
        [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", *options],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while not answers(port) or len(below(head.pid)) < 5:
            assert time.monotonic() < deadline
            assert head.poll() is None
            time.sleep(0.2)
        cluster = ("--runner", "ray", "--runner.address", f"127.0.0.1:{port}", "--axes.adc_bits", "[8]")
        many = command(*cluster, "--runner.workers", "2")
        last = many.communicate(timeout=SECONDS)[0].splitlines()[-1]
        assert last.startswith(f"error: `runner.workers` must be 1..1 at 127.0.0.1:{port}, because Ray has 1 CPUs"), (
            last
        )
        assert many.returncode == 2
        found = []
        for name, arguments in {"process": ("--axes.adc_bits", "[8]"), "cluster": cluster}.items():
            process = command("--trainer.default_root_dir", name, *arguments)
            said = process.communicate(timeout=SECONDS)[0]
            assert process.returncode == 0, said
            (table,) = (tmp_path / name).glob("tiny/sweep-*")
            found.append(rows(table))
        assert found[0] == found[1]
    finally:
        head.terminate()
        head.wait(60)


def answers(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as connection:
        return connection.connect_ex((host, port)) == 0
