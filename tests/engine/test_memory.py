"""Addresses of arrays, and arrays that begin at lines of the cache."""

import numpy as np
import pytest

from asim_lightning.engine.memory import address, aligned, whole_lines


@pytest.mark.parametrize("writeable", [True, False])
@pytest.mark.parametrize("kind", [np.uint8, np.float64, np.bool_])
def test_addresses_are_numpys(kind: type, writeable: bool) -> None:
    whole = np.zeros((3, 4, 5), kind)
    whole.flags.writeable = writeable
    for array in (whole, whole[1], whole[2:, :0], np.zeros(0, kind)):
        assert address(array) == array.ctypes.data


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
