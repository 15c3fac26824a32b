import collections
import os
import pickle
from pathlib import Path
from typing import Any

import numpy
import pytest

from asim_lightning.data.unpickling import read_plain_pickle
from tests.data.published_layouts import dump_as_python2

ARRAY = numpy.arange(24, dtype=numpy.uint8).reshape(4, 6)
CONTENT = {"data": ARRAY, "labels": [3, 1, 2, 0], "batch_label": "training batch 1 of 5", "nested": [["a"], 1.5, None]}


def check(content: dict[str, Any]) -> None:
    assert content["data"].dtype == numpy.uint8
    assert numpy.array_equal(content.pop("data"), ARRAY)
    assert content == {key: value for key, value in CONTENT.items() if key != "data"}


def test_a_pickle_of_python_2(tmp_path: Path) -> None:
    dump_as_python2(CONTENT, tmp_path / "batch")
    check(read_plain_pickle(tmp_path / "batch"))
    check({key.decode(): value for key, value in _with_bytes_as_text(tmp_path / "batch").items()})


def _with_bytes_as_text(file: Path) -> dict[bytes, Any]:
    """The same file by Python's own unpickler, to see that it is what the test takes it for."""
    content = pickle.loads(file.read_bytes(), encoding="bytes")
    assert all(isinstance(key, bytes) for key in content)
    return {**content, b"batch_label": content[b"batch_label"].decode(), b"nested": [["a"], 1.5, None]}


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_pickle_of_python_3(tmp_path: Path, protocol: int, as_bytes: bool) -> None:
    content = {key.encode() if as_bytes else key: value for key, value in CONTENT.items()}
    (tmp_path / "batch").write_bytes(pickle.dumps(content, protocol))
    check(read_plain_pickle(tmp_path / "batch"))


def test_an_array_by_columns(tmp_path: Path) -> None:
    (tmp_path / "batch").write_bytes(pickle.dumps({"data": numpy.asfortranarray(ARRAY)}, 2))
    assert numpy.array_equal(read_plain_pickle(tmp_path / "batch")["data"], ARRAY)


class Hostile:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_that_a_pickle_names_is_run(tmp_path: Path, protocol: int) -> None:
    trace, file = tmp_path / "trace", tmp_path / "batch"
    for call in (Hostile(os.mkdir, str(trace)), Hostile(eval, f"open({str(trace)!r}, 'w')"), Hostile(print, "run")):
        file.write_bytes(pickle.dumps({"data": ARRAY, "labels": [call]}, protocol))
        with pytest.raises(ValueError) as caught:
            read_plain_pickle(file)
        assert str(caught.value).startswith(f"{file} must be a whole pickle of numbers, text and arrays of bytes, but ")
        assert "it names " in str(caught.value)
        assert str(caught.value).endswith("; nothing in it was run.")
        assert "\n" not in str(caught.value)
        assert not trace.exists()
    pickle.loads(pickle.dumps(Hostile(os.mkdir, str(trace))))
    assert trace.exists()  # so the pickle was a dangerous one


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickle.dumps({"data": ARRAY.astype(numpy.int64)}, 2), "an array of 'i8' in place of bytes"),
        (pickle.dumps({"data": numpy.array([object()])}, 2), "in place of bytes"),
        (pickle.dumps(collections.OrderedDict(), 2), "it names collections.OrderedDict"),
        (pickle.dumps({"data": numpy.ndarray}, 2), "it holds a type"),
        (pickle.dumps(CONTENT, 4)[:-20], "truncated"),
        (b"", "Ran out of input"),
        (b"PK\3\4 not a pickle", "not ("),
        (
            pickle.dumps({"data": ARRAY}, 2).replace(b"K\x04K\x06", b"K\x05K\x06"),
            "an array of shape (5, 6) with 24 bytes",
        ),
        (b"\x80\x02]q\x00h\x00a.", "recursion"),  # a list that holds itself
    ],
)
def test_other_pickles_are_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_plain_pickle(tmp_path / "batch")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
