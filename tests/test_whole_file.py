import os
from pathlib import Path

import pytest
import torch

from asim_lightning.whole_file import write_lines, write_whole


def test_a_file_and_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.csv"
    write_whole(path, lambda file: file.write(b"old"))
    write_lines(path, [("a", "b"), (1, "c,d")])
    assert [path.read_bytes(), os.listdir(path.parent)] == [b'a,b\r\n1,"c,d"\r\n', ["x.csv"]]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_what_fails_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    def fail(_: object) -> None:
        raise error

    with pytest.raises(error):
        write_whole(tmp_path / "x.bin", fail)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_goes_and_what_another_writes_stays(tmp_path: Path) -> None:
    left, written = tmp_path / "asim-0.partial", tmp_path / "asim-1.partial"
    for each in (left, written):
        each.touch()
    os.utime(left, (0, 0))
    write_whole(tmp_path / "x.bin", lambda file: file.write(b"x"))
    assert sorted(os.listdir(tmp_path)) == ["asim-1.partial", "x.bin"]


def test_a_system_error_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"x\.bin cannot be written: .*file is no folder"):
        write_whole(tmp_path / "file" / "x.bin", lambda file: file.write(b""))


def test_an_error_of_a_library_that_a_full_disk_caused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"x\.pth cannot be written: No space left on device"):
        write_whole(tmp_path / "x.pth", lambda _: _save_to_full(torch.zeros(9)))
    assert not list(tmp_path.iterdir())


def _save_to_full(value: torch.Tensor) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        torch.save(value, full)


def test_a_link_stays_and_what_it_stands_for_is_replaced(tmp_path: Path) -> None:
    link, file = tmp_path / "results.csv", tmp_path / "big" / "kept.csv"
    link.symlink_to(Path("big", "kept.csv"))
    for content in (b"new", b"newer"):  # a link to nowhere at first
        write_whole(link, lambda opened: opened.write(content))
        assert link.is_symlink()
        assert file.read_bytes() == content
    write_whole(link, lambda opened: opened.write(b"own"), follow_link=False)
    assert not link.is_symlink()
    assert (link.read_bytes(), file.read_bytes()) == (b"own", b"newer")


def test_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    nothing.symlink_to("/dev/null")
    write_whole(nothing, lambda file: file.write(b"x"))
    assert nothing.is_symlink()
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OSError, match=r" cannot be written: Is a directory"):
        write_whole(tmp_path, lambda file: file.write(b"x"))
    assert sorted(os.listdir(tmp_path)) == ["nothing"]


@pytest.mark.parametrize("name", ["x" * 255, "\u00e9" * 127])
def test_a_name_as_long_as_there_may_be(name: str, tmp_path: Path) -> None:
    write_whole(tmp_path / name, lambda file: file.write(b"x"))
    assert os.listdir(tmp_path) == [name]
