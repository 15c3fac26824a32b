"""Which tensors cannot be negative, because of the operations that made them."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.surgery.provenance import Provenance

Made = Callable[[Tensor], Tensor]


def written_in_part(x: Tensor) -> Tensor:
    y = x.relu()
    y[0].neg_()
    return y


def view_of_what_is_written(x: Tensor) -> Tensor:
    y = x.relu()
    view = y.flatten()
    y.sub_(1.0)
    return view


NOT_NEGATIVE: dict[str, Made] = {
    "relu": torch.relu,
    "relu in place": lambda x: x.clone().relu_(),
    "relu6": F.relu6,
    "clamp from 0": lambda x: x.clamp(0, 5),
    "clamp from above 0": lambda x: x.clamp_min(0.5),
    "clamp by a keyword": lambda x: x.clamp(min=0.0),
    "sigmoid": torch.sigmoid,
    "softmax": lambda x: x.softmax(-1),
    "softplus": F.softplus,
    "masked softmax": lambda x: x.softmax(-1).masked_fill(x > 0, 0.0),
    "moved and pooled": lambda x: F.max_pool2d(F.pad(x.relu(), (1, 1)).transpose(1, 2), 2).flatten(1),
    "mean": lambda x: x.relu().mean(-1),
    "sum over the last axis": lambda x: x.relu().sum(-1),
    "sum of two": lambda x: x.relu() + x.abs(),
    "sum of two, one weighted": lambda x: torch.add(x.relu(), x.abs(), alpha=2),
    "product": lambda x: x.relu() * x.sigmoid(),
    "multiple": lambda x: x.relu() * 2,
    "beside each other": lambda x: torch.cat([x.relu(), x.abs()]),
}
PERHAPS_NEGATIVE: dict[str, Made] = {
    "nothing": lambda x: x + 0,
    "tanh": torch.tanh,
    "clamp from below 0": lambda x: x.clamp(-0.1, 5),
    "clamp from above": lambda x: x.clamp(max=5.0),
    "filled with a negative number": lambda x: x.softmax(-1).masked_fill(x > 0, -1.0),
    "difference": lambda x: x.relu() - x.abs(),
    "sum with a negative weight": lambda x: torch.add(x.relu(), x.abs(), alpha=-1),
    "negative multiple": lambda x: x.relu() * -2,
    "sum with something else": lambda x: x.relu() + x,
    "beside something else": lambda x: torch.cat([x.relu(), x]),
    "normalised": lambda x: F.layer_norm(x.relu(), x.shape[-1:]),
    "written in part": written_in_part,
    "view of what is written": view_of_what_is_written,
}


def origin(made: Made) -> str | None:
    with Provenance() as provenance:
        return provenance.origin(made(torch.randn(2, 3, 4, 6)))


@pytest.mark.parametrize("name", NOT_NEGATIVE)
def test_operations_that_make_or_keep_what_is_not_negative(name: str) -> None:
    assert origin(NOT_NEGATIVE[name]) is not None


@pytest.mark.parametrize("name", PERHAPS_NEGATIVE)
def test_operations_after_which_a_tensor_may_be_negative(name: str) -> None:
    assert origin(PERHAPS_NEGATIVE[name]) is None


def test_an_activation_is_known_by_name_until_something_is_computed() -> None:
    with Provenance() as provenance:
        x = torch.rand(2, 3)
        provenance.mark(x, "layer1.act")
        found = [provenance.origin(y) for y in (x, x.view(3, 2), x * 2)]
    assert found == ["layer1.act", "layer1.act", ""]
