"""A checkpoint rebuilds its classifier, read as plain values, from Python and from the command line alike."""

from pathlib import Path
from typing import Any

import pytest
import torch

from asim_lightning import CimClassifier, Plan, Rule
from asim_lightning.cli import main
from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.surgery import macro_layers
from tests.classifier.conftest import MakeTrainer, make_data, make_model, save
from tests.commands import parsed


def same(first: CimClassifier, second: CimClassifier) -> None:
    images = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    assert first.hparams == second.hparams
    assert first.optimizer_config == second.optimizer_config
    macros = ({name: layer.macro for name, layer in macro_layers(m.backbone).items()} for m in (first, second))
    assert next(macros) == next(macros)
    for fidelity in ("quantized", "simulated"):
        first.fidelity = second.fidelity = fidelity
        assert torch.equal(first.eval()(images), second.eval()(images))


def test_from_python(make_trainer: MakeTrainer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, trainer, path = make_model(), make_trainer(), tmp_path / "x.ckpt"
    trainer.fit(model, datamodule=make_data())
    trainer.save_checkpoint(path)
    same(model, CimClassifier.load_from_checkpoint(path, map_location="cpu", weights_only=True))
    model.fidelity = "quantized"
    measured = trainer.validate(model, datamodule=make_data(), verbose=False)[0]["val/acc"]
    main(["validate", "--ckpt_path", str(path), "--data.init_args.test_images", "25"])
    said = capsys.readouterr().out.strip().splitlines()[-1]
    assert said == f"accuracy {100 * measured:.2f} % (quantized, {round(25 * measured)} of 25 images)"


def test_signs_of_a_plan_are_kept(tmp_path: Path) -> None:
    model = make_model(plan=Plan(rules=[Rule("head", {"rows": 64}, signed_input=False)], signed_input=True))
    again = CimClassifier.load_from_checkpoint(save(model, tmp_path / "x.ckpt"))
    assert again.hparams == model.hparams
    signs = {name: layer.signed_input for name, layer in quantized_layers(again.backbone).items()}
    assert [name for name, signed in signs.items() if not signed] == ["fc"]
    with_flag = parsed(["test", "-c", "quickstart", "--model.plan.signed_input", "false"]).model.plan
    assert with_flag.signed_input is False


def test_mappings_serve_as_dataclasses_do() -> None:
    model = make_model()
    model.calibrate([torch.randn(4, 1, 28, 28)])
    again = CimClassifier(**model.hparams)
    again.load_state_dict(model.state_dict())
    same(model, again)
    with pytest.raises(TypeError, match="stem_"):
        make_model(plan={"stem_": "float"})


WRONG: dict[str, list[Any]] = {
    "num_classes": [1, True],
    "fidelity": ["exact"],
    "label_smoothing": [1.5],
    "trial": [65536],
    "noise_seed": [-1],
    "chip": [2**32],
    "calibration_images": [0],
    "calibration_method": ["most"],
}


@pytest.mark.parametrize("name", WRONG)
def test_refusals(name: str) -> None:
    for value in WRONG[name]:
        with pytest.raises(ValueError, match=f"`model.{name}` must be .*, got {value!r}"):
            make_model(**{name: value})
