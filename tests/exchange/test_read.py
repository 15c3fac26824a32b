"""Files of weights as others write them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from asim_lightning.exchange.read import read_weights

STATE = {"a.weight": torch.arange(3.0), "a.bias": torch.ones(2, dtype=torch.float16)}


def same(found: dict[str, torch.Tensor]) -> bool:
    return set(found) == set(STATE) and all(torch.equal(found[key], value) for key, value in STATE.items())


@pytest.mark.parametrize(
    ("wrapper", "prefix"),
    [("state_dict", "module."), ("model", "_orig_mod."), ("model_state_dict", "module._orig_mod.")],
)
def test_wrapped_parallel_and_compiled(wrapper: str, prefix: str, tmp_path: Path) -> None:
    state = {prefix + key: value for key, value in STATE.items()}
    torch.save({wrapper: state, "epoch": 3}, tmp_path / "given.pth")
    assert same(read_weights(tmp_path / "given.pth").state)
    save_file(state, tmp_path / "given.safetensors")
    assert same(read_weights(tmp_path / "given.safetensors").state)


def test_old_names_of_torchvisions_transformers(tmp_path: Path) -> None:
    torch.save({"encoder.layers.encoder_layer_0.mlp.linear_2.bias": torch.ones(1)}, tmp_path / "given.pth")
    assert list(read_weights(tmp_path / "given.pth").state) == ["encoder.layers.encoder_layer_0.mlp.3.bias"]


def test_what_lies_next_to_safetensors(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "model.safetensors")
    assert read_weights(tmp_path / "model.safetensors").architecture is None
    (tmp_path / "config.json").write_text("[")
    assert read_weights(tmp_path / "model.safetensors").architecture is None
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
    found = read_weights(tmp_path / "model.safetensors")
    assert same(found.state)
    assert found.architecture == "resnet18"


@pytest.mark.parametrize(
    "value", [{}, [1], {"a": 1}, {"state_dict": {"a": [torch.ones(1)]}}, {"a": torch.ones(1, device="meta")}]
)
def test_what_is_no_state_dict(value: object, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="must hold a state dict, tensors by name, got"):
        read_weights(tmp_path / "x.pth")
