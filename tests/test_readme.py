"""The README's Python runs as it stands there, block after block."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import asim_lightning
from asim_lightning.surgery import macro_layers

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.filterwarnings("ignore")
def test_the_python_blocks_run(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    assert len(blocks) == 2
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"README block {number}", "exec"), names)
    said = capsys.readouterr().out
    assert re.findall(r"^(float|quantized|simulated) \d of 8$", said, re.M) == ["float", "quantized", "simulated"]
    model, images = names["model"], names["images"]
    macros = {layer.macro.random_noise for layer in macro_layers(model).values()}
    assert macros == {"0.3 lsb"}
    assert names["loss"].isfinite()
    with torch.no_grad():
        assert torch.equal(names["program"].module()(images), model(images))


def test_what_is_exported_at_the_top_is_there() -> None:
    for name in asim_lightning.__all__:
        assert getattr(asim_lightning, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'set_fidelity'"):
        asim_lightning.set_fidelity
