"""The kernels of a device against the reference and a CPU: engine, layers, a step of a fit, and a network's evaluation.

On a CPU, where the native engine stands for the fused one, the same functions run, so that each line of them has.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from asim_lightning import CimClassifier, MacroConfig
from asim_lightning.data import FashionMNIST
from asim_lightning.engine import noise_context
from asim_lightning.engine.fused import FusedProgram
from asim_lightning.engine.native import native_engine
from asim_lightning.engine.reference import ReferenceProgram
from asim_lightning.engine.torch_modes import exact_float32
from asim_lightning.evaluation.condition import Condition
from asim_lightning.evaluation.evaluate import run_evaluations
from asim_lightning.evaluation.results import Outcomes
from asim_lightning.nn import CimConv2d, CimLinear, CimMatmul, OnMacro
from asim_lightning.nn.verify import verify
from asim_lightning.surgery import macro_layers
from tests.conftest import relative
from tests.engine.conversion_cases import most_different
from tests.engine.fused import cases

CHECKPOINT = Path(__file__).resolve().parents[3] / "checkpoints" / "fashion_resnet_qat.ckpt"
LOSSLESS, NOISY = MacroConfig(), MacroConfig(random_noise=0.2, nonlinear_noise=0.05)
LOSSY = MacroConfig(adc_bits=6, encoding_bits=2)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """A device."""
    if request.param == "cpu" and (why := native_engine.why_not_on(torch.device("cpu"))):
        pytest.skip(why)
    return torch.device(request.param)


@pytest.mark.parametrize("name", cases.CASES)
def test_sums_are_the_references_on_the_device_and_on_a_cpu(name: str, device: torch.device) -> None:
    run = cases.run(cases.CASES[name])
    if device.type == "cpu" and (why := native_engine.refuses(run.circuit)):
        pytest.skip(why)
    there = run.on(device)
    found = there.sums(FusedProgram if device.type == "cuda" else native_engine.NativeProgram)
    assert (found.device.type, found.dtype) == (device.type, torch.float64)
    allowed = most_different(run.product, run.circuit, run.x, run.w)
    for expected in (there.sums(ReferenceProgram), run.sums(ReferenceProgram)):
        assert int((found.cpu() != expected.cpu()).sum()) <= allowed


def layers(macro: MacroConfig) -> list[tuple[OnMacro, list[Tensor]]]:
    """A layer of each kind, with inputs."""
    torch.manual_seed(0)
    conv = CimConv2d(20, 12, 3, padding=1, stride=2, macro=macro, name="conv")
    linear = CimLinear(300, 17, macro=macro, signed_input=True, name="fc")
    matmul = CimMatmul(macro, name="qk")
    inputs = [torch.rand(6, 20, 9, 8)], [torch.rand(6, 5, 300) - 0.5], [torch.rand(6, 2, n, 70) - 0.5 for n in (5, 4)]
    return list(zip((conv, linear, matmul), inputs, strict=True))


@pytest.mark.parametrize("kind", range(3), ids=["convolution", "linear", "matmul"])
@pytest.mark.parametrize("macro", [LOSSLESS, LOSSY, NOISY], ids=["lossless", "lossy", "noisy"])
def test_every_layer_verifies(macro: MacroConfig, kind: int, device: torch.device) -> None:
    layer, inputs = layers(macro)[kind]
    found = verify(layer.to(device), *(x.to(device) for x in inputs))
    assert found.ok, str(found)
    assert found.engine == ("exact" if macro is LOSSLESS else "fused" if device.type == "cuda" else "native")


def step(layer: OnMacro, inputs: list[Tensor], device: torch.device) -> list[Tensor]:
    """Outputs and gradients of a step of a fit, on the CPU."""
    own = copy.deepcopy(layer).to(device).train()
    given = [x.to(device).requires_grad_() for x in inputs]
    with exact_float32(device.type), noise_context(seed=1, sample_ids=range(len(inputs[0])), step=3):
        y = own(*given)
        weights = torch.arange(y.numel(), device=device).view(y.shape).cos()  # some loss that tells all outputs apart
        (y * weights).sum().backward()
    found = [y, *(x.grad for x in given), *(parameter.grad for parameter in own.parameters())]
    return [each.detach().cpu() for each in found if each is not None]


@pytest.mark.parametrize("kind", range(3), ids=["convolution", "linear", "matmul"])
@pytest.mark.parametrize("model", ["proportional", "macro"])
def test_a_step_of_a_fit_is_that_of_a_cpu(model: str, kind: int, device: torch.device) -> None:
    layer, inputs = layers(NOISY)[kind]
    layer.train_noise, layer.train_noise_model = 1.0, model  # type: ignore[assignment]
    expected = step(layer, inputs, torch.device("cpu"))
    found = step(layer, inputs, device)
    assert len(found) == len(expected) >= 3
    for ours, theirs in zip(found, expected, strict=True):
        assert relative(ours, theirs) < 1e-4


@pytest.fixture(scope="module")
def trained() -> CimClassifier:
    """The quickstart's network."""
    return CimClassifier.load_from_checkpoint(CHECKPOINT, map_location="cpu", weights_only=True, fidelity="simulated")


def on_macro(model: CimClassifier, macro: dict[str, Any]) -> CimClassifier:
    """A copy whose layers are on another macro."""
    model = copy.deepcopy(model).eval()
    for layer in macro_layers(model.backbone).values():
        layer.macro = layer.macro.with_fields(**macro)
        layer.fidelity = "simulated"
    return model


@pytest.mark.parametrize("macro", [{"random_noise": 0}, {"adc_bits": 7, "random_noise": 0}, {"random_noise": 0.2}])
def test_each_layer_of_a_network_gives_what_it_gives_on_a_cpu(
    trained: CimClassifier, macro: dict[str, Any], device: torch.device
) -> None:
    model, images = on_macro(trained, macro), torch.rand(4, 1, 28, 28)
    calls: list[tuple[OnMacro, tuple[Tensor, ...], Tensor]] = []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, y: calls.append((layer, inputs, y)))
        for layer in macro_layers(model.backbone).values()
    ]
    read: dict[str, Any] = {"seed": 1, "sample_ids": range(4)}
    with torch.no_grad(), noise_context(**read):
        model(images)
    for hook in hooks:
        hook.remove()
    assert len(calls) > 8
    for layer, inputs, y in calls:
        with torch.no_grad(), noise_context(**read):
            found = copy.deepcopy(layer).to(device)(*(x.to(device) for x in inputs)).cpu()
        conversions = layer.conversions(*inputs)
        # the step of a count may be divided otherwise, in the last bit
        differ = int((~torch.isclose(found, y, rtol=1e-6, atol=1e-7 * float(y.abs().max()))).sum())
        assert differ <= (1 + 1e-5 * conversions if any(layer.transfer.noisy) else 0), layer.name


@pytest.mark.parametrize("macro", [{"random_noise": 0}, {"random_noise": 0.05}, {"random_noise": 0.2}])
def test_an_evaluation_finds_what_one_on_a_cpu_finds(
    trained: CimClassifier, macro: dict[str, Any], device: torch.device
) -> None:
    def outcomes(accelerator: str) -> Outcomes:
        quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = Trainer(accelerator=accelerator, devices=1, enable_model_summary=False, **quiet)
        data = FashionMNIST(test_images=64, eval_batch_size=32)
        return run_evaluations(
            trainer, copy.deepcopy(trained), data, lambda evaluate: evaluate(Condition(macro=macro), None)
        )

    expected, found = outcomes("cpu"), outcomes("gpu" if device.type == "cuda" else "cpu")
    assert found.sample_index.tolist() == expected.sample_index.tolist()
    # what is not on a macro is rounded otherwise, and moves an input of a layer to another integer now and then
    assert int((found.prediction != expected.prediction).sum()) <= (0 if macro["random_noise"] == 0 else 2)
