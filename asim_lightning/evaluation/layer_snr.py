"""Signal and noise at the output of each layer on a macro, in decibels."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from asim_lightning.classifier.network import GivenNetwork
from asim_lightning.engine import noise_context
from asim_lightning.evaluation.attribution import computed, hooked
from asim_lightning.evaluation.condition import Condition, under
from asim_lightning.evaluation.layer_inputs import needed_layers
from asim_lightning.nn import OnMacro
from asim_lightning.nn.inputs import Inputs, batch_size
from asim_lightning.surgery.plan import kinds_of
from asim_lightning.table import text_table


@dataclass(frozen=True)
class LayerSnr:
    """Signal and noise of layers on macros; as text, a table by kind of layer.

    Attributes:
        noise_share: Power of the macro's error over power of the exact output, for each layer by its full name.
        linear: Names of the layers that hold weights; the others are products of activations.
    """

    noise_share: Mapping[str, float]
    linear: tuple[str, ...]

    @property
    def by_layer(self) -> dict[str, float]:
        """SNR of each layer, dB; infinite without an error."""
        return {name: decibels(share) for name, share in self.noise_share.items()}

    @property
    def effective(self) -> float:
        """``-10 log10`` of the mean over linear layers of noise power over signal power, dB."""
        return self.of(self.linear)

    def of(self, names: Iterable[str]) -> float:
        """The effective SNR of some layers, dB."""
        shares = [self.noise_share[name] for name in names]
        return decibels(sum(shares) / len(shares)) if shares else math.inf

    def __str__(self) -> str:
        rows = [["layer", "layers", "SNR (dB)", "least (dB)"]]
        for kind, names in kinds_of(self.noise_share).items():
            least = min(self.by_layer[name] for name in names)
            rows.append([kind, str(len(names)), f"{self.of(names):.1f}", f"{least:.1f}"])
        effective = f"effective SNR of {len(self.linear)} linear layers: {self.effective:.1f} dB"
        return f"{text_table(rows, 1, 'lrrr')}\n{effective}"


def layer_snr(network: nn.Module, inputs: Inputs, seed: int = 0, chip: int = 0) -> LayerSnr:
    """The power of each layer's output, and of the error that its macro adds, in the simulated network.

    A layer's error is its simulated output minus the exact product of the same integers; errors of the layers before it
    are in both. Powers are sums over all outputs of all calls.

    Args:
        network: A converted network.
        inputs: A batch of its inputs; every sample counts.
        seed: Seed of the noise.
        chip: Number of the chip.

    Raises:
        ValueError: No layer is on a macro.

    Examples:
        >>> import torch
        >>> from asim_lightning import MacroConfig, Plan, calibrate_, convert_, layer_snr
        >>> network, inputs = torch.nn.Sequential(torch.nn.Linear(4, 2)), torch.rand(64, 4)
        >>> report = convert_(network, Plan(MacroConfig(rows=4)), inputs)
        >>> calibrate_(network, [inputs])
        >>> layer_snr(network, inputs).effective > 20  # dB
        True
    """
    model = GivenNetwork(network)
    layers = needed_layers(model, "layer_snr")
    names = {layer: name for name, layer in layers.items()}
    powers = {name: torch.zeros(2, dtype=torch.float64) for name in layers}

    def keep(layer: OnMacro, arguments: tuple[Any, ...], named: dict[str, Any], y: Tensor) -> None:
        exact = computed(layer, "quantized", arguments, named).double()
        powers[names[layer]] += torch.stack([(y.double() - exact).square().sum(), exact.square().sum()]).cpu()

    noise = noise_context(seed=seed, sample_ids=range(batch_size(inputs)), chip=chip)
    with torch.no_grad(), under(model, Condition("simulated")), hooked(model, keep), noise:
        model(inputs)
    called = {name: both for name, both in powers.items() if float(both[1])}
    shares = {name: float(noise / signal) for name, (noise, signal) in called.items()}
    return LayerSnr(shares, tuple(name for name in shares if layers[name].held_shape is not None))


def decibels(share: float) -> float:
    """A share of noise in the signal's power as SNR, dB; infinite without noise."""
    return -10.0 * math.log10(share) if share > 0 else math.inf
