"""The ways to compute one network (float32, quantised, and simulated by each engine that can), and timing of work."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from asim_lightning.backbone import BackboneConfig, build_backbone
from asim_lightning.classifier import CimClassifier
from asim_lightning.engine import ENGINES, KERNELS, refusals
from asim_lightning.nn import OnMacro
from asim_lightning.surgery import macro_layers, set_fidelity_


@dataclass(frozen=True)
class Inference:
    """One way to compute the network."""

    name: str
    """float32, quantized or simulated."""
    algorithm: str
    """Algorithm, in the words of its engine; where layers differ, all of them."""
    engine: str
    """Name of the engine, or torch for float32; where layers differ, all of them."""
    network: nn.Module
    engines: Mapping[OnMacro, str] = field(default_factory=dict)
    """Engine of each layer that does not use its default engine."""

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside, the network computes in this way."""
        if self.name != "float32":
            set_fidelity_(self.network, self.name)
        before = {layer: layer.engine for layer in self.engines}
        try:
            for layer, engine in self.engines.items():
                layer.engine = engine
            yield
        finally:
            for layer, own in before.items():
                layer.engine = own


def inferences(model: CimClassifier, device: torch.device, reference_engine: bool = False) -> list[Inference]:
    """Float32, quantised, simulated as configured, and simulated by each other engine that computes a layer.

    The other engines are the one that makes every conversion and, on request, the reference engine, which is slow.
    """
    network, layers = model.backbone, list(macro_layers(model.backbone).values())
    chosen = {layer: layer.engine_on(device) for layer in layers}
    simulated = Inference("simulated", _algorithms(chosen), ", ".join(dict.fromkeys(chosen.values())), network)
    found = [
        Inference("float32", "", "torch", unconverted(model)),
        Inference("quantized", ENGINES["exact"].ALGORITHM, "exact", network),
        simulated,
    ]
    for engine in KERNELS if reference_engine else list(KERNELS)[:-1]:
        others = {
            layer: engine
            for layer in layers
            if engine != chosen[layer] and engine not in refusals(layer.transfer, device)
        }
        if others:
            now = {**chosen, **others}
            names = ", ".join(dict.fromkeys(now.values()))
            found.append(replace(simulated, algorithm=_algorithms(now), engine=names, engines=others))
    return found


def unconverted(model: CimClassifier) -> nn.Module:
    """The classifier's network without macros, as timm builds it, with the same weights, in evaluation."""
    config = BackboneConfig(**{**model.hparams["backbone"], "pretrained": False})
    network = build_backbone(config, model.num_classes)
    # a converted network has input ranges and clips beside; assigned, weights are in memory once
    network.load_state_dict(model.backbone.state_dict(), strict=False, assign=True)
    return network.eval()


def _algorithms(engines: Mapping[OnMacro, str]) -> str:
    return ", ".join(dict.fromkeys(ENGINES[engine].ALGORITHM for engine in engines.values()))


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds until the results of a piece of work are there, on a device that may work asynchronously."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Wait until a device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
