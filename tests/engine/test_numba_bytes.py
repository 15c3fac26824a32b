"""Look-ups of bytes and what goes with them, against NumPy."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from llvmlite import binding

from asim_lightning.engine import MatmulProduct, numba_bytes, numba_features
from asim_lightning.engine.numba_bytes import (
    add_bytes,
    add_halves,
    high_bytes,
    load_four_times,
    look_up_bytes,
    store_low_bytes,
    store_sums,
    sub_halves,
    to_high_bytes,
    widened_halves,
)
from asim_lightning.engine.numba_lanes import load, store
from asim_lightning.engine.numba_words import compiled
from asim_lightning.engine.packed import layout
from asim_lightning.engine.packed.nibbles import nibbles
from asim_lightning.engine.packed.operand import packed
from asim_lightning.engine.packed.planes import PackedLayout, bit_planes

needs_look_ups = pytest.mark.skipif(not numba_bytes.available(), reason="this processor does not look up bytes")
_widened1 = widened_halves[1]


def _all(digits: Any, index: Any, tables: Any, out: Any) -> None:
    store_sums(tables, 0, digits, 0)
    found = look_up_bytes(load(tables, 0), load_four_times(index, 0))
    store(out, 0, found)
    store(out, 16, add_bytes(found, found))
    store(out, 32, add_halves(found, found))
    store(out, 48, sub_halves(found, to_high_bytes(found)))
    store(out, 64, high_bytes(found))
    store(out, 80, _widened1(found, high_bytes(found)))
    store_low_bytes(out, 96, found)


@needs_look_ups
@pytest.mark.parametrize("top", [1, 15, 63])
def test_sums_of_four_digits_are_found(top: int) -> None:
    generator = np.random.default_rng(top)
    digits = generator.integers(0, top + 1, (4, 4), np.uint8)  # (tables, rows)
    digits[0] = top
    index = generator.integers(0, 16, 16, np.uint8)
    index[:2] = 15, 0
    tables, out = np.zeros(16, np.uint32), np.zeros(100, np.uint32)
    kernel = compiled("void(u4[::1], u4[::1], u4[::1], u4[::1])", _all, allocates=False)
    kernel(digits.reshape(-1).view(np.uint32), index.view(np.uint32), tables, out)
    bits = index[:, None] >> np.arange(4) & 1
    expected = (digits.astype(np.int64) @ bits.T).astype(np.uint8)  # (tables, places)
    assert tables.view(np.uint8).reshape(4, 16)[0].tolist() == [top * n.bit_count() for n in range(16)]
    found, halves = out[:16].view(np.uint8).reshape(4, 16), expected.view(np.uint16)
    assert (found == expected).all()
    assert (out[16:32].view(np.uint8) == (2 * expected).ravel()).all()
    assert (out[32:48].view(np.uint16) == (2 * halves).ravel()).all()
    assert (out[48:64].view(np.uint16) == (halves - (halves << 8)).ravel()).all()
    assert (out[64:80].view(np.uint16) == (halves >> 8).ravel()).all()
    assert (out[80:96] == np.concatenate([halves[1], halves[1] >> 8])).all()
    lowest = expected.ravel()[::4]
    assert out[96:100].view(np.uint8).tolist() == lowest[[i // 2 + i % 2 * 8 for i in range(16)]].tolist()


@needs_look_ups
@pytest.mark.parametrize("piece", [1, 2**20])
def test_nibbles_are_four_weight_bits(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asim_lightning.engine.packed.nibbles._BYTES", piece)
    w = torch.randint(-3, 4, (40, 70), generator=torch.Generator().manual_seed(0)).float()
    w[16:32, :60] = w[16:32, :60].clamp(min=0)  # no sign bit in two tiles of the second 16 lanes
    product = MatmulProduct()
    rows, side = layout.rows_of(product, w.shape, 30, 8), layout.weight_side(product, w)
    operand = packed(layout.weight_integers(product, w), PackedLayout(side, rows, bit_planes(3, 8)))
    found, filled = nibbles(operand)
    bits = np.zeros((3, 16, 3, 3, found.shape[3] * 4), np.int64)  # (units, lanes, tiles, planes, rows)
    for row in range(70):
        bits.reshape(48, 3, 3, -1)[:40, row // 30, :, row % 30] = w[:, row].int().numpy()[:, None] >> np.arange(3) & 1
    expected = (bits.reshape(*bits.shape[:-1], -1, 4) << np.arange(4)).sum(-1)[
        :, [i // 2 + i % 2 * 8 for i in range(16)]
    ]
    has_lanes = [i // 2 + i % 2 * 8 < 8 for i in range(16)]  # of the last unit
    own = found.view(np.uint8).reshape(*found.shape[:-1], 16).transpose(0, 4, 1, 2, 3)
    assert (own[:2] == expected[:2]).all()
    assert (own[2][has_lanes] == expected[2][has_lanes]).all()
    assert filled[1].tolist() == [[1, 1, 0], [1, 1, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    ("machine", "features", "expected"),
    [("x86_64", "+avx2,+avx512f", True), ("AMD64", "+avx2", True), ("x86_64", "", False), ("arm64", "+avx2", False)],
)
def test_processors_that_look_up_bytes(machine: str, features: str, expected: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(numba_features.binding, "get_host_cpu_features", lambda: {"avx2": True})
    monkeypatch.setattr(numba_features.config, "CPU_FEATURES", features)
    assert numba_bytes.available() is expected


@pytest.mark.slow
@needs_look_ups
def test_codes_are_those_of_the_reference_without_avx512(tmp_path: Path) -> None:
    program = """
import torch
from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import MatmulProduct, noise_context, packed, reference, sums_of
from asim_lightning.engine.packed import counting
from asim_lightning.engine.packed.plan import plan_of
x, w = torch.randint(0, 256, (20, 300)).float(), torch.randint(-127, 128, (40, 300)).float()
with noise_context(seed=1, sample_ids=range(20)) as scope:
    noise = scope.source("layer", 20, torch.device("cpu"))
for bits in (1, 3, 4, 8):
    for percent in (0, 0.3):
        circuit = transfer(MacroConfig(encoding_bits=bits, random_noise=percent), False)
        args = (MatmulProduct(), circuit, x, w, noise)
        assert plan_of(*args[:2], x.shape, w.shape, 20).how.look_ups
        assert int((sums_of(packed, *args) != sums_of(reference, *args)).sum()) <= (1 if percent else 0)
"""
    names = [name for name, has in binding.get_host_cpu_features().items() if has and not name.startswith("avx512")]
    told = {
        "NUMBA_CPU_NAME": "x86-64-v3",
        "NUMBA_CPU_FEATURES": ",".join(f"+{name}" for name in names if not name.startswith("amx")),
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, **told})
