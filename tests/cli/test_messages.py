"""Trees of jsonargparse's errors become one readable line."""

import pytest

from asim_lightning.cli.messages import no_setting, one_line

KNOWN = [
    "config",
    "model.backbone.name",
    "model.plan.macro.adc_bits",
    "model.plan.macro.votes",
    "model.plan.macro.vote",
    "model.trial",
    "data.init_args.batch_size",
    "trainer.max_epochs",
]

UNION = """Parser key "axes.adc_bits":
  Does not validate against any of the Union subtypes
  Subtypes: [list[int | None], <class 'NoneType'>]
  Errors:
    - Does not validate against any of the Union subtypes
      Subtypes: [<class 'int'>, <class 'NoneType'>]
      Errors:
        - Expected a <class 'int'>
        - Expected a <class 'NoneType'>
      Given value type: <class 'float'>
      Given value: 1.5
    - Expected a <class 'NoneType'>
  Given value type: <class 'list'>
  Given value: [None, 1.5]"""

CLASS = """Parser key "data":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'lightning.pytorch.core.datamodule.LightningDataModule'>, <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'asim_lightning.data.FashionMNIST':
        Option 'batchsize' is not accepted
    - Expected a <class 'NoneType'>
  Given value type: <class 'dict'>
  Given value: {'class_path': 'asim_lightning.data.FashionMNIST'}"""

REASON = """Does not validate against any of the Union subtypes
Subtypes: [<class 'LightningDataModule'>, <class 'NoneType'>]
Errors:
  - test_images must be at least 1, got 0.
  - Expected a <class 'NoneType'>
Given value type: <class 'jsonargparse._namespace.Namespace'>
Given value: Namespace(class_path='asim_lightning.data.FashionMNIST')"""

LITERAL = """Parser key "trainer.precision":
  Does not validate against any of the Union subtypes
  Subtypes: [typing.Literal[64, 32], typing.Literal['bf16-true', '64-true'], <class 'NoneType'>]
  Errors:
    - Expected a typing.Literal[64, 32]
  Given value type: <class 'str'>
  Given value: 17"""


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (UNION, "`axes.adc_bits` must be a list of integers or null, got [None, 1.5]"),
        (CLASS, "`data.init_args.batchsize` is no setting; nearest: data.init_args.batch_size, "),
        (REASON, "test_images must be at least 1, got 0."),
        (LITERAL, "must be one of 64, 32 or one of bf16-true, 64-true or null, got 17"),
        ("Parser key \"a.b\":\n  Expected a <class 'bool'>. Got value: x", "`a.b` must be true or false, got x"),
        ("Group 'model' does not accept option 'plan.macro.adc_bit'", "nearest: model.plan.macro.adc_bits"),
        ("Subcommand 'fit' does not accept option 'trainer.max_epoch'", "nearest: trainer.max_epochs"),
        (
            "unrecognized arguments: --trainer.max_epoch=3 --x",
            "`--trainer.max_epoch` is no setting; nearest: --trainer",
        ),
        ("unrecognized arguments: 3", "'3' is no option"),
        ("something\n  else", "something else"),
        ("", ""),
    ],
)
def test_one_line(message: str, expected: str) -> None:
    said = one_line(message, KNOWN)
    assert expected in said
    assert "\n" not in said
    assert "Union" not in said


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("model.plan.macro.adc_bit", "; nearest: model.plan.macro.adc_bits"),
        ("model.plan.macro.vot", "; nearest: model.plan.macro.vote, model.plan.macro.votes"),
        ("modl.plan.macro.votes", "; nearest: model"),
        ("macro.votes", "; nearest: model.plan.macro.votes"),
        ("adc_bits", "; nearest: model.plan.macro.adc_bits"),
        ("model.plan.macro.zzz", "; model.plan.macro has adc_bits, votes, vote"),
        ("zzz", "; there are config, model, data, trainer"),
        ("model.plan", "cannot be set as a whole"),
    ],
)
def test_near_names(given: str, expected: str) -> None:
    assert no_setting(given, KNOWN).endswith(expected)


def test_nothing_is_known() -> None:
    assert no_setting("zzz", []) == "`zzz` is no setting"
