"""Experts that a router sends rows to (tokens or images), in the ways that people write: they run in every mode, and a
sample answers alone as in a batch."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asim_lightning import MacroConfig, Plan, StaticEffects, calibrate_, convert_, doctor, spec, study
from asim_lightning.cost import cost
from asim_lightning.engine import noise_context
from asim_lightning.surgery import ConversionReport, macro_layers, set_fidelity_
from tests.surgery.networks import Net

NOISY = MacroConfig(6, 6, random_noise=0.3, static=StaticEffects(offset="0.3 lsb"))

Route = Callable[[Any, Tensor, Tensor, Tensor], Tensor]
"""Answers of a mixture for rows x, from the chosen experts' weights and numbers. # (n, ...), (n, k), (n, k)"""


def along(weights: Tensor, x: Tensor) -> Tensor:
    """One weight for each row, in a shape that broadcasts against rows."""
    return weights.view(-1, *[1] * (x.dim() - 1))


def gather(mixture: Any, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    for number, expert in enumerate(mixture.experts):
        rows, place = torch.where(chosen == number)
        y.index_add_(0, rows, along(weights[rows, place], x) * expert(x[rows]))
    return y


def mask(mixture: Any, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    for number, expert in enumerate(mixture.experts):
        share, used = (weights * (chosen == number)).sum(1), (chosen == number).any(1)
        y[used] += along(share[used], x) * expert(x[used])
    return y


def select(mixture: Any, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    for number, expert in enumerate(mixture.experts):
        rows = (chosen == number).any(1).nonzero().squeeze(1)
        if len(rows) == 0:
            continue
        share = (weights * (chosen == number)).sum(1).index_select(0, rows)
        y = y.index_add(0, rows, along(share, x) * expert(x.index_select(0, rows)))
    return y


def mixtral(mixture: Any, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    hits = F.one_hot(chosen, len(mixture.experts)).permute(2, 1, 0)  # (experts, k, n)
    for number in hits.sum((1, 2)).nonzero().flatten().tolist():
        place, rows = torch.where(hits[number])
        given = x[None, rows].reshape(-1, *x.shape[1:])
        y.index_add_(0, rows, mixture.experts[number](given) * along(weights[rows, place], x))
    return y


def ordered(mixture: Any, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    order = chosen.flatten().argsort(stable=True)
    sizes = chosen.flatten().bincount(minlength=len(mixture.experts)).tolist()
    parts = x[order // chosen.shape[1]].split(sizes)
    made = torch.cat([expert(part) for expert, part in zip(mixture.experts, parts, strict=True)])
    y = torch.empty_like(made)
    y[order] = made
    return (along(weights.flatten(), x) * y).unflatten(0, chosen.shape).sum(1)


def dispatched(mixture: Any, x: Tensor, weights: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Places of rows in buffers of a capacity for each expert, and the same with weights. # (n, experts, capacity)"""
    hits = F.one_hot(chosen, mixture.count).sum(1)  # (n, experts)
    place = F.one_hot((hits.cumsum(0) - 1) * hits, max(4, len(x))) * hits[:, :, None]
    share = (F.one_hot(chosen, mixture.count) * weights[:, :, None]).sum(1)
    return place.to(x.dtype), place * share[:, :, None]


def switch(mixture: Any, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    place, combine = dispatched(mixture, x, weights[:, :1], chosen[:, :1])
    buffers = torch.einsum("nec,nd->ecd", place, x.flatten(1)).unflatten(2, x.shape[1:])
    made = torch.stack([expert(buffer) for expert, buffer in zip(mixture.experts, buffers, strict=True)])
    return torch.einsum("nec,ecd->nd", combine, made.flatten(2)).view_as(x)


def stacked_bmm(mixture: Any, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    place, combine = dispatched(mixture, x, weights, chosen)
    buffers = torch.einsum("nec,nd->ecd", place, x.flatten(1))
    hidden = torch.bmm(buffers, mixture.up).relu()
    return torch.einsum("nec,ecd->nd", combine, torch.bmm(hidden, mixture.down)).view_as(x)


def stacked_einsum(mixture: Any, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    place, combine = dispatched(mixture, x, weights, chosen)
    buffers = torch.einsum("nec,nd->ecd", place, x.flatten(1))
    hidden = torch.einsum("ecd,edh->ech", buffers, mixture.up).relu()
    made = torch.einsum("ech,ehd->ecd", hidden, mixture.down)
    return torch.einsum("nec,ecd->nd", combine, made).view_as(x)


def grouped_mm(mixture: Any, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    order = chosen.flatten().argsort(stable=True)
    ends = chosen.flatten().bincount(minlength=mixture.count).cumsum(0).to(torch.int32)
    hidden = F.grouped_mm(x.flatten(1)[order // chosen.shape[1]], mixture.up, offs=ends).relu()
    made = F.grouped_mm(hidden, mixture.down, offs=ends)
    y = torch.empty_like(made)
    y[order] = made
    return (along(weights.flatten(), y) * y).unflatten(0, chosen.shape).sum(1).view_as(x)


WAYS: dict[str, Route] = {
    "gather": gather, "mask": mask, "select": select, "mixtral": mixtral, "ordered": ordered, "switch": switch,
    "bmm": stacked_bmm, "einsum": stacked_einsum, "grouped_mm": grouped_mm,
}  # fmt: skip


def in_a_loop(mixture: Any, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    """Slices of one parameter, for experts that have rows."""
    y = torch.zeros_like(x)
    for number in chosen.unique().tolist():
        rows, place = torch.where(chosen == number)
        made = F.linear(F.linear(x[rows], mixture.up[number].T).relu(), mixture.down[number].T)
        y.index_add_(0, rows, along(weights[rows, place], x) * made)
    return y


def row_by_row(mixture: Any, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    def answer(row: Tensor, shares: Tensor, numbers: list[int]) -> Tensor:
        made = [mixture.experts[number](row[None])[0] for number in numbers]
        return torch.stack([share * each for share, each in zip(shares, made, strict=True)]).sum(0)

    return torch.stack([answer(*each) for each in zip(x, weights, chosen.tolist(), strict=True)])


class Mixture(nn.Module):
    """A router, and experts that it sends rows to: the best two of each row. # (n, ...) to (n, ...)"""

    def __init__(self, route: Route, width: int, experts: list[nn.Module], numbers: int) -> None:
        super().__init__()
        self.route, self.count = route, len(experts)
        self.router = nn.Linear(width, len(experts))
        if route in (stacked_bmm, stacked_einsum, grouped_mm, in_a_loop):
            self.up = nn.Parameter(torch.randn(len(experts), numbers, 8) * numbers**-0.5)
            self.down = nn.Parameter(torch.randn(len(experts), 8, numbers) * 0.4)
        else:
            self.experts = nn.ModuleList(experts)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3)) if x.dim() == 4 else x
        weights, chosen = (4 * self.router(pooled)).softmax(-1).topk(2)
        return self.route(self, x, weights / weights.sum(1, keepdim=True), chosen)


class OfTokens(nn.Module):
    """A network that routes tokens. # (batch, tokens, 8) or images to (batch, 4)"""

    def __init__(self, route: Route, count: int, layers: int, embed: nn.Module) -> None:
        super().__init__()
        self.embed = embed
        self.mixtures = nn.ModuleList(
            Mixture(
                route, 12, [nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 12)) for _ in range(count)], 12
            )
            for _ in range(layers)
        )
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = x.flatten(2).transpose(1, 2) if x.dim() == 4 else x
        for mixture in self.mixtures:
            x = x + mixture(x.flatten(0, 1)).view_as(x)
        return self.head(x.mean(1))


class OfImages(nn.Module):
    """A network that routes whole images to convolutions. # (batch, 3, 8, 8) to (batch, 4)"""

    def __init__(self, route: Route) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 6, 3, 2, 1), nn.Linear(6, 4)
        experts = [nn.Sequential(nn.Conv2d(6, 6, 3, 1, 1), nn.ReLU(), nn.Conv2d(6, 6, 1)) for _ in range(3)]
        self.mixture = Mixture(route, 6, [*experts], 6 * 4 * 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.head((x + self.mixture(x)).mean((2, 3)))


KINDS: dict[str, Callable[[Route], tuple[nn.Module, Tensor]]] = {
    "tokens": lambda route: (OfTokens(route, 4, 1, nn.Linear(8, 12)), torch.randn(6, 5, 8)),
    "patches": lambda route: (OfTokens(route, 8, 2, nn.Conv2d(3, 12, 4, 4)), torch.randn(6, 3, 12, 12)),
    "images": lambda route: (OfImages(route), torch.randn(6, 3, 8, 8)),
}


def experts(way: Route, kind: str, macro: MacroConfig = NOISY) -> tuple[nn.Module, Tensor, ConversionReport]:
    """A converted network with random weights, six samples, and the report."""
    torch.manual_seed(0)
    model, x = KINDS[kind](way)
    report = convert_(model.eval(), Plan(macro), x[:2])
    calibrate_(model, [x])
    return model, x, report


@torch.no_grad()
def answers(model: nn.Module, x: Tensor, *batches: list[int]) -> Tensor:
    """Answers for samples in batches, in the order of the samples, in one read of one chip."""
    y = torch.zeros(len(x), 4)
    for batch in batches:
        with noise_context(seed=1, trial=2, sample_ids=[10 + number for number in batch], chip=3):
            y[batch] = model(x[batch])
    return y


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_sample_answers_alone_as_in_a_batch(way: Route, kind: str) -> None:
    model, x, report = experts(way, kind)
    is_lost = way is switch and kind == "images"  # buffers of images: nothing tells that a row is an image
    assert any(layer.by_row for layer in macro_layers(model).values()) != is_lost
    names = {row.name for row in report.on_macro if any(x in row.name for x in (".experts.", ".matmul", "_product."))}
    assert len(names) == (0 if is_lost else {"tokens": 8, "patches": 32, "images": 6}[kind])
    for fidelity in ("simulated", "estimated"):
        set_fidelity_(model, fidelity)
        for layer in macro_layers(model).values():
            layer.train_noise, layer.train_noise_model = 1.0, "macro"
        together = answers(model, x, [0, 1, 2, 3, 4, 5])
        assert torch.equal(answers(model, x, [3], [5, 0, 1], [2, 4]), together)
        assert not torch.equal(answers(model, x.flip(0), [0, 1, 2, 3, 4, 5]).flip(0), together)  # noise of a sample
    set_fidelity_(model, "float")
    assert float((answers(model, x, [3], [5, 0, 1], [2, 4]) - answers(model, x, [0, 1, 2, 3, 4, 5])).abs().max()) < 1e-5
    model.train()
    for batch, noise in itertools.product((x[:5], x[:1]), ("proportional", "macro", "chip")):
        for layer in macro_layers(model).values():
            layer.train_noise_model = noise
        model(batch).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_rows_one_at_a_time(kind: str) -> None:
    model, x, report = experts(row_by_row, kind)
    assert len(report.kept) == 1
    assert torch.equal(answers(model, x, [0], [4, 1, 3], [2, 5]), answers(model, x, [0, 1, 2, 3, 4, 5]))


@pytest.mark.parametrize("kind", ["tokens", "patches"])
def test_slices_of_a_parameter_in_a_loop_stay_float(kind: str) -> None:
    model, x, report = experts(in_a_loop, kind)
    whys = {row.why_kept for row in report.kept}
    assert whys == {"patch embedding", "the inputs decide how many products its module makes: computed in float"}
    together = answers(model, x, [0, 1, 2, 3, 4, 5])
    assert float((answers(model, x, [0], [4, 1, 3], [2, 5]) - together).abs().max()) < 1e-6


def test_rows_of_groups_have_the_macs_of_their_matrices_on_macro_and_in_float() -> None:
    macs = 2 * 2 * 5 * 2 * 12 * 8  # up and down, two mixtures of 5 tokens, two experts each
    for keep in ([], ["*_product*"]):
        torch.manual_seed(0)
        x = torch.randn(2, 5, 8)
        model = OfTokens(grouped_mm, 4, 2, nn.Linear(8, 12)).eval()
        wanted = model(x)
        report = convert_(model, Plan(MacroConfig(weight_bits=16, input_bits=16, adc_bits=None), keep=keep), x)
        rows = [row for row in report if "_product" in row.name]
        assert len(rows) == (4 if keep else 16)
        assert sum(row.macs or 0 for row in rows) == macs
        assert {row.macro is None for row in rows} == {bool(keep)}
        calibrate_(model, [x])
        torch.testing.assert_close(model(x), wanted, atol=1e-3, rtol=1e-3)
        assert sum(layer.done.macs for layer in cost(model).layers) == sum(row.macs or 0 for row in report)


def collapsed() -> tuple[nn.Module, Tensor]:
    """A network whose router sends no image to the last expert, and never calls it."""
    torch.manual_seed(0)
    model = OfImages(select)
    with torch.no_grad():
        model.mixture.router.bias[2] = -100.0
    return model.eval(), torch.randn(6, 3, 8, 8)


def test_an_expert_without_rows_is_converted_like_its_siblings() -> None:
    model, x = collapsed()
    report = convert_(model, Plan(NOISY), x)
    rows = [row for row in report if row.name.startswith("mixture.experts")]
    assert [row.name[-3:] for row in rows] == ["0.0", "0.2", "1.0", "1.2", "2.0", "2.2"]
    assert [row.macs for row in rows[4:]] == [0, 0]
    assert [row.input for row in rows[4:]] == ["signed: no ReLU before", "unsigned: after a ReLU"]
    calibrate_(model, [x])
    first, second, last = (model.mixture.experts[number][0] for number in range(3))
    assert float(last.input_max) == max(float(first.input_max), float(second.input_max)) > 0
    outer = [float(model.mixture.experts[number][2].input_max) for number in range(3)]
    assert outer[2] == max(outer[:2])  # of the same layer in other experts, and not of the layer before it
    found = cost(model).layers
    assert {layer.name: layer.done.macs for layer in found}["mixture.experts.2.0"] == 0
    cells = {layer.name: layer.done.all_cells for layer in found}
    assert cells["mixture.experts.2.0"] == cells["mixture.experts.0.0"] > 0
    with torch.no_grad():
        model.mixture.router.bias[2] = 100.0
    assert torch.equal(answers(model, x, [0, 1, 2], [3], [4, 5]), answers(model, x, [0, 1, 2, 3, 4, 5]))


def test_an_expert_without_rows_takes_the_range_of_its_own_block() -> None:
    torch.manual_seed(0)
    model = OfTokens(select, 4, 2, nn.Linear(8, 12)).eval()
    x = torch.randn(6, 5, 8)
    with torch.no_grad():
        model.mixtures[0].router.bias[3] = -1e4
        for expert in model.mixtures[0].experts:
            expert[2].weight.mul_(100.0)  # so that the second block has larger inputs
    convert_(model, Plan(NOISY), x)
    calibrate_(model, [x])
    first, second = ([float(each[0].input_max) for each in mixture.experts] for mixture in model.mixtures)
    assert first[3] == max(first[:3]) < min(second)


def test_an_unused_block_is_no_expert() -> None:
    blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)) for _ in range(3))

    def forward(model: Any, x: Tensor) -> Tensor:
        for block in list(model.blocks)[:2]:
            x = x + block(x)
        return x

    with pytest.raises(ValueError, match=r"`blocks\.2\.0`, `blocks\.2\.2` did not run"):
        convert_(Net(forward, blocks=blocks), Plan(NOISY), torch.randn(6, 5, 4))


def test_a_router_that_random_images_do_not_show_is_found_by_the_example() -> None:
    torch.manual_seed(0)
    stem, head = nn.Linear(8, 12), nn.Linear(12, 4)
    mixture = Mixture(select, 12, [nn.Linear(12, 12) for _ in range(4)], 12)
    x = torch.randn(8, 8)
    x[::2] += 6
    with torch.no_grad():  # to two experts go normal images, and to the others only images with a large mean
        mixture.router.weight.mul_(0.2)
        mixture.router.weight[2:] += stem.weight.sum(1)
        mixture.router.bias.copy_(torch.tensor([9.0, 9.0, 0.0, 0.0]))
    model = Net(lambda model, x: model.head(model.mixture(model.stem(x))), stem=stem, mixture=mixture, head=head).eval()
    with torch.no_grad():
        for images, count in ((x, 4), (torch.randn(64, 8), 2)):
            assert len(mixture.router(stem(images)).topk(2).indices.unique()) == count
    convert_(model, Plan(NOISY), x)
    calibrate_(model, [x])
    assert [layer.by_row for name, layer in macro_layers(model).items() if "experts" in name] == [True] * 4
    assert torch.equal(answers(model, x, *[[number] for number in range(8)]), answers(model, x, [*range(8)]))


def test_a_layer_without_siblings_that_does_not_run_is_still_refused() -> None:
    model = Net(lambda model, x: model.a(x), a=nn.Linear(4, 4), b=nn.Linear(4, 4))
    with pytest.raises(ValueError, match="`b` did not run on the example"):
        convert_(model, Plan(), torch.randn(2, 4))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tokens", "images"])
def test_an_own_study_spec_and_doctor(kind: str) -> None:
    model, x, _ = experts(gather, kind)
    x = torch.randn(64, *x.shape[1:])
    set_fidelity_(model, "float")
    with torch.no_grad():
        data = x, model(x).argmax(1)
    found = study(model, data, axes={"adc_bits": [6, 8]}, chips=2, images=32)
    assert [len(result.chips) for result in found.results if result.chips] == [2, 2]
    assert spec(model, data, "accuracy 60 % of quantized", images=16).limits
    mapped = doctor(model, data, "accuracy 90 % of quantized", images=32).map
    assert mapped.layers.keys() == macro_layers(model).keys()
    assert any(mapped.by_layer[name] != 0.0 for name in mapped.layers if ".experts." in name)
