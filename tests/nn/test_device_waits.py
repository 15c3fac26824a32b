"""On a device a call in evaluation waits once: everything that Python must know is read together."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.engine.exact import ExactProgram
from asim_lightning.nn import CimFunctionalLinear, CimLinear
from tests.nn.layers import ALL, inputs_of, layer_of

MACRO = MacroConfig(4, 4, 31, 5)
_WAITS = {torch.ops.aten._local_scalar_dense, torch.ops.aten.equal, torch.ops.aten.is_nonzero, torch.ops.aten.nonzero}


class Waits(TorchDispatchMode):
    """Counts operations that wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket in _WAITS
        return func(*args, **(kwargs or {}))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """Counts, with layers that compute on the CPU as they do on other devices."""
    for module in ("nn.quantized", "engine.quantizer"):
        monkeypatch.setattr(f"asim_lightning.{module}.quantizes_in_torch", lambda x: True)
    monkeypatch.setattr(ExactProgram, "_in_bytes", lambda self: None)
    found, tolist = Waits(), torch.Tensor.tolist

    def counted(self: torch.Tensor) -> Any:
        found.count += 1
        return tolist(self)

    monkeypatch.setattr(torch.Tensor, "tolist", counted)
    return found


@pytest.mark.parametrize("input_range", ["batch", "calibrated"])
@pytest.mark.parametrize("fidelity", ["quantized", "estimated", "simulated"])
@pytest.mark.parametrize("kind", [*ALL, "function"])
def test_a_call_waits_once(kind: str, fidelity: str, input_range: str, waits: Waits) -> None:
    if kind == "function":
        layer, inputs = CimFunctionalLinear(MACRO, False).eval(), (torch.rand(2, 6), torch.rand(4, 6))
    else:
        layer, inputs = layer_of(kind, MACRO).eval(), inputs_of(kind)
    if input_range == "calibrated":
        layer.calibrate(*inputs[: len(layer.ranges)])
    layer.fidelity = fidelity
    if fidelity == "estimated" and kind != "digital":
        layer.train_noise, layer.train_noise_model = 1.0, "macro"  # which asks for operands
    with torch.no_grad(), noise_context():
        first = layer(*inputs)
    waits.count = 0
    with torch.no_grad(), noise_context(), waits:
        again = layer(*inputs)
    assert torch.equal(first, again)
    assert waits.count == 1


def test_what_was_read_together_refuses_and_sees_changes(waits: Waits) -> None:
    layer = CimLinear(6, 4, macro=MACRO).eval()
    x = torch.rand(2, 6)
    layer.calibrate(x)
    before = layer(x)
    for wrong, words in ((-x, "is unsigned, so its inputs must be 0 or more"), (x / 0, "needs finite inputs")):
        with pytest.raises(ValueError, match=words):
            layer(wrong)
    layer.weight.data.neg_()
    assert torch.allclose(layer(x) - layer.bias, layer.bias - before)
