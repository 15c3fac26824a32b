"""Sums of products of bytes by AMX, against NumPy."""

from typing import Any

import numpy as np
import pytest

from asim_lightning.engine import numba_amx, numba_features
from asim_lightning.engine.numba_amx import cleared, configure, loaded, multiplied, registers, release, stored
from asim_lightning.engine.numba_words import compiled
from asim_lightning.engine.packed import conversion_amx

_clear, _store, _add = cleared(3), stored(3), multiplied(3, 5, 6)
_load_left, _load_right = loaded(5), loaded(6)


def _multiply(registers: Any, left: Any, right: Any, out: Any, step: int) -> None:
    configure(registers)
    _clear()
    for k in range(2):
        _load_left(left, k * 16, np.int64(step))
        _load_right(right, k * 256, np.int64(64))
        _add()
    _store(out, 0, np.int64(64))
    release()


@pytest.mark.skipif(not numba_amx.available(), reason="this processor has no AMX, or the system does not grant it")
@pytest.mark.parametrize("largest", [1, 15, 255])
@pytest.mark.parametrize("step", [128, 192])
def test_products_are_exact(largest: int, step: int) -> None:
    generator = np.random.default_rng(0)
    left, right = (generator.integers(0, largest + 1, (16, 128), np.uint8) for _ in range(2))
    left[0], right[0] = largest, largest
    rows = np.zeros((16, step), np.uint8)
    rows[:, :128] = left
    columns = right.reshape(16, 32, 4).transpose(1, 0, 2)  # 4 bytes of each column in a row
    out = np.zeros(256, np.int32)
    words = (np.ascontiguousarray(side).reshape(-1).view(np.uint32) for side in (rows, columns))
    kernel = compiled("void(u1[::1], u4[::1], u4[::1], i4[::1], i8)", _multiply, allocates=False)
    kernel(registers((16,) * 8), *words, out, step)
    assert (out.reshape(16, 16) == left.astype(np.int64) @ right.astype(np.int64).T).all()


def test_another_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert not numba_amx.available.__wrapped__()


def test_a_processor_without_it_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_features.binding, "get_host_cpu_features", lambda: {"amx-tile": True})
    assert not numba_amx.available.__wrapped__()


@pytest.mark.parametrize("features", ["", "+avx512f,+amx-tile"])
def test_kernels_for_another_processor_have_none(features: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_features.config, "CPU_FEATURES", features)
    assert not numba_amx.available.__wrapped__()


@pytest.mark.parametrize("singles", [1, 7, 16])
def test_registers_have_as_many_rows_as_there_are_singles(singles: int) -> None:
    numbers = conversion_amx.register_sizes(singles)
    assert numbers[0] == 1
    assert numbers[16:32].view(np.uint16).tolist() == [64] * 8
    # sums, and the left and the right side in turns
    assert numbers[48:56].tolist() == [singles] * 4 + [singles, 16, singles, 16]
    assert not numbers[1:16].any()
    assert not numbers[32:48].any()
    assert not numbers[56:].any()
