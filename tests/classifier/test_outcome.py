"""Outcomes give the number that their name says, and refuse what is no number a sample."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning import Outcome

LOG_2, LOG_3 = math.log(2), math.log(3)


@pytest.mark.parametrize(
    ("name", "outputs", "targets", "expected"),
    [
        ("accuracy", [[0.0, 2.0], [3.0, 1.0]], [1, 1], [1.0, 0.0]),
        ("multi-label", [[1.0, -1.0], [1.0, 1.0]], [[1, 0], [0, 1]], [1.0, 0.5]),
        # three classes, of which pixels are 0, 0, 1, 2 and found as 0, 1, 1, 1; the last target is no class
        ("mean IoU", [[[9, 0, 0, 0], [0, 9, 9, 9], [0, 0, 0, 0]]], [[0, 0, 1, 255]], [(1 / 2 + 1 / 2) / 2]),
        ("next token", [[[0, 9], [9, 0], [0, 9]]], [[1, 1, 1]], [0.5]),
        ("next token", [[[0, 9], [9, 0], [0, 9]]], [[1, 1, -100]], [1.0]),
        # likelihoods of the second and third token are 1/4 and 1/2
        ("perplexity", [[[LOG_3, 0], [5, 5], [0, 9]]], [[1, 1, 0]], [(2 * LOG_2 + LOG_2) / 2]),
        ("perplexity", [[[LOG_3, 0], [5, 5], [0, 9]]], [[1, -100, 0]], [LOG_2]),
    ],
)
def test_an_outcome_is_one_number_a_sample(name: str, outputs: Any, targets: Any, expected: list[float]) -> None:
    found = Outcome.of(name).numbers(torch.tensor(outputs).float(), torch.tensor(targets))
    assert found["value"].tolist() == pytest.approx(expected)
    assert ("prediction" in found) == (name in ("accuracy", "next token", "perplexity"))


@pytest.mark.parametrize(
    ("name", "shape", "wrong", "allowed"),
    [
        ("accuracy", (2, 3), (3, -1, 255, -100), ()),
        ("segmentation", (2, 3, 4), (3, -1, 254), (255, -100)),
        ("next_token", (2, 4, 3), (3, -1, 255), (-100,)),
        ("perplexity", (2, 4, 3), (3, -1, 255), (-100,)),
    ],
)
def test_targets_that_are_no_class_are_refused(
    name: str, shape: tuple[int, ...], wrong: tuple[int, ...], allowed: tuple[int, ...]
) -> None:
    targets = torch.zeros((2, 4)[: len(shape) - 1], dtype=torch.int64)
    for each in (*wrong, *allowed):
        targets.view(-1)[-1] = each
        if each in allowed:
            Outcome.of(name).numbers(torch.zeros(shape), targets)
            continue
        with pytest.raises(ValueError, match=rf"must be 0\.\.2.* has 3 outputs, got {each}\.\.{each}"):
            Outcome.of(name).numbers(torch.zeros(shape), targets)


@pytest.mark.parametrize("name", ["perplexity", "next_token"])
def test_a_window_without_a_counted_token_is_refused(name: str) -> None:
    outputs, targets = torch.zeros(2, 4, 3), torch.zeros(2, 4, dtype=torch.int64)
    targets[1, 1:] = -100  # the first token is only context
    with pytest.raises(ValueError, match=r"^targets of tokens must have a counted one .* all are -100$"):
        Outcome.of(name).numbers(outputs, targets)


def test_next_tokens_that_are_shifted_already_are_refused() -> None:
    tokens = torch.randint(9, (3, 6), generator=torch.Generator().manual_seed(0))
    padded = tokens.clone()
    padded[:, 4:] = -100
    outcome = Outcome.of("next_token")
    for targets in (tokens[:, 1:], padded[:, 1:]):
        for name in ("next_token", "perplexity"):
            with pytest.raises(ValueError, match=r"must be the input tokens, .* got the tokens shifted by one"):
                Outcome.of(name).check(tokens[:, :-1], targets)
        Outcome.of("loss").check(tokens[:, :-1], targets)
    for same in (tokens, torch.ones_like(tokens)):  # equal tokens look shifted
        outcome.check(same, same)
    outcome.check(tokens, padded)
    outcome.check(torch.zeros(3, 6, 2), tokens)


def test_a_loss_is_the_cross_entropy_of_each_sample() -> None:
    outputs, targets = torch.randn(3, 4, 5), torch.randint(4, (3, 5))
    found = Outcome.of("loss").numbers(outputs, targets)["value"]
    assert float(found.mean()) == pytest.approx(float(torch.nn.functional.cross_entropy(outputs, targets)))


def test_a_loss_of_tokens_has_the_vocabulary_last() -> None:
    outputs, targets = torch.randn(3, 5, 4), torch.randint(4, (3, 5))
    targets[0, 2:] = targets[2] = -100
    outcome = Outcome.of("loss")
    found = outcome.numbers(outputs, targets)["value"]
    expected = [float(torch.nn.functional.cross_entropy(outputs[0, :2], targets[0, :2])),
                float(torch.nn.functional.cross_entropy(outputs[1], targets[1])), 0.0]  # fmt: skip
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
    of_tokens = torch.nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())
    assert float(outcome.loss(outputs, targets)) == pytest.approx(float(of_tokens))
    for loss in (outcome.number, outcome.loss):  # four tokens of four words, or four classes of four pixels
        with pytest.raises(ValueError, match=r"cannot tell them apart for outputs \(3, 4, 4\)"):
            loss(torch.zeros(3, 4, 4), torch.zeros(3, 4, dtype=torch.int64))


def off_by(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs[:, 0] - targets).abs()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (lambda outputs, targets: 0.5, "got a float"),
        (lambda outputs, targets: outputs, r"got \(2, 2\)"),
        (lambda outputs, targets: targets / 0, "finite numbers"),
        (lambda outputs, targets: targets + 1.0, r"must give 0\.\.1, got 2\.0 to 3\.0; other numbers"),
    ],
)
def test_what_is_no_number_a_sample_is_refused(number: Callable[..., Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Outcome("mine", number).numbers(torch.zeros(2, 2), torch.tensor([1, 2]))


def test_names_of_recipes_and_tables_and_import_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, shown in (("segmentation", "mean IoU"), ("multilabel", "multi-label"), ("next_token", "next token")):
        assert Outcome.of(name) == Outcome.of(shown)
        assert Outcome.of(name).name == shown
    assert Outcome.of(f"{__name__}.off_by") == Outcome("off by", off_by)
    for nameless in (lambda outputs, targets: targets, partial(off_by)):
        assert (Outcome.of(nameless).name, Outcome.of(nameless).metric) == ("outcome", "outcome")
    assert [Outcome.of(name).metric for name in ("accuracy", "segmentation", "loss")] == ["acc", "mean_iou", "loss"]
    with pytest.raises(ValueError, match=r"`outcome` os\.none cannot be imported"):
        Outcome.of("os.none")
    with pytest.raises(ValueError, match=r"`outcome`, if .*, must be one of .*; did you mean segmentation\?"):
        Outcome.of("segmentaton")


@pytest.mark.parametrize("name", ["accuracy", "segmentation", "multilabel", "next_token"])
def test_a_step_against_the_gradient_of_its_loss_betters_an_outcome(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = {"accuracy": (8, 3), "segmentation": (8, 3, 5, 5), "multilabel": (8, 3), "next_token": (8, 6, 3)}
    outputs = torch.randn(shapes[name], generator=generator).requires_grad_()
    targets = {
        "accuracy": torch.randint(3, (8,), generator=generator),
        "segmentation": torch.randint(3, (8, 5, 5), generator=generator).index_fill(1, torch.tensor([0]), 255),
        "multilabel": torch.randint(2, (8, 3), generator=generator),
        "next_token": torch.randint(3, (8, 6), generator=generator),
    }[name]
    outcome = Outcome.of(name)
    outcome.loss(outputs, targets).backward()
    before = outcome.numbers(outputs.detach(), targets)["value"].mean()
    stepped = outputs.detach() - 300 * outputs.grad
    assert outcome.numbers(stepped, targets)["value"].mean() > before + 0.1


def test_a_share_of_which_less_is_better_is_refused() -> None:
    with pytest.raises(ValueError, match="the outcome error rate cannot be a share with less being better"):
        Outcome("error rate", more_is_better=False)
