"""Each public name is in the reference, and the example in its docstring runs and prints what it says."""

import doctest
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import asim_lightning
from asim_lightning import backbone, callbacks, circuit, classifier, data, engine, nn
from asim_lightning.cost import technology

PAGE = Path(__file__).parents[1] / "notebooks" / "guide" / "reference.md"
LISTED = re.findall(r"^::: ([\w.]+)$", PAGE.read_text(encoding="utf-8"), re.M)
PUBLIC = {
    asim_lightning: asim_lightning.__all__,
    nn: set(nn.__all__) - set(asim_lightning.__all__),
    callbacks: callbacks.__all__,
    data: data.__all__,
    circuit: [
        name for name, each in vars(circuit).items() if isinstance(each, type) and issubclass(each, circuit.Column)
    ],
    engine: ["noise_context"],
    backbone: ["BackboneConfig"],
    classifier: ["OptimizerConfig"],
    technology: ["Technology"],
}
PATHS = [f"{module.__name__}.{name}" for module, names in PUBLIC.items() for name in sorted(names)]


def object_of(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(sys.modules[module], name)


def test_the_reference_lists_the_public_names_once() -> None:
    assert sorted(LISTED) == sorted(PATHS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", PATHS)
def test_the_example_of_a_name_prints_what_it_says(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    found = object_of(path)
    text = inspect.cleandoc(found.__doc__)
    assert "\nExamples:\n" in text
    # no names but its own: a reader can paste it
    example = doctest.DocTestParser().get_doctest(text, {}, path, None, None)
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert result.attempted > 1
    assert not result.failed, "".join(said)


def test_the_page_of_recipe_keys_has_the_keys_of_every_shipped_recipe() -> None:
    text = (PAGE.parent / "recipe.md").read_text(encoding="utf-8")
    listed = {key for cell in re.findall(r"^\| (`.*?`) \|", text, re.M) for key in re.findall(r"`([\w.]+)`", cell)}
    recipes = [
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in (PAGE.parents[2] / "configs").glob("*.yaml")
    ]
    given = [each for each in recipes if "chip" not in each]  # a published macro is no recipe
    assert len(given) > 15
    assert not {key for each in given for key in each} - listed
    assert (
        not {f"{group}.{key}" for each in given for group in ("model", "data") for key in each.get(group, {})} - listed
    )
    plans = [each["model"].get("plan", {}) for each in given if "model" in each]
    assert not {f"model.plan.{key}" for each in plans for key in each} - listed
