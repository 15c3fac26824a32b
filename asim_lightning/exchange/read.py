"""Reading of weight files as tensors and plain values, never as code."""

import codecs
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from asim_lightning.exchange.archive import check_archive
from asim_lightning.exchange.loaded_values import check_contents
from asim_lightning.resources import PACKAGE, file_in_package

_WRAPPERS = ("model_state_dict", "state_dict", "model")
"""Keys of a file that may hold the state dict: those of the published code, timm's training script and DeiT."""
_PREFIXES = ("module.", "_orig_mod.")
"""Prefixes that torch's DataParallel and torch.compile add to each key."""
_SCALARS = ("f8", "f4", "f2", "i8", "i4", "b1")
"""Types of NumPy scalars that a file may hold."""


@dataclass(frozen=True)
class WeightFile:
    """The state dict in a file.

    Attributes:
        path: The file.
        state: Tensors by key, without the prefixes of torch's DataParallel and compile.
        wrapper: Key of the file that holds the state dict; empty where the file is the state dict itself.
        stepped: Numbers of the parameters that the optimizer state in the file has updated; None where there is none.
        architecture: timm's name of the network, where the file or a config.json beside it says so.
    """

    path: str
    state: dict[str, Tensor]
    wrapper: str = ""
    stepped: frozenset[int] | None = None
    architecture: str | None = None


def read_plain(path: str | Path, mmap: bool = False, map_location: Any = "cpu") -> Any:
    """The object in a file of torch.save; a file whose reading would run code is refused, and its code does not run.

    Args:
        path: The file.
        mmap: Whether tensors are read from the disk when they are used.
        map_location: Device of the tensors, as in torch.load.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file holds more than tensors, NumPy scalars and plain values, is damaged, or would take more
            memory than its size.
    """
    check_archive(path)
    found = _load(path, mmap, map_location)
    check_contents(str(path), found, Path(path).stat().st_size)
    return found


def _load(path: str | Path, mmap: bool, map_location: Any) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_scalars()):
            warnings.simplefilter("ignore")  # of pickle protocols, before the error that follows
            return torch.load(path, map_location, weights_only=True, mmap=mmap and zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        with open(path, "rb") as file:
            if file.read(1) not in (b"P", b"\x80"):  # of a zip file or a pickle; a text may be read as a pickle of old
                raise ValueError(
                    f"{path} is no checkpoint, or a damaged one: no file of torch or safetensors begins so"
                ) from None
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"{found[1]}, which could run code" if found else "something else"
        raise ValueError(f"{path} is refused: a checkpoint must hold tensors and plain values, got {what}") from None
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # bytes of any kind provoke errors of any kind
        reason = str(error).split(". ")[0].splitlines()[:1] if isinstance(error, RuntimeError) else []
        reason = [each for each in reason if not each.startswith("[")]  # a line of torch's own source
        raise ValueError(": ".join([f"{path} is no checkpoint, or a damaged one", *reason])) from None


def read_weights(path: str | Path, mmap: bool = False) -> WeightFile:
    """The state dict in a file: .safetensors, or a file of torch.save.

    Args:
        path: The file, or ``package:NAME/PATH`` for one in an installed package.
        mmap: Whether tensors are read from the disk when they are used.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, would run code, or holds no state dict.
    """
    file = file_in_package(str(path)) if str(path).startswith(PACKAGE) else Path(path)
    if not file.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}")
    if file.is_dir():
        raise FileNotFoundError(f"{path} is a folder; a file of weights is needed")
    if not file.is_file():  # a pipe, which would be waited for
        raise FileNotFoundError(f"{path} is a pipe or a device; a file of weights is needed")
    if file.suffix == ".safetensors":
        return WeightFile(str(path), _by_todays_names(_read_safetensors(file)), architecture=_architecture_beside(file))
    found = read_plain(file, mmap)
    wrapper = next((key for key in _WRAPPERS if isinstance(found, dict) and isinstance(found.get(key), dict)), "")
    state = found[wrapper] if wrapper else found
    tensors = isinstance(state, dict) and state and all(isinstance(value, Tensor) for value in state.values())
    if not tensors or not all(isinstance(key, str) for key in state):
        keys = ", ".join(str(key)[:60] for key in list(state)[:3]) if isinstance(state, dict) else ""
        held = f"a mapping of {keys}" if keys else "an empty mapping" if isinstance(state, dict) else ""
        raise ValueError(f"{path} must hold a state dict, tensors by name, got {held or type(state).__name__}")
    architecture = found.get("arch") if wrapper else None
    return WeightFile(
        str(path),
        _by_todays_names(state),
        wrapper,
        _stepped(found.get("optimizer_state_dict")) if wrapper else None,
        architecture if isinstance(architecture, str) else _architecture_beside(file),
    )


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: dict[str, Tensor] = load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} is no .safetensors file, or a damaged one: {error}") from None
    if not found:
        raise ValueError(f"{file} must hold a state dict, tensors by name, got none")
    return found


def _architecture_beside(file: Path) -> str | None:
    """timm's name of the network in the config.json that hubs put beside the weights."""
    import json

    config = file.with_name("config.json")
    try:
        value = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    name = value.get("architecture") if isinstance(value, dict) else None
    return name if isinstance(name, str) else None


def _by_todays_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named = dict(state)
    while prefix := next((each for each in _PREFIXES if named and all(key.startswith(each) for key in named)), ""):
        named = {key.removeprefix(prefix): value for key, value in named.items()}
    return {re.sub(r"\.mlp\.linear_([12])\.", _newer, key): value for key, value in named.items()}


def _newer(old: re.Match[str]) -> str:
    """The current name of a layer of torchvision's first transformers."""
    return ".mlp.0." if old[1] == "1" else ".mlp.3."


def _stepped(optimizer: Any) -> frozenset[int] | None:
    state = optimizer.get("state") if isinstance(optimizer, dict) else None
    return frozenset(state) if isinstance(state, dict) and state else None


def _encode(text: str, encoding: str) -> bytes:
    """Replaces codecs.encode, which a pickled NumPy scalar calls for its bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"an encoding of {encoding!r}")
    return codecs.encode(text, "latin1")


class _Scalar:
    """Replaces numpy.dtype for scalars, as numpy.dtype itself makes scalars of any size."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in _SCALARS:
            raise pickle.UnpicklingError(f"a NumPy scalar of kind {code!r}")
        self.kind = numpy.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """The order of bytes; nothing else of the state is used."""
        if state[1] == ">":
            self.kind = self.kind.newbyteorder(">")


def _scalar(kind: _Scalar, content: bytes) -> float:
    """Replaces NumPy's own function, which allocates the size of the type whether or not the bytes are there."""
    if not isinstance(kind, _Scalar) or not isinstance(content, bytes) or len(content) != kind.kind.itemsize:
        raise pickle.UnpicklingError("a NumPy scalar without its bytes")
    value: float = numpy.frombuffer(content, kind.kind)[0].item()
    return value


def _numpy_scalars() -> list[Any]:
    """Replacements for the names in a pickled NumPy scalar of NumPy 1 and 2: published checkpoints hold one, the best
    accuracy."""
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [*((_scalar, name) for name in names), (_Scalar, "numpy.dtype"), (_encode, "_codecs.encode")]
