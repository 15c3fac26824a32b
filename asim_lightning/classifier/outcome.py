"""An outcome: one number a sample, from a network's outputs and their targets."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.checks import check_choice
from asim_lightning.nn.inputs import batch_size, tensors_of
from asim_lightning.table import ShownAs

IGNORED = -100
"""Target of a token that is not counted, as in torch's cross-entropy."""
_NO_CLASS = (IGNORED, 255)
"""Targets of pixels that are not counted."""
_UNNAMED = "outcome"
"""Name of the outcome of a lambda."""
TRAINING_LOSS = "train/loss"
"""Name of the loss that a fit logs."""


def predictions(outputs: Tensor) -> Tensor:
    """The likeliest class of each sample. # (batch, classes) to (batch,)"""
    return outputs.softmax(dim=-1).max(dim=-1)[1]


def right(outputs: Tensor, targets: Tensor) -> Tensor:
    """1 if the likeliest class is the target, else 0. # (batch, classes), (batch,)"""
    if outputs.dim() != 2 or targets.shape != outputs.shape[:1]:
        raise ValueError(
            "the outcome accuracy takes outputs (batch, classes) and one label a sample, got outputs "
            f"{tuple(outputs.shape)} and targets {tuple(targets.shape)}; `outcome` names another one"
        )
    _check_classes("labels", targets, outputs.shape[1])
    return predictions(outputs) == targets


def _sizes(outputs: Any, targets: Any, error: Exception) -> str:
    """The shapes of outputs and targets that a function refused, and its first line."""
    shapes = " and targets ".join(str(tuple(getattr(each, "shape", ()))) for each in (outputs, targets))
    reason = str(error).partition("\n")[0]
    return f"outputs {shapes}: {reason}"


def _check_classes(what: str, targets: Tensor, classes: int, but: Sequence[int] = ()) -> None:
    """Refuse targets that are no class, which would count as wrong or be left out, and are not in `but`."""
    targets = targets if targets.is_floating_point() else targets.long()  # a byte cannot be compared with -100
    wrong = (targets < 0) | (targets >= classes)
    if targets.is_floating_point():
        wrong |= targets != targets.round()
    for each in but:
        wrong &= targets != each
    if bool(wrong.any()):
        allowed = ", ".join(map(str, (f"0..{classes - 1}", *but)))
        given = f"{targets[wrong].min().item()}..{targets[wrong].max().item()}"
        raise ValueError(f"{what} must be {allowed}, because the network has {classes} outputs, got {given}")


def right_labels(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of a sample's labels that are right: logits above 0 are yes. # (batch, labels) both"""
    answers, wanted = outputs.reshape(len(outputs), -1), targets.reshape(len(targets), -1)
    if answers.shape != wanted.shape or not bool(((wanted >= 0) & (wanted <= 1)).all()):
        raise ValueError(
            f"targets of multi-label must be 0 or 1 for each of the {answers.shape[1]} outputs, got "
            f"{tuple(targets.shape)} with {float(wanted.min()):g} to {float(wanted.max()):g}"
        )
    return ((answers > 0) == (wanted > 0.5)).float().mean(dim=1)


def mean_iou(outputs: Tensor, targets: Tensor) -> Tensor:
    """Intersection over union, averaged over the classes in a sample's target or prediction.

    Pixels with the target 255 or -100 do not count. # (batch, classes, ...), (batch, ...) to (batch,)
    """
    _check_classes("targets of pixels", targets, outputs.shape[1], _NO_CLASS)
    classes, found = outputs.shape[1], outputs.argmax(dim=1).flatten(1)
    wanted = targets.long().flatten(1)
    counted = (wanted >= 0) & (wanted < classes)
    one, other = (
        F.one_hot(each.where(counted, torch.zeros_like(each)).long(), classes) * counted[..., None]
        for each in (found, wanted)
    )
    both, either = (one * other).sum(dim=1).double(), (one | other).sum(dim=1).double()  # (batch, classes)
    # a sample without any class counts as right
    return torch.where(either > 0, both / either, torch.nan).nanmean(dim=1).nan_to_num(1.0)


def right_tokens(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of a sample's tokens, from the second one, that the outputs before them predict.

    # (batch, tokens, vocabulary), (batch, tokens)

    Raises:
        ValueError: A sample has no counted token, or a target is no token.
    """
    wanted, counted = _next_tokens(outputs, targets)
    hits = outputs[:, :-1].argmax(dim=-1) == wanted  # a target that is not counted is no class
    return hits.sum(dim=1).double() / counted


def _classes_second(outputs: Tensor, targets: Tensor) -> Tensor:
    """Outputs with their classes in the second axis, as torch's cross-entropy takes them; tokens have them in the last.

    # (batch, classes, ...) or (batch, tokens, vocabulary), (batch, ...)
    """
    if outputs.dim() != 3 or targets.is_floating_point() or targets.shape != outputs.shape[:2]:
        return outputs
    if outputs.shape[1] == outputs.shape[2]:
        raise ValueError(
            "the outcome loss takes outputs (batch, classes, ...) or (batch, tokens, vocabulary), and cannot tell them "
            f"apart for outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)}; `outcome` may be a function"
        )
    return outputs.transpose(1, 2)


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of a sample, the mean over its pixels or tokens with a target that is not -100.

    # (batch, classes, ...) or (batch, tokens, vocabulary), (batch, ...)
    """
    outputs = _classes_second(outputs.float(), targets)
    if not targets.is_floating_point() and outputs.dim() > 1:
        _check_classes("targets", targets, outputs.shape[1], (IGNORED,))
    each = F.cross_entropy(outputs, targets, reduction="none").reshape(len(targets), -1)
    if targets.is_floating_point():
        return each.mean(dim=1)
    counted = (targets != IGNORED).reshape(len(targets), -1).sum(dim=1)
    return each.sum(dim=1) / counted.clamp(min=1)


def class_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of torch's cross-entropy, for the shapes of `cross_entropy`."""
    return F.cross_entropy(_classes_second(outputs, targets), targets)


def pixel_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of the pixels with a class as target. # (batch, classes, ...), (batch, ...)"""
    is_class = (targets >= 0) & (targets < outputs.shape[1])
    return F.cross_entropy(outputs, targets.where(is_class, IGNORED), ignore_index=IGNORED)


def label_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross-entropy of labels. # (batch, labels) both"""
    return F.binary_cross_entropy_with_logits(outputs, targets.to(outputs))


def token_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of the tokens from the second one. # (batch, tokens, vocabulary), (batch, tokens)"""
    return F.cross_entropy(outputs[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), ignore_index=IGNORED)


def _next_tokens(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Targets from the second token, and the number of counted ones in each sample. # (batch, tokens - 1), (batch,)"""
    wanted = targets[:, 1:]
    _check_classes("targets of tokens", wanted, outputs.shape[-1], (IGNORED,))
    counted = (wanted != IGNORED).sum(dim=1)
    if not bool(counted.all()):
        raise ValueError(
            "targets of tokens must have a counted one after the first in each window, got a window in which all are "
            f"{IGNORED}"
        )
    return wanted, counted


def token_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-likelihood of a sample's tokens from the second one, in nats.

    # (batch, tokens, vocabulary), (batch, tokens) to (batch,)

    Raises:
        ValueError: A sample has no counted token, or a target is no token.
    """
    wanted, counted = _next_tokens(outputs, targets)
    # one sample after the other, because a copy of all logits of a batch may take a gigabyte
    each = torch.stack(
        [
            F.cross_entropy(logits.float(), tokens.long(), ignore_index=IGNORED, reduction="none")
            for logits, tokens in zip(outputs[:, :-1], wanted, strict=True)
        ]
    )
    return each.double().sum(dim=1) / counted


def likeliest_tokens(outputs: Tensor, targets: Tensor) -> Tensor:
    """The likeliest token at the place of each counted target, from the second one; -1 at the places of others.

    # (batch, tokens, vocabulary), (batch, tokens) to (batch, tokens - 1)
    """
    return outputs[:, :-1].argmax(dim=-1).masked_fill(targets[:, 1:] == IGNORED, -1)


@dataclass(frozen=True)
class Outcome:
    """One number a sample. A study measures its mean over samples.

    Attributes:
        name: Name of the mean in tables and pictures, such as "accuracy".
        number: From outputs and targets of a batch to one number a sample. # (batch, ...), (batch, ...) to (batch,)
        shown_as: How tables show the mean: percent (numbers are shares, 0..1), number, or exponential (numbers are
            logarithms, as of a perplexity; tables show the exponential of their mean, and changes of it in percent).
        more_is_better: Whether a larger mean is better: true for an accuracy, false for a loss.
        loss: Loss that `asim fit` minimises: from outputs and targets of a batch to the mean loss of its samples.
        note: What a reader of the mean should know, a line below tables.

    Raises:
        ValueError: `shown_as` is none of these, or the numbers are shares, and less is better.

    Examples:
        >>> import torch
        >>> from asim_lightning import Outcome
        >>> error = Outcome("error", lambda outputs, targets: (outputs - targets).abs(), "number", more_is_better=False)
        >>> error.number(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.0]))
        tensor([0.5000, 0.0000])
        >>> Outcome.of("perplexity").shown_as
        'exponential'
    """

    name: str = "accuracy"
    number: Callable[[Any, Any], Tensor] = right
    shown_as: ShownAs = "percent"
    more_is_better: bool = True
    loss: Callable[[Any, Any], Tensor] = F.cross_entropy
    note: str = ""

    def __post_init__(self) -> None:
        check_choice("`shown_as` of an Outcome", self.shown_as, get_args(ShownAs))
        if self.is_share and not self.more_is_better:  # targets and yields ask for at least a share
            raise ValueError(
                f"the outcome {self.name} cannot be a share with less being better; give 1 minus it, or "
                "shown_as='number'"
            )

    @property
    def is_share(self) -> bool:
        """Whether its numbers are 0..1."""
        return self.shown_as == "percent"

    @property
    def _words(self) -> str:
        """The outcome in messages; a lambda has no name."""
        return "the outcome" if self.name == _UNNAMED else f"the outcome {self.name}"

    @property
    def metric(self) -> str:
        """The name in logged metrics, such as acc or mean_iou."""
        if self.number is right:
            return "acc"
        found = re.sub(r"\W+", "_", self.name).lower()
        # "loss" is what fits minimise
        return "own_loss" if found == "loss" and self.number is not cross_entropy else found

    def logged_as(self, stage: str, is_estimate: bool, k: int = 1) -> str:
        """Name of the logged mean, such as val/acc, test/acc5 (of the k likeliest classes), val/mean_iou, or
        val/acc_estimate: the quick estimate never has the name of a simulated accuracy."""
        return f"{stage}/{self.metric}{'' if k == 1 else k}{'_estimate' if is_estimate else ''}"

    @classmethod
    def of(cls, given: "str | Callable[[Any, Any], Tensor] | Outcome") -> "Outcome":
        """The outcome that a user asks for: by name, or by a function that gives 0..1; tables show the function's name,
        or "outcome" if it has none, as a lambda.

        Args:
            given: A name, a function, an outcome, or the import path of a function or outcome, such as my_mod.score.

        Raises:
            ValueError: There is none of this name.
        """
        if isinstance(given, str) and "." in given:
            try:
                given = resolve_name(given)
            except (ImportError, AttributeError, ValueError) as error:
                raise ValueError(f"`outcome` {given} cannot be imported: {error}") from None
        if isinstance(given, Outcome):
            return given
        if callable(given):
            name = getattr(given, "__name__", "")
            return cls(name.replace("_", " ") if name.isidentifier() else _UNNAMED, given)
        named = {**{each.name: each for each in OUTCOMES.values()}, **OUTCOMES}
        if given not in named:
            check_choice("`outcome`, if it is no function and no Outcome,", given, tuple(OUTCOMES))
        return named[given]

    def check(self, inputs: Any, targets: Any) -> None:
        """Refuse targets of next tokens that are the inputs shifted by one: they would be shifted twice.

        Raises:
            ValueError: They are.
        """
        are_tokens = all(isinstance(each, Tensor) and not each.is_floating_point() for each in (inputs, targets))
        if self.number not in OF_TOKENS or not are_tokens:
            return
        if inputs.shape != targets.shape or inputs.dim() != 2 or inputs.shape[1] < 2:
            return
        idle = targets == IGNORED
        if bool(((targets == inputs) | idle).all()):
            return
        is_shifted, counted = targets[:, :-1] == inputs[:, 1:], ~idle[:, :-1]
        if bool(counted.any()) and bool(is_shifted[counted].all()):
            raise ValueError(
                f"targets of {self.name} must be the input tokens, because the outcome compares each output with the "
                "token after it, got the tokens shifted by one"
            )

    def read(self, outputs: Any) -> Any:
        """The part of a network's outputs that the outcome takes.

        A named outcome takes logits: a tensor, or the `logits` or `out` of an object or mapping, such as an output of
        transformers or of torchvision's segmentation. A user's outcome takes the outputs unchanged.

        Raises:
            ValueError: A named outcome finds no logits.
        """
        if isinstance(outputs, Tensor) or all(self.number is not each.number for each in OUTCOMES.values()):
            return outputs
        for name in ("logits", "out"):
            found = outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)
            if isinstance(found, Tensor):
                return found
        names = f" of {', '.join(map(str, outputs))}" if isinstance(outputs, Mapping) else ""
        raise ValueError(
            f"{self._words} takes a tensor of logits, or outputs with `logits` or `out`, got a "
            f"{type(outputs).__name__}{names}; `outcome` also takes your function of outputs and targets"
        )

    def mean_loss(self, outputs: Any, targets: Any) -> Tensor:
        """The loss of a batch.

        Raises:
            ValueError: The loss takes no such outputs.
        """
        try:
            return self.loss(outputs, targets)
        except (IndexError, RuntimeError, TypeError, AttributeError) as error:
            raise ValueError(
                f"the loss of {self._words} does not take {_sizes(outputs, targets, error)}; Outcome(name, function, "
                "loss=...) has a loss of yours"
            ) from error

    def numbers(self, outputs: Any, targets: Any) -> dict[str, Tensor]:
        """The number of each sample of a batch; of an accuracy also the class, of tokens the likeliest ones, and as a
        weight how many count.

        # (batch,), and (batch, tokens - 1) of likeliest tokens
        """
        try:
            found = self.number(outputs, targets)
        except (IndexError, RuntimeError) as error:
            raise ValueError(f"{self._words} does not take {_sizes(outputs, targets, error)}") from error
        count = batch_size(targets) if tensors_of(targets) else len(targets)
        if not isinstance(found, Tensor) or found.shape != (count,):
            got = tuple(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise ValueError(f"{self._words} must give one number a sample, {count} here, got {got}")
        if not bool(found.isfinite().all()):
            raise ValueError(f"{self._words} must give finite numbers, got nan or infinity")
        if self.is_share and not bool(((found >= 0) & (found <= 1)).all()):
            given = f"{float(found.min())} to {float(found.max())}"
            raise ValueError(
                f"{self._words} must give 0..1, got {given}; other numbers need Outcome(name, function, "
                "shown_as='number')"
            )
        values = {"value": found.float()}
        if self.number is right:
            return {**values, "prediction": predictions(outputs)}
        if self.number in OF_TOKENS:
            likeliest = likeliest_tokens(outputs, targets)
            return {**values, "prediction": likeliest, "weight": (likeliest >= 0).sum(dim=1)}
        return values


OF_TOKENS = (right_tokens, token_losses)
"""Numbers of outcomes that compare each output with the next token."""
_MEAN_IOU = "the mean over images of the IoU of each; the IoU of the pixels of all images together is another number"
OUTCOMES: Mapping[str, Outcome] = {
    "accuracy": Outcome(),
    "multilabel": Outcome("multi-label", right_labels, loss=label_loss),
    "segmentation": Outcome("mean IoU", mean_iou, loss=pixel_loss, note=_MEAN_IOU),
    "next_token": Outcome("next token", right_tokens, loss=token_loss),
    "perplexity": Outcome("perplexity", token_losses, "exponential", more_is_better=False, loss=token_loss),
    "loss": Outcome("loss", cross_entropy, "number", more_is_better=False, loss=class_loss),
}
"""Outcomes by the name that users give; the name in tables is accepted too."""
