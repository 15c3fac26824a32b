"""Networks of many kinds, from convert_ to the doctor: several inputs, several outputs, branches, scans."""

from collections import UserDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from asim_lightning import MacroConfig, Plan, calibrate_, calibrate_adc_, convert_, describe_chip, doctor, spec, study
from asim_lightning.classifier.outcome import Outcome
from asim_lightning.cost import cost
from asim_lightning.surgery import macro_layers

SAMPLES = 96
MACRO = MacroConfig(weight_bits=4, input_bits=4, rows=64, random_noise=0.2)


class Both(nn.Module):
    """An image and a table, in two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.a, self.b, self.head = nn.Conv2d(1, 8, 3), nn.Linear(8, 16), nn.Linear(5, 16), nn.Linear(16, 4)
        self.stem = nn.Conv2d(1, 1, 1)

    def forward(self, image: Tensor, table: Tensor) -> Tensor:
        x = self.conv(self.stem(image).relu()).relu().mean((2, 3))
        return self.head((self.a(x) + self.b(table)).relu())


class InAMapping(Both):
    """The same with one argument, and with logits among its outputs."""

    def forward(self, batch: dict[str, Tensor]) -> Any:  # type: ignore[override]
        return {"logits": super().forward(**batch), "aux": batch["table"]}


class Masked(nn.Module):
    """Tokens and a mask, as networks of transformers take and give them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(40, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        x = self.mix(self.embed(input_ids)).relu()
        mask = torch.ones_like(x[..., :1]) if attention_mask is None else attention_mask[..., None].to(x)
        return SimpleNamespace(logits=self.head((x * mask).sum(1) / mask.sum(1)))


class UNet(nn.Module):
    """Classes of pixels, with a skip connection and a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down, self.inner = (
            nn.Conv2d(1, 6, 3, 1, 1),
            nn.Conv2d(6, 12, 3, 2, 1),
            nn.Conv2d(12, 12, 3, 1, 1),
        )
        self.up, self.out = nn.ConvTranspose2d(12, 6, 2, 2), nn.Conv2d(12, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        skip = self.stem(x).relu()
        deep = self.inner(self.down(skip).relu()).relu()
        return {"out": self.out(torch.cat([self.up(deep), skip], 1).relu())}


class StateSpace(nn.Module):
    """A selective scan: state and output matrices that depend on the input, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.steps, self.bc = nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 8, bias=False)
        self.outward, self.head = nn.Linear(16, 12), nn.Linear(12, 4)
        self.decay = nn.Parameter(torch.rand(16, 4))

    def forward(self, x: Tensor) -> Tensor:
        u = self.inward(x).relu()
        step = nn.functional.softplus(self.steps(u))
        b, c = self.bc(u).chunk(2, dim=-1)
        state, found = u.new_zeros(len(u), 16, 4), []
        for t in range(u.shape[1]):
            state = state * (-step[:, t, :, None] * self.decay).exp() + (step * u)[:, t, :, None] * b[:, t, None]
            found.append(torch.einsum("bds,bs->bd", state, c[:, t]))
        return self.head(self.outward(torch.stack(found, 1).relu()).relu().mean(1))


class Experts(nn.Module):
    """A router sends each image to two of three experts."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.router, self.head = nn.Linear(12, 16), nn.Linear(16, 3), nn.Linear(16, 4)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.inward(x).relu()
        weights, chosen = self.router(x).softmax(-1).topk(2)
        found = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows, place = torch.where(chosen == number)
            found.index_add_(0, rows, expert(x[rows]) * weights[rows, place, None])
        return self.head(x + found)


class InTurn(Dataset[Any]):
    """Samples that are mappings, from a data set."""

    def __init__(self, inputs: dict[str, Tensor], targets: Tensor) -> None:
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, place: int) -> tuple[dict[str, Tensor], Tensor]:
        return {name: x[place] for name, x in self.inputs.items()}, self.targets[place]


def _random(*shape: int) -> Tensor:
    return torch.randn(SAMPLES, *shape, generator=torch.Generator().manual_seed(1))


def _both() -> tuple[Tensor, Tensor]:
    return _random(1, 12, 12), _random(5)


def _masked() -> dict[str, Tensor]:
    tokens = torch.randint(40, (SAMPLES, 7), generator=torch.Generator().manual_seed(1))
    return {"input_ids": tokens, "attention_mask": (torch.arange(7) < tokens[:, :1] % 6 + 1).long()}


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any], str]] = {
    "tuple": (Both, _both, "accuracy"),
    "list": (Both, lambda: list(_both()), "accuracy"),
    "mapping": (Both, lambda: dict(zip(("image", "table"), _both(), strict=True)), "accuracy"),
    "one argument": (InAMapping, lambda: dict(zip(("image", "table"), _both(), strict=True)), "accuracy"),
    "mask": (Masked, _masked, "accuracy"),
    "U-Net": (UNet, lambda: _random(1, 12, 12), "segmentation"),
    "experts": (Experts, lambda: _random(12), "accuracy"),
    "state space": (StateSpace, lambda: _random(3, 6), "accuracy"),
}


def _outputs(network: nn.Module, inputs: Any) -> Tensor:
    loader = DataLoader(InTurn(inputs, torch.zeros(SAMPLES)), SAMPLES) if isinstance(inputs, dict) else [(inputs, 0)]
    (given, _), *_ = loader
    takes_one = isinstance(network, (InAMapping, UNet, StateSpace, Experts))
    found = network(given) if takes_one else network(**given) if isinstance(given, dict) else network(*given)
    found = found["out" if isinstance(network, UNet) else "logits"] if isinstance(found, dict) else found
    return getattr(found, "logits", found)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_any_kind_goes_from_conversion_to_doctor(name: str) -> None:
    torch.manual_seed(0)
    make, draw, outcome = NETWORKS[name]
    network, inputs = make().eval(), draw()
    with torch.no_grad():
        targets = _outputs(network, inputs).argmax(1)  # the float network is always right
    report = convert_(network, Plan(macro=MACRO), inputs)
    assert any(row.macro is not None for row in report)
    assert len(cost(network).on_macro.layers) == sum(row.macro is not None for row in report)
    data = InTurn(inputs, targets) if isinstance(inputs, dict) else (inputs, targets)
    batches = DataLoader(data, 40) if isinstance(data, InTurn) else [(inputs, targets)]
    calibrate_(network, batches)
    calibrate_adc_(network, batches, images=8)
    assert len(describe_chip(_with_offset(network), inputs)) == len(macro_layers(network))
    found = study(network, data, axes={"random_noise": [0, 0.2]}, outcome=outcome)
    values = {(each.kind, each.axes.get("random_noise")): each.value for each in found}
    assert values["float", None] == 1.0
    assert 0.2 < values["simulated", 0.2] <= values["simulated", 0] + 0.02
    if name in ("list", "mapping", "one argument", "mask"):  # as "tuple"
        return
    limits = spec(
        network, data, f"{found[0].measure.name} 80 % of quantized", properties=["random_noise"], outcome=outcome
    )
    assert limits.limits[0].name == "random_noise"
    target = f"{found[0].measure.name} 90 % of quantized"
    diagnosis = doctor(network, data, target, images=40, chips=2, outcome=outcome)
    assert diagnosis.map.images == 40
    assert diagnosis.plans


def _with_offset(network: nn.Module) -> nn.Module:
    for layer in macro_layers(network).values():
        layer.assignment = layer.assignment.ruled_by({"static": {"offset": 0.1}})
    return network


def test_outputs_without_logits_need_an_outcome_that_takes_them() -> None:
    torch.manual_seed(0)

    class Pair(Both):
        def forward(self, image: Tensor, table: Tensor) -> Any:
            y = super().forward(image, table)
            return y, y.softmax(1)

    data = (_both(), torch.randint(4, (SAMPLES,)))
    with pytest.raises(ValueError, match="logits, or outputs with `logits` or `out`, got a tuple"):
        study(Pair(), data, plan=Plan(macro=MACRO))
    mine = Outcome("second", lambda outputs, targets: outputs[1].gather(1, targets[:, None])[:, 0])
    found = study(Pair(), data, plan=Plan(macro=MACRO), outcome=mine, axes={"random_noise": [0.1]})
    assert [each.kind for each in found] == ["float", "quantized", "simulated"]
    assert all(0 < each.value < 1 for each in found)


def test_a_doctor_needs_a_loss_that_takes_the_outputs() -> None:
    torch.manual_seed(0)
    inputs = dict(zip(("image", "table"), _both(), strict=True))
    data, network = InTurn(inputs, torch.randint(4, (SAMPLES,))), InAMapping()

    def quality(outputs: Any, targets: Tensor) -> Tensor:
        return outputs["logits"].softmax(1).gather(1, targets[:, None])[:, 0]

    with pytest.raises(ValueError, match=r"the loss of the outcome quality does not take .* loss=\.\.\.\) has a loss"):
        doctor(network, data, "quality 90 % of quantized", plan=Plan(MACRO), images=40, outcome=quality)
    mine = Outcome("quality", quality, loss=lambda outputs, y: nn.functional.cross_entropy(outputs["logits"], y))
    found = doctor(network, data, "quality 90 % of quantized", plan=Plan(MACRO), images=40, chips=2, outcome=mine)
    assert found.map.images == 40


def test_samples_in_a_list_and_mappings_of_any_class_are_data() -> None:
    network = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 4))
    x, y = _random(5), torch.randint(4, (SAMPLES,), generator=torch.Generator().manual_seed(2))
    same = [
        study(network, (given, y), plan=Plan(MACRO), axes={"random_noise": [0.2]})
        for given in (x, [*x.numpy()], [*x], x.tolist(), UserDict(input=x), {"input": x}, (x,))
    ]
    assert len({tuple(each.value for each in found) for found in same}) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((_random(1, 12, 12), _random(5), torch.zeros(SAMPLES)), r"several inputs are \(\(a, b\), targets\)"),
        (((_random(1, 12, 12), _random(5)[:7]), torch.zeros(SAMPLES)), "got 96 and 7 inputs and 96 targets"),
        (({"image": _random(1, 12, 12)}, torch.zeros(3)), "got 96 inputs and 3 targets"),
    ],
)
def test_inputs_of_unequal_lengths_are_refused(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study(Both(), data, plan=Plan(macro=MACRO))
