"""Where the C++ kernels are not built, torch's own operations compute the same, which a warning says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.cli.explain import engines_line
from asim_lightning.engine import Conv2dProduct, choose, noise_context
from asim_lightning.engine.digit_sums import Table, input_digit_sums, table_sums, weight_digit_sums
from asim_lightning.engine.native import library, passes
from asim_lightning.nn import CimConv2d, CimLinear, CimMatmul, OnMacro
from tests.engine.products import NOISY, noise_of

MACROS: dict[str, tuple[str, dict[str, Any]]] = {
    "exact": ("exact", {}),
    "events": ("events", {"random_noise": 0.06}),
    "converters apart": ("events", {"random_noise": 0.06, "static": {"offset": "0.1 lsb", "gain": 0.1, "inl": 0.66}}),
    "every": ("reference", {**NOISY}),
}
WARNING = r"^torch's operations simulate instead of C\+\+ kernels, many times slower: The C\+\+ kernels are not "


def layers(**macro: Any) -> list[tuple[OnMacro, list[Tensor]]]:
    torch.manual_seed(3)
    own = MacroConfig(**macro)
    x, rows = torch.randn(3, 8, 9, 7), torch.randn(3, 5, 40)
    return [
        (CimConv2d(8, 12, 3, padding=1, macro=own, name="conv", signed_input=True).eval(), [x]),
        (
            CimConv2d(8, 8, 3, groups=4, bias=False, macro=own, name="grouped").eval(),
            [x.abs().contiguous(memory_format=torch.channels_last)],
        ),
        (CimLinear(40, 10, macro=own, signed_input=True, name="fc").eval(), [rows]),
        (CimMatmul(own, name="qk").eval(), [rows, torch.randn(3, 7, 40)]),
    ]


def outputs(**macro: Any) -> list[Tensor]:
    with torch.no_grad(), noise_context(seed=1, trial=2, sample_ids=[4, 5, 6]):
        return [layer(*inputs) for layer, inputs in layers(**macro)]


@pytest.fixture
def without_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    def clear() -> None:
        library.library.cache_clear()
        passes.best_library.cache_clear()

    with monkeypatch.context() as patched:
        patched.setattr(library, "FOLDER", tmp_path)
        clear()
        yield
    clear()


@pytest.mark.parametrize(("engine", "macro"), MACROS.values(), ids=MACROS)
def test_outputs_are_the_same(engine: str, macro: dict[str, Any], request: pytest.FixtureRequest) -> None:
    expected = outputs(**macro)
    request.getfixturevalue("without_kernels")
    with pytest.warns(UserWarning, match=WARNING):
        found = outputs(**macro)
    layer = layers(**macro)[2][0]
    assert choose(layer.transfer) == engine
    for y, e in zip(found, expected, strict=True):
        assert int((y != e).sum()) <= (macro == {**NOISY})  # by the last bit of a normal


def test_the_noise_of_training_is_the_same(request: pytest.FixtureRequest) -> None:
    product, generator = Conv2dProduct((1, 1), (1, 1), (1, 1), 2), torch.Generator().manual_seed(4)
    x = torch.randint(0, 16, (3, 8, 6, 5), generator=generator).float()
    w = torch.randint(-7, 8, (4, 4, 3, 3), generator=generator).float()
    table, groups = Table(-40, torch.randn(900, 2, generator=generator)), [((0, 1), False), ((2, 3), True)]

    def found() -> list[Tensor]:
        tiles = product.geometry(None, w).tiles(20)
        sums = weight_digit_sums(product, tiles, w, groups)  # (outputs, tiles, digits)
        inputs = input_digit_sums(product, tiles, x, w, groups)
        return [noise_of(3).outputs(77), sums, inputs, table_sums(sums.unsqueeze(-1), table, [1.0, 4.0])]

    expected = found()
    request.getfixturevalue("without_kernels")
    with pytest.warns(UserWarning, match=WARNING):
        torch.testing.assert_close(found(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore:torch's operations")
def test_explain_says_in_a_line_what_computes_and_how_to_get_the_kernels(request: pytest.FixtureRequest) -> None:
    circuit, cpu = layers(**NOISY)[0][0].transfer, torch.device("cpu")
    assert engines_line(circuit, cpu).startswith("engine on cpu: native; also reference; not exact: ")
    assert "\nC++ kernels" not in engines_line(circuit, cpu)
    request.getfixturevalue("without_kernels")
    first, *_, last = engines_line(circuit, cpu).splitlines()
    assert first.startswith("engine on cpu: reference; not exact: ")
    assert last.startswith(
        "C++ kernels: none, so torch computes, many times slower. The C++ kernels are not built: with a"
    )
    assert last.endswith(" builds them.")
    assert "native" not in engines_line(circuit, cpu).replace(last, "")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
@pytest.mark.filterwarnings("ignore:torch's operations")
@pytest.mark.usefixtures("without_kernels")
def test_wrong_inputs_are_refused_alike(bad: float) -> None:
    x = torch.rand(2, 8, 5, 5)
    x[1, 2, 3, 4] = bad
    with pytest.raises(ValueError, match=r"^Layer `conv` "):
        CimConv2d(8, 4, 3, macro=MacroConfig(), name="conv").eval()(x)
