"""How large a network is that a checkpoint describes, before it is made: a small file may not ask for a large one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from asim_lightning.backbone import BackboneConfig
from asim_lightning.checks import check_whole
from asim_lightning.classifier.arguments import MOST_CLASSES
from asim_lightning.exchange.skeleton import skeleton_of
from asim_lightning.surgery.probe import example_shapes


@dataclass(frozen=True)
class SizeLimits:
    """What a network may take, by the file that it is from; what every file may is a small network's.

    Attributes:
        path: The file, for messages.
        size: Its bytes.
        tensors: Tensors in its state dict.
    """

    path: str
    size: int
    tensors: int

    @property
    def modules(self) -> int:
        """Modules, parameters and buffers: folding leaves a third of the tensors, and many modules have none."""
        return 5_000 + 50 * self.tensors

    @property
    def values(self) -> int:
        """Values of all parameters and buffers."""
        return 2**24 + self.size

    @property
    def operations(self) -> int:
        """Floating-point operations of one image: a ResNet-50 of 224 pixels takes 82 a byte, a ViT of 384 takes 320."""
        return 2 * 10**10 + 2_000 * self.size

    @property
    def activations(self) -> int:
        """Values of all intermediate results of one image."""
        return 2**28 + 16 * self.size


def check_size(config: BackboneConfig, num_classes: int, room: SizeLimits) -> None:
    """Refuse a network that is larger than the file that it is from, or takes longer on an image; none is made.

    Args:
        config: The network.
        num_classes: Number of classes.
        room: What it may take.

    Raises:
        ValueError: It is, or it cannot be built.
    """
    check_whole("`model.num_classes`", num_classes, 2, MOST_CLASSES)
    with _within(room, config.name):
        model = skeleton_of(config, num_classes)
    channels = next((each.in_channels for each in model.modules() if isinstance(each, nn.Conv2d)), None)
    size = config.image_size
    shapes = [(1, channels, size, size)] if size is not None and channels is not None else example_shapes(model)
    model.eval()
    failure = ""
    for shape in shapes:
        try:
            with torch.no_grad(), _Counting(room):
                model(torch.zeros(shape, device="meta"))
        except _TooMuchError:
            raise ValueError(
                f"{room.path} does not fit {config.name} as `model.backbone` describes it: an image of {shape[-1]} "
                f"pixels takes more than {room.operations:.0e} operations or {room.activations:.0e} values in between, "
                f"the most that a file of {room.size} bytes may ask for"
            ) from None
        except Exception as error:  # networks refuse sizes by errors of any kind
            failure = f"The network does not run on an input of shape {shape}: {(str(error).splitlines() or [''])[0]}"
        else:
            return
    raise ValueError(failure)


@contextmanager
def _within(room: SizeLimits, name: str) -> Iterator[None]:
    """Lets networks be built that are no larger than there is room."""
    count, values = 0, 0
    refused = ""

    def add(owner: nn.Module, key: str, part: Any) -> None:
        nonlocal count, values, refused
        count += 1
        values += part.numel() if isinstance(part, Tensor) else 0
        if count > room.modules:
            refused = f"it has more than {room.modules} parts, and the file {room.tensors} tensors"
        elif values > room.values:
            refused = f"it has more than {room.values} values, and the file {room.size} bytes"
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
        raise ValueError(f"{room.path} does not fit {name} as `model.backbone` describes it: {refused}") from None
    finally:
        for each in registered:
            each.remove()


class _Counting(TorchDispatchMode):
    """Counts what a forward pass takes, and stops it where that is too much."""

    def __init__(self, room: SizeLimits) -> None:
        super().__init__()
        self._room, self._values = room, 0
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
        if self._values > self._room.activations or self._operations.get_total_flops() > self._room.operations:
            raise _TooMuchError
        return result


class _TooMuchError(Exception):
    pass
