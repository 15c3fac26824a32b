"""Trials are found by several stores and processes at once, and each name is held by one."""

import multiprocessing
import os
import zipfile
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asim_lightning.evaluation.results import Outcomes
from asim_lightning.evaluation.trial_store import TrialStore, part_of


def outcomes(images: Any) -> Outcomes:
    index = np.array(list(images))
    return Outcomes(index, index % 10, index % 7, 1.0, "exact")


def test_images_are_joined_and_parted(tmp_path: Path) -> None:
    store = TrialStore(tmp_path, "digest")
    store.add("point", 0, outcomes(range(4)), {})
    found = store.add("point", 0, outcomes([7, 5, 2]), {})
    assert found.sample_index.tolist() == [0, 1, 2, 3, 5, 7]
    assert found.seconds == 2.0
    again = TrialStore(tmp_path, "digest")
    assert again.images("point")[0].tolist() == [0, 1, 2, 3, 5, 7]
    part = part_of(again.outcomes("point", 0), np.array([5, 0, 7]))
    assert part.prediction.tolist() == [0, 5, 0]
    assert part.seconds == 1.0
    with pytest.raises(ValueError, match="must have all of 2 images, and lacks 1"):
        part_of(found, np.array([0, 4]))


def test_no_flipped_byte_goes_unnoticed(tmp_path: Path) -> None:
    expected = TrialStore(tmp_path, "digest").add("point", 0, outcomes(range(120)), {})
    (path,) = tmp_path.glob("*.npz")
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        again = TrialStore(tmp_path, "digest")
        if 0 in again.images("point"):  # times and the like in the archive carry nothing
            np.testing.assert_array_equal(again.outcomes("point", 0).prediction, expected.prediction)


def test_trials_that_would_fill_the_memory_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TrialStore(tmp_path, "digest").add("point", 0, outcomes(range(120)), {})
    (path,) = tmp_path.glob("*.npz")
    whole = path.read_bytes()
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000000,)}"
    claims = np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(path) as stored, zipfile.ZipFile(tmp_path / "x", "w") as archive:
        for name in stored.namelist():
            archive.writestr(name, claims if name == "prediction.npy" else stored.read(name))
    os.replace(tmp_path / "x", path)
    assert not TrialStore(tmp_path, "digest").images("point")
    path.write_bytes(whole)
    assert list(TrialStore(tmp_path, "digest").images("point")) == [0]
    monkeypatch.setattr("asim_lightning.evaluation.trial_store._MOST_BYTES", 1000)  # and what is larger once unpacked
    assert not TrialStore(tmp_path, "digest").images("point")


def test_another_store_looks_again(tmp_path: Path) -> None:
    first, second = TrialStore(tmp_path, "digest"), TrialStore(tmp_path, "digest")
    first.add("point", 0, outcomes(range(4)), {})
    assert not second.images("point")
    second.look_again("point", 0)
    assert second.images("point")[0].tolist() == [0, 1, 2, 3]
    stranger = TrialStore(tmp_path, "other")
    stranger.look_again("point", 0)
    assert not stranger.images("point")


def _claims(folder: Path, answers: Any) -> None:
    store = TrialStore(folder, "digest")
    answers.put((store.claim("point", 0), store.claim("point", 1)))


def _adds(folder: Path, start: int) -> None:
    store = TrialStore(folder, "digest")
    for image in range(start, start + 20):
        store.add("point", 0, outcomes([image]), {})


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    """Processes that imported what this module does once for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def test_a_trial_is_claimed_by_one_process(tmp_path: Path, context: ForkServerContext) -> None:
    answers, store = context.Queue(), TrialStore(tmp_path, "digest")
    assert store.claim("point", 0)
    process = context.Process(target=_claims, args=(tmp_path, answers))
    process.start()
    assert answers.get(timeout=120) == (False, True)
    process.join()
    store.release("point", 0)
    assert store.claim("point", 1)  # the other has ended


def test_two_processes_lose_no_image_of_a_trial(tmp_path: Path, context: ForkServerContext) -> None:
    processes = [context.Process(target=_adds, args=(tmp_path, start)) for start in (0, 20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert TrialStore(tmp_path, "digest").images("point")[0].tolist() == list(range(40))
