"""Words are put in the order of lanes alike with AVX-512's instructions and without."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from llvmlite import binding

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import Conv2dProduct, MatmulProduct, Product
from asim_lightning.engine.lanes import WINDOW
from asim_lightning.engine.numba_features import compiles_for
from asim_lightning.engine.packed import planes
from asim_lightning.engine.packed.layout import input_integers
from asim_lightning.engine.packed.operand import PackedOperand, packed
from asim_lightning.engine.packed.plan import plan_of

Case = tuple[Product, tuple[int, ...], tuple[int, ...]]

_SAME = Conv2dProduct((1, 1), (1, 1), (1, 1), 1)
_CASES: list[Case] = [
    (_SAME, (2, 40, 32, 32), (4, 40, 3, 3)),  # lanes in a row
    (_SAME, (2, 33, 14, 14), (4, 33, 3, 3)),  # near each other
    (Conv2dProduct((2, 2), (1, 1), (1, 1), 1), (2, 70, 9, 7), (4, 70, 3, 3)),  # near, and over the end of a row
    (Conv2dProduct((3, 3), (0, 0), (1, 1), 1), (2, 5, 50, 50), (4, 5, 5, 5)),  # anywhere
    (MatmulProduct(), (2, 20, 300), (4, 300)),
]


def _operand(product: Product, x_shape: tuple[int, ...], w_shape: tuple[int, ...]) -> PackedOperand:
    """The packed inputs of a product with random ones."""
    macro = transfer(MacroConfig(rows=100), False)
    layout = plan_of(product, macro, torch.Size(x_shape), torch.Size(w_shape), x_shape[0]).inputs
    x = torch.randint(256, x_shape, generator=torch.Generator().manual_seed(0)).float()
    return packed(input_integers(product, x), layout)


def _digests() -> list[str]:
    """Of what is arranged in lanes, of which of it is filled, and of what is arranged one by one."""
    found = []
    for case in _CASES:
        operand = _operand(*case)
        words, filled, *_ = operand.all_in_lanes()
        digest = hashlib.sha256(words.tobytes() + filled.tobytes() + operand.one_by_one().tobytes())
        found.append(digest.hexdigest())
    return found


@pytest.mark.skipif(not compiles_for("avx512f"), reason="this processor has no other way")
def test_lanes_are_arranged_alike_without_avx512(tmp_path: Path) -> None:
    features = binding.get_host_cpu_features()
    less = {name: has and not name.startswith(("avx512", "amx", "avx10")) for name, has in features.items()}
    environment = os.environ | {"NUMBA_CPU_NAME": "haswell", "NUMBA_CACHE_DIR": str(tmp_path)}
    environment["NUMBA_CPU_FEATURES"] = ",".join("-+"[has] + name for name, has in less.items())
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.packed.test_arranging"],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=Path(__file__).parents[3],
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["False", *_digests()]


@pytest.mark.parametrize("case", _CASES)
def test_words_go_on_after_the_last(case: Case) -> None:
    operand = _operand(*case)
    layout = operand.layout
    assert len(operand.words) == layout.side.problems * len(layout.side.sources) * layout.problem_step + WINDOW


@pytest.mark.parametrize("case", _CASES)
def test_places_that_are_not_kept_are_the_same(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = _operand(*case).layout
    kept = layout.base
    assert layout.base is kept
    monkeypatch.setattr(planes, "_KEPT", 0)
    assert layout.base is not kept
    assert np.array_equal(layout.base, kept)


if __name__ == "__main__":
    print(compiles_for("avx512f"), *_digests())
