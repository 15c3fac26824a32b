import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from asim_lightning.sweep.whole_file import naming, remove_partials, write_lines, write_whole


def test_a_file_and_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.bin"
    write_whole(path, lambda file: file.write(b"old"))
    write_whole(path, lambda file: file.write(b"new"))
    assert [path.read_bytes(), os.listdir(path.parent)] == [b"new", ["x.bin"]]


def test_lines(tmp_path: Path) -> None:
    write_lines(tmp_path / "x.csv", [("a", "b"), (1, "c,d")])
    assert (tmp_path / "x.csv").read_bytes() == b'a,b\r\n1,"c,d"\r\n'


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_what_fails_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    def fail(_: object) -> None:
        raise error

    with pytest.raises(error):
        write_whole(tmp_path / "a" / "b" / "x.bin", fail)
    assert not list(tmp_path.iterdir())


def test_a_system_error_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"x\.bin cannot be written: .*file is no folder"):
        write_whole(tmp_path / "file" / "x.bin", lambda file: file.write(b""))
    with pytest.raises(OSError, match=r"dev/full cannot be written"), naming([Path("/dev/full")]):
        Path("/dev/full").write_bytes(b"x")


def test_an_error_of_a_library_that_a_full_disk_caused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"x\.pth cannot be written: No space left on device"):
        write_whole(tmp_path / "x.pth", lambda _: _save_to_full(torch.zeros(9)))
    assert not list(tmp_path.iterdir())


def _save_to_full(value: torch.Tensor) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        torch.save(value, full)


def test_an_error_that_was_handled_before_is_no_cause(tmp_path: Path) -> None:
    def fail(_: object) -> None:
        raise ValueError("of its own")

    try:
        raise OSError("before")
    except OSError:
        with pytest.raises(ValueError, match="of its own"):
            write_whole(tmp_path / "x.bin", fail)


def test_partial_files_of_dead_processes_alone_are_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    writes = (
        "import sys, pathlib; from asim_lightning.sweep.whole_file import write_whole\n"
        "def wait(file): print('writing', flush=True); sys.stdin.read()\n"
        "write_whole(pathlib.Path(sys.argv[1]), wait)"
    )
    place = tmp_path / "deep" / "x.bin"
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", writes, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables) as living:
        assert living.stdout is not None
        assert living.stdout.readline() == b"writing\n"
        partial = place.with_name(f"x.bin.{living.pid}.partial")
        # as it looks on another machine, where no process has that number
        elsewhere = partial.rename(place.with_name(f"x.bin.{dead.pid}.partial"))
        gone = place.with_name(f"y.bin.{dead.pid}.partial")
        mine = place.with_name(f"z.bin.{os.getpid()}.partial")
        gone.write_text("")
        mine.write_text("")
        remove_partials(tmp_path)
        assert (elsewhere.exists(), gone.exists(), mine.exists()) == (True, False, True)
        living.kill()
    remove_partials(place.parent, "y.bin")
    assert elsewhere.exists()
    remove_partials(place.parent, "x.bin")
    assert not elsewhere.exists()


def test_no_folder_to_look_in(tmp_path: Path) -> None:
    remove_partials(tmp_path / "nosuch")
