"""A pickle encodes as pickles write bytes, and otherwise not."""

import _codecs
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asim_lightning.exchange.pickled_bytes import EncodingError, check_encoded
from asim_lightning.exchange.read import read_plain

ENCODE = ("GLOBAL", "_codecs encode")
TEXT, LATIN, HEX = ("BINUNICODE", "a"), ("BINUNICODE", "latin1"), ("BINUNICODE", "hex")
PAIR, CALL = ("TUPLE2", None), ("REDUCE", None)


class Encoded:
    """Has the reader encode a text."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __reduce__(self) -> Any:
        return _codecs.encode, self.arguments


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "value",
    [Encoded("ä" * 60_000, "punycode"), Encoded("a", "rot13"), Encoded("ä"), [b"a", Encoded("latin1", "hex")]],
    ids=["punycode", "rot13", "no encoding", "behind bytes"],
)
def test_other_encodings_are_refused_at_once(value: Any, old: bool, tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "x": value}, tmp_path / "x.ckpt", _use_new_zipfile_serialization=not old)
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"x\.ckpt is refused: a checkpoint must hold .* got a text to be encoded"):
        read_plain(tmp_path / "x.ckpt")
    assert time.perf_counter() - start < 5


def test_bytes_and_numbers_of_numpy_are_read(tmp_path: Path) -> None:
    value = {"a": b"abc", "b": [b"abc", b"\xff" * 300], "c": np.float64(0.5), "d": np.float32(2), "e": "latin1"}
    torch.save(value, tmp_path / "x.ckpt")
    assert read_plain(tmp_path / "x.ckpt") == value


@pytest.mark.parametrize(
    "operations",
    [
        [ENCODE, TEXT, HEX, PAIR, CALL],
        [ENCODE, TEXT, LATIN, ("TUPLE3", None), CALL],
        [ENCODE, TEXT, ("TUPLE1", None), CALL],
        [ENCODE, LATIN, TEXT, PAIR, CALL],
        [ENCODE, ENCODE, LATIN, PAIR, CALL],
        [ENCODE, ("MARK", None)],
        [ENCODE, ("BINPUT", 1), TEXT, ("BINPUT", 2), LATIN, ("BINPUT", 3), PAIR, CALL, ("BINGET", 1), TEXT, HEX],
        [LATIN, ("BINPUT", 1), HEX, ("BINPUT", 1), ENCODE, TEXT, ("BINGET", 1), PAIR, CALL],
        [ENCODE, ("BINPUT", 1), TEXT, LATIN, PAIR, CALL, TEXT, ("LONG_BINGET", 1), HEX, PAIR],
        [ENCODE, TEXT, LATIN, ("BUILD", None), CALL],
    ],
)
def test_every_other_use_of_the_encoder(operations: list[tuple[str, Any]]) -> None:
    with pytest.raises(EncodingError):
        list(check_encoded(operations))


def test_the_use_that_pickles_make() -> None:
    first = [ENCODE, ("BINPUT", 1), TEXT, ("BINPUT", 2), LATIN, ("BINPUT", 3), PAIR, ("BINPUT", 4), CALL, ("BINPUT", 5)]
    again = [("BINGET", 1), ("BINGET", 2), ("BINGET", 3), PAIR, CALL, TEXT, HEX, ("STOP", None)]
    assert list(check_encoded([*first, *again])) == [*first, *again]


def test_a_storage_by_itself_is_refused(tmp_path: Path) -> None:
    class Room:
        def __reduce__(self) -> Any:
            return torch.UntypedStorage, (8 * 2**20,)

    torch.save({"state_dict": {}, "x": Room()}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=r"must hold tensors and plain values, got x, which is a UntypedStorage"):
        read_plain(tmp_path / "x.ckpt")
