"""Golden outputs of the published simulator: cases as data, and the layer each one describes."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import CimConv2d, CimLinear

FOLDER = Path(__file__).parent / "golden"


def cases(file: str) -> dict[str, dict[str, Any]]:
    """Settings of every case of layers, circuits, models or model_keys."""
    return json.loads((FOLDER / f"{file}.json").read_text())


def reference_state(case: str, seed: int) -> dict[str, Tensor]:
    """The seeded weights of the published network, by its own keys (golden/README.md of the reference outputs)."""
    state = {}
    for number, (key, shape) in enumerate(cases("model_keys")[case].items()):
        draw = np.random.default_rng(seed + number)
        if key.endswith("num_batches_tracked"):
            value = np.zeros(shape)
        elif key.endswith("alpha"):
            value = np.full(shape, 3.0)
        elif key.endswith("running_var"):
            value = draw.uniform(0.5, 1.5, shape)
        elif key.endswith("running_mean"):
            value = 0.1 * draw.standard_normal(shape)
        elif len(shape) == 4:
            value = draw.standard_normal(shape) * math.sqrt(2 / (shape[0] * shape[2] * shape[3]))
        elif len(shape) == 2:
            value = draw.standard_normal(shape) * math.sqrt(1 / shape[1])
        elif len(shape) == 1 and key.endswith("weight"):
            value = draw.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            value = 0.1 * draw.standard_normal(shape)
        else:
            value = 0.02 * draw.standard_normal(shape)
        state[key] = torch.tensor(np.asarray(value, dtype=np.float32))
    return state


def arrays(file: str, case: str) -> dict[str, Tensor]:
    """Arrays of one case by name."""
    with np.load(FOLDER / f"{file}.npz") as stored:
        return {k.split("/", 1)[1]: torch.from_numpy(stored[k]) for k in stored.files if k.startswith(case + "/")}


def macro_of(settings: dict[str, Any]) -> MacroConfig:
    """The macro that a case's settings describe."""
    alpha = settings.get("current_domain_alpha")
    return MacroConfig(
        weight_bits=settings["weight_bits"],
        input_bits=settings["input_bits"],
        rows=settings["rows"],
        adc_bits=settings["adc_bits"],
        encoding_bits=settings.get("encoding_bits") or 1,
        weight_parallel=settings.get("weight_bit_parallel", False),
        random_noise=settings.get("random_noise_percent", 0.0),
        nonlinear_noise=settings.get("nonlinear_noise_percent", 0.0),
        digital_levels=settings.get("hybrid_levels") or 0,
        digital_adc=bool(settings.get("hybrid_levels")),
        vote_levels=settings.get("voting_levels", 0),
        votes=settings.get("votes", 1),
        column="charge" if alpha is None else "current",
        column_args={} if alpha is None else {"alpha": alpha},
    )


def layer_of(settings: dict[str, Any], data: dict[str, Tensor]) -> CimConv2d | CimLinear:
    """The layer that a convolution's or linear layer's case describes, in evaluation."""
    weight, bias = data["weight"], data.get("bias")
    common = {"macro": macro_of(settings), "signed_input": settings.get("signed_input", False)}
    layer: CimConv2d | CimLinear
    if settings["kind"] == "conv2d":
        outputs, inputs, *kernel = weight.shape
        layer = CimConv2d(
            inputs, outputs, kernel, settings.get("stride", 1), settings["padding"], bias=bias is not None, **common
        )
    else:
        layer = CimLinear(weight.shape[1], weight.shape[0], bias is not None, **common)
    layer.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    return layer.eval()
