import gzip
import struct
import tracemalloc
from pathlib import Path

import pytest
import torch

from asim_lightning.data.idx import read_idx, write_idx


@pytest.fixture
def values() -> torch.Tensor:
    return torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4)


def test_what_is_written_is_read_back_gzipped_or_not(tmp_path: Path, values: torch.Tensor) -> None:
    write_idx(tmp_path / "x.gz", values)
    (tmp_path / "x").write_bytes(gzip.decompress((tmp_path / "x.gz").read_bytes()))
    torch.testing.assert_close(read_idx(tmp_path / "x.gz"), values, rtol=0, atol=0)
    torch.testing.assert_close(read_idx(tmp_path / "x"), values, rtol=0, atol=0)


def test_header_is_the_published_one(tmp_path: Path, values: torch.Tensor) -> None:
    write_idx(tmp_path / "x.gz", values)
    content = gzip.decompress((tmp_path / "x.gz").read_bytes())
    assert content[:16] == struct.pack(">IIII", 0x00000803, 2, 3, 4)  # 0x803 is the magic number of MNIST's images
    assert len(content) == 16 + 24


def test_gzip_header_holds_neither_name_nor_time(tmp_path: Path, values: torch.Tensor) -> None:
    write_idx(tmp_path / "x.gz", values)
    write_idx(tmp_path / "another.gz", values)
    assert (tmp_path / "x.gz").read_bytes() == (tmp_path / "another.gz").read_bytes()
    assert (tmp_path / "x.gz").read_bytes()[3:8] == b"\0" * 5  # flags, time


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be an IDX file of unsigned bytes, but begins with 0x."),
        (b"PK\3\4" + b"\0" * 20, "must be an IDX file of unsigned bytes, but begins with 0x504b0304."),
        (struct.pack(">BBBBI", 0, 0, 0x0D, 1, 4) + b"\0" * 16, "of unsigned bytes, but begins with 0x00000d01."),
        (b"\0\0\x08\3\0\0", "must hold an IDX header of 16 bytes, but is truncated to 6."),
        (struct.pack(">BBBBI", 0, 0, 8, 1, 5) + b"\0" * 4, "must hold 5 bytes after the header for the shape (5,)"),
        (struct.pack(">BBBBI", 0, 0, 8, 1, 5) + b"\0" * 6, "but holds more: it is truncated or corrupt."),
        (struct.pack(">BBBBI", 0, 0, 8, 1, 0), "but holds 0: it is truncated or corrupt."),
    ],
)
def test_other_content_is_refused_in_one_line_with_the_file(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "bad-idx"
    file.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_idx(file)
    assert str(caught.value).startswith(str(file))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def _truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(255 - byte for byte in content[middle : middle + 4]) + content[middle + 4 :]


def _not_gzip(content: bytes) -> bytes:
    return b"hello" + content


@pytest.mark.parametrize("damage", [_truncated, _flipped, _not_gzip])
def test_a_damaged_gzip_file_is_refused_in_one_line_with_the_file(tmp_path: Path, damage) -> None:
    file = tmp_path / "bad.gz"
    write_idx(file, torch.randint(0, 256, (4, 28, 28), dtype=torch.uint8))
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"must be a whole gzip file, but is truncated or corrupt \(.*\)\.$") as caught:
        read_idx(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def _packed_zeros(file: Path, header: bytes, megabytes: int) -> None:
    with gzip.open(file, "wb", 9) as packed:
        packed.write(header)
        for _ in range(megabytes):
            packed.write(bytes(2**20))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (struct.pack(">BBBBI", 0, 0, 8, 1, 100), "must hold 100 bytes after the header for the shape (100,)"),
        (
            struct.pack(">BBBB3I", 0, 0, 8, 3, 2**31, 28, 28),
            "must unpack to at most 1073741824 bytes, but",
        ),
        (b"", "must be an IDX file of unsigned bytes, but begins with 0x00000000."),
        (b"\0\0\x08\xff", "must hold 0 bytes after the header for the shape (0,"),
    ],
)
def test_a_small_file_that_unpacks_to_much_takes_no_memory(tmp_path: Path, header: bytes, message: str) -> None:
    file = tmp_path / "bomb.gz"
    _packed_zeros(file, header, 64)
    assert file.stat().st_size < 2**17
    tracemalloc.start()
    with pytest.raises(ValueError) as caught:
        read_idx(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22
    assert str(caught.value).startswith(f"{file} {message}")


def test_a_header_that_declares_what_is_not_there_takes_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "short"
    file.write_bytes(struct.pack(">BBBB3I", 0, 0, 8, 3, 2**31, 28, 28) + b"\0" * 28)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"but holds 28: it is truncated or corrupt\.$"):
        read_idx(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22
