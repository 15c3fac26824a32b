"""Modes, optimiser, milestones and device of a config.py are those of its recipe."""

import pytest

from tests.exchange.published.conftest import Made, values


@pytest.mark.parametrize(
    ("conv", "linear", "noise", "fidelity", "command"),
    [
        ("Simulation", "Simulation", 0.0, "simulated", "validate"),
        ("Inference", "Inference", 0.0, "quantized", "validate"),
        ("Inference", "Inference", 50.0, "estimated", "validate"),
        ("Train", "Train", 50.0, "quantized", "fit"),
        ("Simulation", "Train", 0.0, "simulated", "validate"),
        ("Train", "Inference", 0.0, "quantized", "validate"),
    ],
)
def test_modes(made: Made, conv: str, linear: str, noise: float, fidelity: str, command: str) -> None:
    modes = {"asim_conv_mode": conv, "asim_linear_mode": linear}
    recipe = made(**modes, asim_conv_trim_noise=noise, asim_linear_trim_noise=noise)
    model = values(recipe)["model"]
    assert (model["fidelity"], model["train_noise"]) == (fidelity, noise)
    assert recipe.text.splitlines()[1] == f"# asim {command} -c recipe.yaml"
    noted = [note for note in recipe.notes if "mode = 'Train'" in note or "mode = 'Inference'" in note]
    assert len(noted) == 1 + (conv != linear)


def test_training_settings(made: Made) -> None:
    found = values(
        made(
            **{"label_smooth": True, "label_smooth_eps": 0.09, "mixup": True, "mixup_alpha": 0.4, "max_epoch": 90},
            **{"milestones": [30, 60, 80], "factor": 0.5, "lr_init": 1e-05, "momentum": 0, "weight_decay": 0.0},
        )
    )
    assert found["model"]["mixup"] == 0.4
    assert found["model"]["label_smoothing"] == pytest.approx(0.1)  # torch gives a tenth of it to the right class
    optimizer = found["model"]["optimizer"]
    assert [round(part * 90) for part in optimizer["milestones"]] == [30, 60, 80]
    assert (optimizer["gamma"], optimizer["lr"], optimizer["momentum"]) == (0.5, 1e-5, 0)


@pytest.mark.parametrize(
    ("device", "accelerator", "noted"),
    [("cuda", "auto", False), ("cpu", "cpu", False), ("cpu:1", "cpu", True), ("xpu", "auto", True)],
)
def test_device(made: Made, device: str, accelerator: str, noted: bool) -> None:
    recipe = made(device=device)
    assert values(recipe)["trainer"]["accelerator"] == accelerator
    found = [note for note in recipe.notes if note.startswith("cfg.device = ")]
    assert len(found) == noted
    assert all(f"trainer.accelerator: {accelerator}`" in note for note in found)


def test_milestones_after_the_end_have_no_effect_there(made: Made) -> None:
    recipe = made(max_epoch=7, milestones=[4, 6, 9])
    assert [round(part * 7) for part in values(recipe)["model"]["optimizer"]["milestones"]] == [4, 6]
