"""The quick estimate: quantised with the noise of training, called so, and no part of other evaluations."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from asim_lightning import CimClassifier, MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.nn import CimConv2d, CimLinear, CimMatmul
from asim_lightning.nn.on_macro import OnMacro
from tests.classifier.conftest import MakeTrainer, make_data, make_model

pytestmark = pytest.mark.filterwarnings("ignore:.*tensorboard.*", "ignore:.*isinstance.treespec.*")


def test_an_estimate_is_never_called_accuracy(make_trainer: MakeTrainer) -> None:
    for run, stage in (("validate", "val"), ("test", "test")):
        model, trainer = make_model(fidelity="estimated", train_noise=5.0), make_trainer()
        found = getattr(trainer, run)(model, datamodule=make_data(), verbose=False)[0]
        assert set(found) == {f"{stage}/acc_estimate", f"{stage}/acc5_estimate", f"{stage}/loss"}


def accuracy_and_loss(model: CimClassifier, make_trainer: MakeTrainer) -> tuple[float, float]:
    found = make_trainer().validate(model, datamodule=make_data(), verbose=False)[0]
    return found.get("val/acc", found.get("val/acc_estimate")), found["val/loss"]


def test_without_noise_an_estimate_is_the_quantised_accuracy(make_trainer: MakeTrainer) -> None:
    quantized = accuracy_and_loss(make_model(), make_trainer)
    assert accuracy_and_loss(make_model(fidelity="estimated"), make_trainer) == quantized
    for noise, model in ((50.0, "proportional"), (5.0, "macro")):
        noisy = make_model(fidelity="estimated", train_noise=noise, train_noise_model=model)
        first = accuracy_and_loss(noisy, make_trainer)
        assert abs(first[1] - quantized[1]) > 1e-3
        assert accuracy_and_loss(noisy, make_trainer) == first
        noisy.trial = 1
        assert accuracy_and_loss(noisy, make_trainer) != first


MACRO = MacroConfig(4, 4, rows=16, adc_bits=6, random_noise="0.5 lsb")
LAYERS: dict[str, tuple[Callable[[], OnMacro], list[tuple[int, ...]]]] = {
    "conv": (lambda: CimConv2d(3, 4, 3, padding=1, macro=MACRO, name="a"), [(6, 3, 5, 5)]),
    "linear": (lambda: CimLinear(24, 7, macro=MACRO, name="a"), [(6, 24)]),
    "matmul": (lambda: CimMatmul(MACRO, False, name="a"), [(6, 2, 3, 12), (6, 2, 5, 12)]),
}


At = Callable[..., Tensor]


def layer_with(kind: str, noise: str) -> tuple[OnMacro, At]:
    """A layer at 3 of a training noise, and its answers at a fidelity."""
    make, shapes = LAYERS[kind]
    torch.manual_seed(0)
    layer = make().eval()
    inputs = [torch.rand(shape) for shape in shapes]
    layer.calibrate(*inputs)
    layer.train_noise_model, layer.train_noise = noise, 3.0

    def at(fidelity: str, rows: slice = slice(None), trial: int = 0, seed: int = 0) -> Tensor:
        layer.fidelity = fidelity
        with torch.no_grad(), noise_context(seed, trial, torch.arange(6)[rows]):
            return layer(*[x[rows] for x in inputs])

    return layer, at


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("noise", ["proportional", "macro"])
def test_a_layers_estimate_is_the_quantised_product_with_noise(kind: str, noise: str) -> None:
    layer, at = layer_with(kind, noise)
    quantized, estimated = at("quantized"), at("estimated")
    assert torch.equal(at("estimated", slice(2, 5)), estimated[2:5])
    assert torch.equal(at("estimated"), estimated)
    for other in (at("estimated", trial=1), at("estimated", seed=1)):
        assert (other != estimated).float().mean() > 0.9
    layer.train_noise = 1.5
    torch.testing.assert_close(at("estimated") - quantized, (estimated - quantized) / 2, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["conv", "linear"])
@pytest.mark.parametrize("noise", ["proportional", "macro"])
def test_noise_of_an_estimate_is_that_of_the_product_without_the_bias(kind: str, noise: str) -> None:
    layer, at = layer_with(kind, noise)
    errors = at("estimated") - at("quantized")
    with torch.no_grad():
        layer.bias += 100.0
    torch.testing.assert_close(at("estimated") - at("quantized"), errors, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("kind", LAYERS)
def test_proportional_noise_of_an_estimate_is_that_share_of_the_product(kind: str) -> None:
    layer, at = layer_with(kind, "proportional")
    quantized, bias = at("quantized"), getattr(layer, "bias", None)
    product = quantized if bias is None else quantized - bias.detach().view(-1, *[1] * (quantized.dim() - 2))
    z = ((at("estimated") - quantized) / product / 0.03)[product.abs() > 1e-3]
    assert abs(float(z.mean())) < 4 / math.sqrt(len(z))
    assert abs(float(z.std()) - 1) < 4 / math.sqrt(2 * len(z))
