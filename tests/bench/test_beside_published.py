"""The script that times the published code, on a folder that looks like it."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from asim_lightning.surgery import macro_layers
from tests.bench.conftest import classifier, some_images
from tests.exchange.published.test_modules import write_published

_spec = importlib.util.spec_from_file_location(
    "beside_published", Path(__file__).parents[2] / ".ci" / "beside_published.py"
)
script: Any = importlib.util.module_from_spec(_spec)
sys.modules["beside_published"] = script
_spec.loader.exec_module(script)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return write_published(tmp_path / "published")


def test_comparison(published: Path) -> None:
    model = classifier(random_noise=0.05)
    layer = model.backbone.get_submodule("layer1.0.conv2")
    layer.macro = layer.macro.with_fields(adc_bits=None)
    model.fidelity = "float"
    found = {each.name: each for each in script.compare(model, script.load_published(published), some_images(4), 2, 2)}
    assert model.fidelity == "float"
    refused = found.pop("layer1.0.conv2")
    assert (refused.ours, refused.published) == (None, None)
    assert refused.why_not == "an ideal converter"
    assert {"layer1.0.conv1", "fc"} <= found.keys()
    for each in found.values():
        assert (each.engine, each.why_not) == ("events", "")
        assert min(each.ours, each.published) > 0
    assert f"{len(found)} layers" in script.table([refused, *found.values()]).splitlines()[-1]


def test_a_recipe_with_other_noise() -> None:
    model = script.classifier("quickstart", {"random_noise": 0.2})
    assert {layer.macro.random_noise for layer in macro_layers(model.backbone).values()} == {0.2}
