"""A changed file or folder has another content, and a large one is not read."""

import os
from pathlib import Path

import pytest

from asim_lightning.exploration import files
from asim_lightning.exploration.files import file_content, folder_content


def test_small_files_count_by_content_and_large_ones_by_size_and_time(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_text("a")
    before = file_content(small)
    os.utime(small, ns=(1, 1))
    assert file_content(small) == before
    small.write_text("b")
    assert file_content(small) != before
    large.write_bytes(bytes(files.SMALL + 1))
    before = file_content(large)
    assert set(before) == {"bytes", "changed_ns"}
    os.utime(large, ns=(1, 1))
    assert file_content(large) != before


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        os.utime(path, ns=(10**9, 10**9))
    return tmp_path / "images"


def test_every_change_below_a_folder_counts(folder: Path) -> None:
    seen = [folder_content(folder)]
    assert seen[0]["files"] == 3
    (folder / "dog" / "1.png").write_text("another size")
    seen.append(folder_content(folder))
    (folder / "dog" / "1.png").write_text("another SIZE")
    os.utime(folder / "dog" / "1.png", ns=(2 * 10**9, 2 * 10**9))
    seen.append(folder_content(folder))
    (folder / "dog" / "1.png").rename(folder / "cat" / "3.png")
    seen.append(folder_content(folder))
    (folder / "cat" / "1.png").unlink()
    seen.append(folder_content(folder))
    assert len({str(each) for each in seen}) == len(seen)


def test_a_moved_folder_is_the_same(folder: Path) -> None:
    before = folder_content(folder)
    assert folder_content(folder.rename(folder.with_name("moved"))) == before


def test_links_are_followed_once(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "1.png").write_text("x")
    (folder / "linked").symlink_to(tmp_path / "more")
    (folder / "around").symlink_to(folder)
    (folder / "broken").symlink_to(tmp_path / "nowhere")
    before = folder_content(folder)
    assert before["files"] == 5
    (tmp_path / "more" / "1.png").write_text("xy")
    assert folder_content(folder) != before


def test_the_folder_of_the_run_does_not_count(folder: Path) -> None:
    before = folder_content(folder, folder / "runs")
    (folder / "runs").mkdir()
    (folder / "runs" / "results.csv").write_text("x")
    assert folder_content(folder, folder / "runs") == before != folder_content(folder)


def test_of_very_many_files_names_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_ASKED", 1)
    before = folder_content(folder)
    assert (before["files"], before["files_by_name_alone"]) == (3, 2)
    (folder / "cat" / "2.png").rename(folder / "cat" / "4.png")
    assert folder_content(folder) != before
