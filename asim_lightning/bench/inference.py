"""The ways to compute one network: float32, quantised, and simulated by every engine that applies; and their time."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from asim_lightning.backbone import BackboneConfig, build_backbone
from asim_lightning.circuit import Algorithm, Transfer, algorithm
from asim_lightning.classifier import CimClassifier
from asim_lightning.engine import refusals
from asim_lightning.nn import OnMacro
from asim_lightning.surgery import macro_layers, set_fidelity_


@dataclass(frozen=True)
class Inference:
    """One way to compute the network."""

    name: str
    """float32, quantized or simulated."""
    algorithm: str
    """How outputs are computed, in the words of `Algorithm`; where layers differ, all of them."""
    engine: str
    """Engine, or torch for float32; where layers differ, all of them."""
    network: nn.Module
    engines: Mapping[OnMacro, str] = field(default_factory=dict)
    """Engine of each layer that does not take its own choice."""

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside, a call of the network is this inference."""
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
    """Float32, quantised, simulated as configured, and simulated by each other engine that applies to a layer.

    An engine beside the configured one is the one that makes every conversion, and on request the reference engine.

    Args:
        model: Converted classifier, on the device.
        device: Device of the network.
        reference_engine: Whether the reference engine, which is slow, is among them.
    """
    network, layers = model.backbone, list(macro_layers(model.backbone).values())
    chosen = {layer: layer.engine_on(device) for layer in layers}
    simulated = Inference("simulated", _algorithms(chosen), ", ".join(dict.fromkeys(chosen.values())), network)
    found = [
        Inference("float32", "", "torch", unconverted(model)),
        Inference("quantized", str(Algorithm.EXACT), "exact", network),
        simulated,
    ]
    for engine in ("packed", "fused", *(["reference"] if reference_engine else [])):
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
    """The classifier's network as timm makes it, with the same weights, in evaluation."""
    config = BackboneConfig(**{**model.hparams["backbone"], "pretrained": False})
    network = build_backbone(config, model.num_classes)
    # a converted network has input ranges and clips beside; assigned, weights are in memory once
    network.load_state_dict(model.backbone.state_dict(), strict=False, assign=True)
    return network.eval()


def algorithm_of(engine: str, transfer: Transfer) -> str:
    """The algorithm that an engine follows for a macro."""
    own = engine in ("exact", "events", "split")
    return str(algorithm(transfer) if own else Algorithm.CONVERSIONS)


def _algorithms(engines: Mapping[OnMacro, str]) -> str:
    return ", ".join(dict.fromkeys(algorithm_of(engine, layer.transfer) for layer, engine in engines.items()))


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that a piece of work takes until its results are there, on a device that may work asynchronously."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Wait until a device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
