"""Files of weights as others write them."""

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from asim_lightning.exchange.read import read_weights

STATE = {"a.weight": torch.arange(3.0), "a.bias": torch.ones(2, dtype=torch.float16)}


def same(found: dict[str, torch.Tensor]) -> bool:
    return set(found) == set(STATE) and all(torch.equal(found[key], value) for key, value in STATE.items())


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.bool_])
@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_numpy_scalars_of_old_and_new_numpy(kind: type, module: bytes, tmp_path: Path) -> None:
    torch.save({"model_state_dict": STATE, "best_acc": kind(1)}, tmp_path / "new.pkl")
    with zipfile.ZipFile(tmp_path / "new.pkl") as new, zipfile.ZipFile(tmp_path / "given.pkl", "w") as given:
        for name in new.namelist():
            given.writestr(name, new.read(name).replace(b"numpy._core.multiarray", module))
    found = read_weights(tmp_path / "given.pkl")
    assert same(found.state)
    assert found.wrapper == "model_state_dict"


class Forged:
    """A NumPy scalar that says its kind and brings no bytes, for which NumPy's own code would make room."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __reduce__(self) -> tuple[object, ...]:
        scalar = np.float64(0).__reduce__()[0]
        return scalar, (np.dtype(self.kind),)


@pytest.mark.parametrize("kind", ["V100000000", "S100000000", "f8", "O"])
def test_a_numpy_scalar_without_bytes_makes_no_room(kind: str, tmp_path: Path) -> None:
    torch.save({"model_state_dict": STATE, "best_acc": Forged(kind)}, tmp_path / "given.pkl")
    with pytest.raises(ValueError, match=r"given\.pkl is (refused|no checkpoint)"):
        read_weights(tmp_path / "given.pkl")


@pytest.mark.parametrize("kind", ["sparse", "meta", "quantised"])
def test_tensors_that_are_not_plain(kind: str, tmp_path: Path) -> None:
    value = {
        "sparse": lambda: torch.eye(3).to_sparse(),
        "meta": lambda: torch.ones(3, device="meta"),
        "quantised": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    }[kind]()
    torch.save({"a.weight": value}, tmp_path / "given.pth")
    with pytest.raises(
        ValueError,
        match=r"plain tensors, got a\.weight, which is (sparse|without values|quantised)|is no checkpoint|refused",
    ):
        read_weights(tmp_path / "given.pth")


def test_the_format_before_zip_files(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "given.pth", _use_new_zipfile_serialization=False)
    assert same(read_weights(tmp_path / "given.pth").state)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict"])
def test_wrapped_parallel_and_compiled(wrapper: str, prefix: str, tmp_path: Path) -> None:
    state = {prefix + key: value for key, value in STATE.items()}
    torch.save({wrapper: state, "epoch": 3}, tmp_path / "given.pth")
    assert same(read_weights(tmp_path / "given.pth").state)
    save_file(state, tmp_path / "given.safetensors")
    assert same(read_weights(tmp_path / "given.safetensors").state)


def test_old_names_of_torchvisions_transformers(tmp_path: Path) -> None:
    torch.save({"encoder.layers.encoder_layer_0.mlp.linear_2.bias": torch.ones(1)}, tmp_path / "given.pth")
    assert list(read_weights(tmp_path / "given.pth").state) == ["encoder.layers.encoder_layer_0.mlp.3.bias"]


def test_what_lies_beside_safetensors(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "model.safetensors")
    assert read_weights(tmp_path / "model.safetensors").architecture is None
    (tmp_path / "config.json").write_text("[" * 100_000)  # more levels than Python follows
    assert read_weights(tmp_path / "model.safetensors").architecture is None
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
    found = read_weights(tmp_path / "model.safetensors")
    assert same(found.state)
    assert found.architecture == "resnet18"


def _declaring(length: int, header: bytes) -> bytes:
    return struct.pack("<Q", length) + header


WIDE = b'{"w": {"dtype": "F32", "shape": [1073741824, 64], "data_offsets": [0, 274877906944]}}'
EMPTY = b'{"w": {"dtype": "F32", "shape": [1073741824, 64], "data_offsets": [0, 0]}}'


@pytest.mark.parametrize(
    "content",
    [_declaring(2**62, b""), _declaring(99_000_000, b"{}"), _declaring(len(WIDE), WIDE), _declaring(len(EMPTY), EMPTY)],
    ids=["no header", "a short header", "wide", "nothing of it"],
)
def test_safetensors_that_declare_what_is_not_there(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"w\.safetensors is no \.safetensors file, or a damaged one: [^\n]+$"):
        read_weights(tmp_path / "w.safetensors")
