"""Modules whose products by function calls go to operators: copies, changes, and what happens on the way."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asim_lightning import MacroConfig
from asim_lightning.nn import CimFunctionalLinear, CimLinear, CimMatmul
from asim_lightning.nn.routed import Route, route_, unroute_

FINE = MacroConfig(16, 16, adc_bits=None)
COARSE = MacroConfig(adc_bits=1, random_noise=50.0)
OPERATORS = ("qkv", "qk", "av", "rel_product", "fixed_product")


class Attend(nn.Module):
    """Attention with a functional linear, a gate that it may skip, and a part that multiplies by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(6, 18)
        self.rel = nn.Parameter(torch.randn(5, 6))
        self.inner = Inner()

    def forward(self, x: Tensor, times: int = 1) -> Tensor:
        q, k, v = F.linear(x, self.qkv.weight, torch.ones(18)).chunk(3, -1)
        scores = (self.inner(q) @ k.transpose(1, 2)).softmax(-1)
        y = scores @ v if times else v @ torch.ones(6, 6)
        for _ in range(times):
            z = q @ self.rel.T @ torch.ones(5, 6) if times else q
        return y + z


class Inner(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x @ torch.eye(6)


def routed() -> tuple[nn.Module, nn.Module, Tensor]:
    torch.manual_seed(0)
    plain = Attend().eval()
    module = copy.deepcopy(plain)
    module.qkv = CimLinear.from_float(module.qkv, FINE, True, name="qkv")
    module.qk, module.av = CimMatmul(FINE, name="qk"), CimMatmul(FINE, False, name="av")
    module.rel_product = CimFunctionalLinear(FINE, name="rel_product")
    module.fixed_product = CimFunctionalLinear(FINE, name="fixed_product")
    route_(module, [Route(name, name == "qk") for name in OPERATORS], "attend")
    return module.eval(), plain, torch.randn(2, 4, 6)


def test_products_go_to_their_operators() -> None:
    module, plain, x = routed()
    torch.testing.assert_close(module(x), plain(x), rtol=1e-3, atol=1e-3)
    expected = module(x)
    for name in OPERATORS:
        getattr(module, name).macro = COARSE
        assert not torch.equal(module(x), expected), name
        getattr(module, name).macro = FINE
    assert torch.equal(module(x), expected)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_have_routes_of_their_own(copied) -> None:  # type: ignore[no-untyped-def]
    module, _, x = routed()
    other = copied(module)
    expected = module(x)
    assert torch.equal(other(x), expected)
    other.qk.macro = COARSE
    assert not torch.equal(other(x), expected)
    assert torch.equal(module(x), expected)


def test_gradients_reach_weights_and_inputs() -> None:
    module, _, x = routed()
    module.train()
    x.requires_grad_()
    module(x).sum().backward()
    for tensor in (x, module.qkv.weight, module.rel):
        assert float(tensor.grad.abs().sum()) > 0


def test_another_number_of_products_is_refused() -> None:
    module, _, x = routed()
    with pytest.raises(ValueError, match=r"`attend` made 5 products by function calls.*and now one more"):
        module(x, times=2)
    with pytest.raises(ValueError, match="Product 3 of `attend` is not the same as at its conversion"):
        module(x, times=0)
    module.routes += (Route(None),)
    with pytest.raises(ValueError, match=r"`attend` made 6 products.*and now 5"):
        module(x)


def test_another_layers_weight_of_the_same_shape_is_refused() -> None:
    module, _, x = routed()
    module.qkv.weight, expected = torch.nn.Parameter(module.qkv.weight.detach().clone()), module(x)
    assert torch.equal(module(x), expected)
    other = nn.Linear(6, 18)
    module.qkv, module.other = other, module.qkv
    module.routes = tuple(Route("other" if route.operator == "qkv" else route.operator) for route in module.routes)
    with pytest.raises(ValueError, match="Product 1 of `attend` is not the same as at its conversion"):
        module(x)


def test_removing_leaves_the_module_as_it_was() -> None:
    plain = Attend().eval()
    names = set(vars(plain))
    route_(plain, [], "attend")
    assert isinstance(plain, Attend)
    x = torch.randn(1, 4, 6)
    with pytest.raises(ValueError, match="one more"):
        plain(x)
    unroute_(plain)
    plain(x)
    assert type(plain) is Attend
    assert set(vars(plain)) == names
    assert not plain.inner._forward_pre_hooks
    assert not plain.inner._forward_hooks
