"""A classifier from a checkpoint alone, as it was: whatever is in the file, none of it runs."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch

from asim_lightning import CimClassifier, MacroConfig, Plan
from asim_lightning.surgery import macro_layers
from tests.classifier.conftest import make_model, save

HOSTILE = """
from pathlib import Path
from asim_lightning.circuit.columns import Column as Charge
from asim_lightning.nn.training_noise import ProportionalNoise
Path("it_ran").touch()
class Curve(Charge): pass
class Mine(ProportionalNoise): pass
"""
NAMES_NOISE = "names the class hostile.Mine for `model.train_noise_model`"
NAMES_COLUMN = "names the class hostile.Curve for `model.plan.macro.column`"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the tiny classifier."""
    return save(make_model(), tmp_path_factory.mktemp("own") / "own.ckpt")


@pytest.fixture
def theirs(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is in it, in a folder where a module of theirs lies."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "hostile.py").write_text(HOSTILE)
    found: dict[str, Any] = torch.load(own, weights_only=True)
    return found


def saved(checkpoint: dict[str, Any]) -> io.BytesIO:
    opened = io.BytesIO()
    torch.save(checkpoint, opened)
    opened.seek(0)
    return opened


def load_theirs(checkpoint: dict[str, Any], message: str, **options: Any) -> None:
    torch.save(checkpoint, "theirs.ckpt")
    with open("theirs.ckpt", "rb") as opened:
        for given in ("theirs.ckpt", Path("theirs.ckpt"), opened, saved(checkpoint)):
            with pytest.raises(ValueError) as caught:
                CimClassifier.load_from_checkpoint(given, **options)
            assert message in str(caught.value)
    assert not Path("it_ran").exists()


def test_a_column_and_a_noise_model_by_import_path(theirs: dict[str, Any]) -> None:
    theirs["hyper_parameters"]["plan"]["macro"]["column"] = "hostile.Curve"
    load_theirs(theirs, NAMES_COLUMN)
    del theirs["hyper_parameters"]["plan"]
    theirs["hyper_parameters"]["train_noise_model"] = "hostile.Mine"
    load_theirs(theirs, NAMES_NOISE)


def test_settings_of_one_argument_are_refused(theirs: dict[str, Any]) -> None:
    theirs |= {"hparams_name": "plan", "hyper_parameters": {"macro": {"column": "hostile.Curve"}}}
    load_theirs(theirs, "`model.macro` is no setting")


def test_a_file_of_settings_and_one_that_may_run_code(own: Path) -> None:
    for options in ({"hparams_file": "x.yaml"}, {"weights_only": False}):
        with pytest.raises(ValueError, match="reads only tensors and plain values"):
            CimClassifier.load_from_checkpoint(own, **options)


def test_no_checkpoint(tmp_path: Path) -> None:
    torch.save([1], tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="with a state_dict, tensors by name, got a list"):
        CimClassifier.load_from_checkpoint(tmp_path / "x.ckpt")
    torch.save({"state_dict": {"a": torch.ones(1, device="meta")}}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="with a state_dict, tensors by name"):  # torch would load nothing in silence
        CimClassifier.load_from_checkpoint(tmp_path / "x.ckpt")


def test_what_the_keyword_arguments_name_is_trusted(theirs: dict[str, Any]) -> None:
    theirs["hyper_parameters"]["plan"]["macro"]["column"] = "hostile.Curve"
    model = CimClassifier.load_from_checkpoint(saved(theirs), plan=Plan(MacroConfig(column="hostile.Curve")))
    assert model.hparams["plan"]["macro"]["column"] == "hostile.Curve"


def test_ones_own_comes_back_and_keyword_arguments_win(own: Path) -> None:
    for given in (own, str(own), io.BytesIO(own.read_bytes())):
        model = CimClassifier.load_from_checkpoint(given)
        assert model.hparams == make_model().hparams
        stored = torch.load(own, weights_only=True)["state_dict"]
        assert all(torch.equal(value, stored[key]) for key, value in model.state_dict().items())
    model = CimClassifier.load_from_checkpoint(own, map_location="cpu", fidelity="float", trial=3)
    assert (model.fidelity, model.trial) == ("float", 3)


def test_a_class_of_ones_own_has_arguments_of_its_own(own: Path) -> None:
    class Mine(CimClassifier):
        def __init__(self, temperature: float = 1.0, **options: Any) -> None:
            super().__init__(**options)
            self.temperature = temperature

    found = torch.load(own, weights_only=True)
    found["hyper_parameters"]["temperature"] = 2.0
    assert Mine.load_from_checkpoint(saved(found)).temperature == 2.0


def test_strictness(own: Path) -> None:
    found = torch.load(own, weights_only=True)
    found["state_dict"].pop(next(key for key in found["state_dict"] if key.endswith("fc.bias")))
    with pytest.raises(RuntimeError, match="Missing key"):
        CimClassifier.load_from_checkpoint(saved(found))
    assert isinstance(CimClassifier.load_from_checkpoint(saved(found), strict=False), CimClassifier)


def same(first: CimClassifier, second: CimClassifier) -> None:
    images = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    assert first.hparams == second.hparams
    assert first.optimizer_config == second.optimizer_config
    macros = ({name: layer.macro for name, layer in macro_layers(m.backbone).items()} for m in (first, second))
    assert next(macros) == next(macros)
    for fidelity in ("quantized", "simulated"):
        first.fidelity = second.fidelity = fidelity
        assert torch.equal(first.eval()(images), second.eval()(images))


def test_mappings_serve_as_dataclasses_do() -> None:
    model = make_model()
    model.calibrate([torch.randn(4, 1, 28, 28)])
    again = CimClassifier(**model.hparams)
    again.load_state_dict(model.state_dict())
    same(model, again)
    with pytest.raises(TypeError, match="stem_"):
        make_model(plan={"stem_": "float"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_classes", 1), ("num_classes", True), ("fidelity", "exact"), ("label_smoothing", 1.5), ("trial", 65536),
        ("noise_seed", -1), ("chip", 2**32), ("calibration_images", 0), ("calibration_method", "most"),
    ],
)  # fmt: skip
def test_refusals(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"`model.{name}` must be .*, got {value!r}"):
        make_model(**{name: value})
