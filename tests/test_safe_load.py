"""Files of strangers: they are read as plain values, and run nothing."""

import codecs
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from asim_lightning.safe_load import load_pickle, load_safetensors, load_torch

ARRAY = numpy.arange(24, dtype=numpy.uint8).reshape(4, 6)
CONTENT = {"data": ARRAY, "labels": [3, 1, 2, 0], "batch_label": "training batch 1 of 5", "best": numpy.float64(0.5)}
SHARED = torch.arange(6.0)
STATE = {"a": SHARED, "b": SHARED.reshape(2, 3).T, "c": [1, (2, "x", None)], "d": torch.zeros(0), "e": b"\xff" * 300}


class Hostile:
    """Calls a function when a plain pickle.load reads it."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def check(content: dict[str, Any]) -> None:
    assert content["data"].dtype == numpy.uint8
    assert numpy.array_equal(content["data"], ARRAY)
    assert {**content, "data": 0} == {**CONTENT, "data": 0}


def refusal(read: Callable[[Path], Any], file: Path) -> str:
    with pytest.raises(ValueError) as caught:
        read(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_pickle_of_python_3_with_keys_of_text_or_bytes_and_arrays_by_columns(tmp_path: Path, protocol: int) -> None:
    by_bytes = {key.encode(): value for key, value in CONTENT.items()}
    for content in (CONTENT, by_bytes, CONTENT | {"data": numpy.asfortranarray(ARRAY)}):
        (tmp_path / "batch").write_bytes(pickle.dumps(content, protocol))
        check(load_pickle(tmp_path / "batch"))


@pytest.mark.parametrize("old", [False, True])
def test_what_torch_writes(old: bool, tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "x.pth", _use_new_zipfile_serialization=not old)
    read = load_torch(tmp_path / "x.pth")
    assert all(torch.equal(read[key], STATE[key]) for key in "abd")
    assert (read["c"], read["e"]) == (STATE["c"], STATE["e"])
    with (tmp_path / "x.pth").open("rb") as opened:
        assert torch.equal(load_torch(opened)["b"], STATE["b"])


def test_numbers_of_numpy_in_a_checkpoint(tmp_path: Path) -> None:
    kinds = (numpy.float64, numpy.float32, numpy.int64, numpy.bool_)
    torch.save({"best_acc": [kind(1) for kind in kinds]}, tmp_path / "x.pkl")
    assert load_torch(tmp_path / "x.pkl") == {"best_acc": [1] * 4}


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_that_a_file_names_is_run(tmp_path: Path, protocol: int) -> None:
    trace, file = tmp_path / "trace", tmp_path / "batch"
    call = Hostile(os.mkdir, str(trace))
    file.write_bytes(pickle.dumps({"data": ARRAY, "labels": [call]}, protocol))
    assert "it names " in refusal(load_pickle, file)
    refusal(load_torch, file)
    torch.save({"state_dict": {}, "x": call}, file, pickle_protocol=max(protocol, 2))
    assert "is refused" in refusal(load_torch, file) or protocol == 4  # torch reads no pickles of protocol 4
    assert not trace.exists()
    pickle.loads(pickle.dumps(call, protocol))
    assert trace.exists()  # so the call was one that runs


FORGED = pickle.dumps(Hostile(numpy.float64(0).__reduce__()[0], numpy.dtype("O"), [1]), 2)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (FORGED, "it holds NumPy's type 'O8'"),
        (pickle.dumps(Hostile(codecs.encode, "a", "hex"), 2), "it holds bytes in the encoding 'hex'"),
        (pickle.dumps(CONTENT, 4)[:-20], "truncated"),
    ],
)
def test_pickles_that_are_damaged_or_hold_something_else(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "batch").write_bytes(content)
    assert reason in refusal(load_pickle, tmp_path / "batch")


def test_damaged_checkpoints(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "x.ckpt")
    whole = (tmp_path / "x.ckpt").read_bytes()
    for content in (whole[:-30], b"", FORGED):
        (tmp_path / "x.ckpt").write_bytes(content)
        message = refusal(load_torch, tmp_path / "x.ckpt")
        assert "is no checkpoint, or a damaged one" in message or "is refused" in message


def test_a_checkpoint_with_a_wrong_checksum(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "x.ckpt")
    with (tmp_path / "x.ckpt").open("rb") as opened:
        whole = opened.read()
        opened.seek(0)
        assert load_torch(opened)["a"].sum() == 0
    changed = whole.replace(bytes(4000), bytes(2000) + b"1" + bytes(1999))  # a number of the tensor
    assert len(changed) == len(whole)
    (tmp_path / "x.ckpt").write_bytes(changed)
    assert "the checksum of x/data/0 in it is wrong" in refusal(load_torch, tmp_path / "x.ckpt")


WIDE = b'{"w": {"dtype": "F32", "shape": [1073741824, 64], "data_offsets": [0, 274877906944]}}'


@pytest.mark.parametrize("content", [struct.pack("<Q", len(WIDE)) + WIDE, b""])
def test_damaged_safetensors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    assert "is no .safetensors file, or a damaged one: " in refusal(load_safetensors, tmp_path / "x.safetensors")
