"""The quick estimate: quantised with the noise of training, called so, and no part of other evaluations."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from asim_lightning import CimClassifier, MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.nn.on_macro import OnMacro
from tests.classifier.conftest import MakeTrainer, make_data, make_model
from tests.nn.layers import KINDS, inputs_of, layer_of

pytestmark = pytest.mark.filterwarnings("ignore:.*tensorboard.*", "ignore:.*isinstance.treespec.*")


def measured(model: CimClassifier, make_trainer: MakeTrainer, stage: str = "val") -> dict[str, float]:
    trainer = make_trainer()
    run = trainer.validate if stage == "val" else trainer.test
    return dict(run(model, datamodule=make_data(), verbose=False)[0])


def test_an_estimate_without_noise_is_the_quantised_accuracy_but_never_called_so(make_trainer: MakeTrainer) -> None:
    for stage in ("val", "test"):
        quantized = measured(make_model(), make_trainer, stage)
        estimated = measured(make_model(fidelity="estimated"), make_trainer, stage)
        named = {f"{stage}/acc": f"{stage}/acc_estimate", f"{stage}/acc5": f"{stage}/acc5_estimate"}
        assert estimated == {named.get(name, name): value for name, value in quantized.items()}


MACRO = MacroConfig(4, 4, rows=16, adc_bits=6, random_noise="0.5 lsb")
At = Callable[..., Tensor]


def layer_with(kind: str, noise: str) -> tuple[OnMacro, At]:
    """A layer at 3 of a training noise, and its answers at a fidelity."""
    layer, inputs = layer_of(kind, MACRO).eval(), inputs_of(kind)
    layer.calibrate(*inputs)
    layer.train_noise_model, layer.train_noise = noise, 3.0

    def at(fidelity: str, trial: int = 0, seed: int = 0) -> Tensor:
        layer.fidelity = fidelity
        with torch.no_grad(), noise_context(seed, trial, torch.arange(3)):
            return layer(*inputs)

    return layer, at


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("noise", ["proportional", "macro"])
def test_a_layers_estimate_is_the_quantised_product_with_noise(kind: str, noise: str) -> None:
    layer, at = layer_with(kind, noise)
    quantized, estimated = at("quantized"), at("estimated")
    assert torch.equal(at("estimated"), estimated)
    for other in (at("estimated", trial=1), at("estimated", seed=1)):
        assert (other != estimated).float().mean() > 0.9
    layer.train_noise = 1.5
    torch.testing.assert_close(at("estimated") - quantized, (estimated - quantized) / 2, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_proportional_noise_of_an_estimate_is_that_share_of_the_product_without_the_bias(kind: str) -> None:
    layer, at = layer_with(kind, "proportional")
    quantized, bias = at("quantized"), getattr(layer, "bias", None)
    channels = (-1, 1, 1) if kind == "conv" else (-1,)
    product = quantized if bias is None else quantized - bias.detach().view(channels)
    z = ((at("estimated") - quantized) / product / 0.03)[product.abs() > 1e-3]
    assert abs(float(z.mean())) < 4 / math.sqrt(len(z))
    assert abs(float(z.std()) - 1) < 4 / math.sqrt(2 * len(z))
