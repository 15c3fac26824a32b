"""Arrays that begin at lines of the cache."""

import numpy as np
import pytest

from asim_lightning.engine.memory import aligned, whole_block, whole_lines


@pytest.mark.parametrize("size", [1, 64, 100_000])
def test_blocks_begin_at_whole_lines(size: int) -> None:
    block = whole_block(size)
    assert (block.size, block.ctypes.data % 64) == (size, 0)


@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 16)])
def test_rooms_are_zeros_at_whole_lines(shape: tuple[int, ...]) -> None:
    for _ in range(20):
        room = aligned(shape)
        assert room.shape == shape
        assert room.dtype == np.uint32
        assert room.ctypes.data % 64 == 0
        assert not room.any()
        room[...] = 1


def test_whole_lines() -> None:
    assert [whole_lines(size) for size in (0, 1, 64, 65)] == [0, 64, 64, 128]
