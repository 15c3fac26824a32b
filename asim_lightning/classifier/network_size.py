"""Limits on the network that a checkpoint describes, checked before it is built: a small file must not ask for a large
one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from asim_lightning.backbone import BackboneConfig, image_channels
from asim_lightning.checks import check_whole
from asim_lightning.classifier.arguments import MOST_CLASSES
from asim_lightning.exchange.skeleton import skeleton_of
from asim_lightning.surgery.probe import example_shapes


@dataclass(frozen=True)
class SizeLimits:
    """Limits on a network, in proportion to its file; a small network is allowed to any file.

    Attributes:
        path: The file, for messages.
        size: Size of the file in bytes.
        tensors: Tensors in its state dict.
    """

    path: str
    size: int
    tensors: int

    @property
    def modules(self) -> int:
        """Most modules, parameters and buffers: folding leaves a third of the tensors, and many modules have none."""
        return 5_000 + 50 * self.tensors

    @property
    def values(self) -> int:
        """Most values of all parameters and buffers."""
        return 2**24 + self.size

    @property
    def operations(self) -> int:
        """Most floating-point operations for one image: a ResNet-50 at 224 pixels takes 82 a byte, a ViT at 384 takes
        320."""
        return 2 * 10**10 + 2_000 * self.size

    @property
    def activations(self) -> int:
        """Most values of all intermediate results for one image."""
        return 2**28 + 16 * self.size


def check_size(config: BackboneConfig, num_classes: int, limits: SizeLimits) -> None:
    """Refuse a network that exceeds the limits of its file in size or in operations for one image; it is not built.

    Args:
        config: The network.
        num_classes: Number of classes.
        limits: Its limits.

    Raises:
        ValueError: It exceeds them, or cannot be built.
    """
    check_whole("`model.num_classes`", num_classes, 2, MOST_CLASSES)
    with _within(limits, config.name):
        model = skeleton_of(config, num_classes)
    channels, size = image_channels(config, model), config.image_size
    shapes = [(1, channels, size, size)] if size is not None and channels is not None else example_shapes(model)
    model.eval()
    failure = ""
    for shape in shapes:
        try:
            with torch.no_grad(), _Counting(limits):
                model(torch.zeros(shape, device="meta"))
        except _TooMuchError:
            raise ValueError(
                f"{limits.path} does not fit {config.name} as `model.backbone` describes it: an image of {shape[-1]} "
                f"pixels takes more than {limits.operations:.0e} operations or {limits.activations:.0e} values in "
                f"between, the most that a file of {limits.size} bytes may ask for"
            ) from None
        except Exception as error:  # networks refuse sizes by errors of any kind
            failure = f"The network does not run on an input of shape {shape}: {(str(error).splitlines() or [''])[0]}"
        else:
            return
    raise ValueError(failure)


@contextmanager
def _within(limits: SizeLimits, name: str) -> Iterator[None]:
    """Stops the building of a network that exceeds the limits."""
    count, values = 0, 0
    refused = ""

    def add(owner: nn.Module, key: str, part: Any) -> None:
        nonlocal count, values, refused
        count += 1
        values += part.numel() if isinstance(part, Tensor) else 0
        if count > limits.modules:
            refused = f"it has more than {limits.modules} parts, and the file {limits.tensors} tensors"
        elif values > limits.values:
            refused = f"it has more than {limits.values} values, and the file {limits.size} bytes"
        if refused:
            raise _TooMuchError

    registered = (
        registration.register_module_parameter_registration_hook(add),
        registration.register_module_buffer_registration_hook(add),
        registration.register_module_module_registration_hook(add),
    )
    try:
        yield
    except ValueError:
        if not refused:
            raise
        raise ValueError(f"{limits.path} does not fit {name} as `model.backbone` describes it: {refused}") from None
    finally:
        for each in registered:
            each.remove()


class _Counting(TorchDispatchMode):
    """Counts operations and activations of a forward pass, and stops it where they exceed the limits."""

    def __init__(self, limits: SizeLimits) -> None:
        super().__init__()
        self._limits, self._values = limits, 0
        self._operations = FlopCounterMode(display=False)

    def __enter__(self) -> "_Counting":
        self._operations.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._operations.__exit__(*error)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for each in result if isinstance(result, (tuple, list)) else (result,):
            self._values += each.numel() if isinstance(each, Tensor) else 0
        if self._values > self._limits.activations or self._operations.get_total_flops() > self._limits.operations:
            raise _TooMuchError
        return result


class _TooMuchError(Exception):
    pass
