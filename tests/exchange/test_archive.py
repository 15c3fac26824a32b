"""A file of torch.save takes no more room than it has bytes."""

import io
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from asim_lightning.exchange.archive import check_archive
from asim_lightning.exchange.loaded_values import check_contents
from asim_lightning.exchange.read import read_plain

READ = """
import resource, sys
from asim_lightning.exchange.read import read_plain
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_plain(sys.argv[1])
except ValueError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


def compress(path: Path, zeros: int) -> None:
    """A checkpoint of so many bytes of zeros, deflated."""
    written = io.BytesIO()
    torch.save({"state_dict": {}}, written)
    with zipfile.ZipFile(written) as stored, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in stored.namelist():
            archive.writestr(name, stored.read(name))
        with archive.open(f"{stored.namelist()[0].split('/')[0]}/data/0", "w") as part:
            for _ in range(zeros // 1_000_000):
                part.write(bytes(1_000_000))


def test_zeros_that_would_fill_the_memory_are_not_unpacked(tmp_path: Path) -> None:
    compress(tmp_path / "x.ckpt", 600_000_000)
    assert (tmp_path / "x.ckpt").stat().st_size < 1_000_000
    said = subprocess.run([sys.executable, "-c", READ, tmp_path / "x.ckpt"], capture_output=True, text=True).stdout
    kilobytes, _, message = said.partition(" ")
    assert int(kilobytes) < 100_000
    assert "the parts of a checkpoint must be stored as they are, got 'archive/data.pkl'" in message


@pytest.mark.parametrize("old", [False, True])
def test_what_torch_writes_is_read(old: bool, tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    value = {"a": shared, "b": shared.reshape(2, 3).T, "c": [1, (2, "x", None)], "d": torch.zeros(0), "e": shared[2:4]}
    torch.save(value, tmp_path / "x.pth", _use_new_zipfile_serialization=not old)
    read = read_plain(tmp_path / "x.pth")
    assert torch.equal(read["b"], value["b"])
    assert torch.equal(read["e"], value["e"])
    assert read["c"] == value["c"]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_bytearray_makes_no_room(protocol: int, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(bytearray(8), protocol))
    with pytest.raises(ValueError, match="is refused: a checkpoint must hold tensors and plain values"):
        read_plain(tmp_path / "x.pkl")


def test_a_damaged_pickle_is_left_to_the_reader(tmp_path: Path) -> None:
    for content in (b"", b"\x80", b"(lp0\n.", b"c", bytes(range(256))):
        (tmp_path / "x.pkl").write_bytes(content)
        check_archive(tmp_path / "x.pkl")


def endless() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["a"] = [found]
    return found


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (endless(), "its lists and mappings must end, got a container inside itself (a.0)"),
        ({"a": torch.zeros(1).expand(2)}, "must hold plain tensors, got a, which is (2,) expanded from 4 bytes"),
        ({"a": [torch.zeros(2, device="meta")]}, "must hold plain tensors, got a.0, which is without values"),
        ({"a": torch.eye(2).to_sparse_coo()}, "must hold plain tensors, got a, which is sparse"),
        ({"a": torch.zeros(10_000)}, "its tensors must not be larger than the file, got 40000 bytes in 1000"),
    ],
    ids=["endless", "expanded", "meta", "sparse", "large"],
)
def test_contents(value: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_contents("x.ckpt", value, 1000)
    assert str(caught.value).startswith("x.ckpt ")
    assert message in str(caught.value)


def test_shared_storages_count_once() -> None:
    shared, beside = torch.zeros(2000), 4096  # bytes that a file may lack, as pickles are shorter than what they hold
    parts = [shared[n:] for n in range(100)]
    check_contents("x.ckpt", parts, 8000 - beside)
    with pytest.raises(ValueError, match="must not be larger than the file, got 8000 bytes in 3903"):
        check_contents("x.ckpt", parts, 8000 - beside - 1)
