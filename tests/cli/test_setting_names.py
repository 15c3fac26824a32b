"""The nearest names to a wrong one."""

import pytest

from asim_lightning.cli.commands import COMMANDS, OPTIONS_OF_STUDIES
from asim_lightning.cli.options import own_options
from asim_lightning.cli.setting_names import arguments_of, class_of, nearest
from asim_lightning.data import CIFAR10

KNOWN = [
    "model.plan.macro.adc_bits", "model.plan.macro.adc_low", "model.plan.macro.nonlinear_noise",
    "model.plan.macro.random_noise", "model.train_noise", "model.noise_seed", "trainer.max_epochs", "axes.random_noise",
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (
            "model.plan.macro.noise",
            ["model.plan.macro.nonlinear_noise", "model.plan.macro.random_noise", "model.train_noise"],
        ),
        ("axes.noise", ["axes.random_noise", "model.plan.macro.nonlinear_noise", "model.plan.macro.random_noise"]),
        ("adc_bits", ["model.plan.macro.adc_bits"]),
        ("model.plan.macro.adc_bit", ["model.plan.macro.adc_bits", "model.plan.macro.adc_low"]),
        ("trainer.epochs", ["trainer.max_epochs"]),
        ("x", []),
    ],
)
def test_the_same_name_elsewhere_then_a_whole_word_then_letters(given: str, found: list[str]) -> None:
    assert nearest(given, KNOWN) == found


def test_classes_have_short_names_and_the_arguments_of_their_parents() -> None:
    assert class_of("CIFAR10") is class_of("asim_lightning.data.CIFAR10") is CIFAR10
    assert class_of("asim_lightning.data.CIFAR11") is class_of("CIFAR11") is None

    class Mine(CIFAR10):
        def __init__(self, side: int = 3, **others: object) -> None:
            super().__init__(**others)  # type: ignore[arg-type]

    assert {"side", "root", "test_images"} <= set(arguments_of(Mine))


def test_options_that_are_left_out_unread_are_options() -> None:
    known = {name for command in COMMANDS for name in own_options(command)}
    assert known >= OPTIONS_OF_STUDIES
