import collections
import os
import pickle
import tracemalloc
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
        (b"", "truncated"),
        (b"PK\3\4 not a pickle", "not ("),
        (
            pickle.dumps({"data": ARRAY}, 2).replace(b"K\x04K\x06", b"K\x05K\x06"),
            "an array of shape (5, 6) with 24 bytes",
        ),
        (b"\x80\x02]q\x00h\x00a.", "recursion"),  # a list that holds itself
        (b"\x80\x02]r\xff\xff\xff\x0f.", "memo index 268435455 after 3 opcodes"),  # a memo of 2 GB
        (b"\x80\x02B\xff\xff\xff\x7f.", "only 1 remain"),  # 2 GB of text
    ],
)
def test_other_pickles_are_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_plain_pickle(tmp_path / "batch")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


class SharedArray:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def __reduce__(self) -> Any:
        made, arguments, state = numpy.zeros(1, numpy.uint8).__reduce__()
        return made, arguments, (state[0], (len(self.content),), *state[2:4], self.content)


@pytest.mark.parametrize("protocol", [2, 4])
def test_bytes_that_many_arrays_share_take_no_memory(tmp_path: Path, protocol: int) -> None:
    content = bytes(2**20)
    (tmp_path / "batch").write_bytes(pickle.dumps([SharedArray(content) for _ in range(100)], protocol))
    assert (tmp_path / "batch").stat().st_size < 2**21
    tracemalloc.start()
    with pytest.raises(ValueError, match="arrays that are larger than the file"):
        read_plain_pickle(tmp_path / "batch")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


def test_lists_that_name_each_other_many_times_are_read_once(tmp_path: Path) -> None:
    laughs: list[Any] = ["ha"]
    for _ in range(60):
        laughs = [laughs, laughs]
    (tmp_path / "batch").write_bytes(pickle.dumps({"labels": laughs}, 2))
    found = read_plain_pickle(tmp_path / "batch")["labels"]
    assert found[0] is found[1]
