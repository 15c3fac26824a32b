"""Optimizers and schedules do what their settings say."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from asim_lightning.classifier import OptimizerConfig
from asim_lightning.classifier.optimizer import build_optimizer
from tests.classifier.conftest import MakeTrainer, make_data, make_model


def rates(config: OptimizerConfig, epochs: int = 10, steps: int = 20) -> list[float]:
    """Learning rate before each advance of the schedule."""
    optimizer, schedule, interval = build_optimizer(config, [nn.Parameter(torch.zeros(1))], epochs, steps)
    found = []
    for _ in range(epochs if interval == "epoch" else steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return [*found, optimizer.param_groups[0]["lr"]]


def test_multistep_lowers_after_its_fractions() -> None:
    found = rates(OptimizerConfig(lr=1.0, milestones=[0.5, 0.8], gamma=0.1))
    assert found == pytest.approx([1.0] * 5 + [0.1] * 3 + [0.01] * 3)


def test_cosine_ends_at_0_after_the_last_step() -> None:
    found = rates(OptimizerConfig(lr=1.0, schedule="cosine"))
    assert found[0] == 1.0
    assert found[10] == pytest.approx(0.5)
    assert found[-1] == pytest.approx(0.0, abs=1e-9)
    assert all(later < earlier for earlier, later in pairwise(found))


def test_a_schedule_that_rises_has_the_same_parts_in_a_short_fit() -> None:
    """A fit of 4 steps goes on with 40."""
    config = OptimizerConfig(lr=1.0, schedule="cosine", warmup=0.1)
    (_, short, _), (_, longer, _) = (build_optimizer(config, [nn.Parameter(torch.zeros(1))], 1, n) for n in (4, 40))
    assert short is not None
    assert longer is not None
    longer.load_state_dict(short.state_dict())
    assert rates(config, steps=4)[:2] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_kinds(name: str, kind: type) -> None:
    config = OptimizerConfig(name, lr=0.2, momentum=0.8, weight_decay=0.01)
    optimizer, _, _ = build_optimizer(config, [nn.Parameter(torch.zeros(1))], 1, 1)
    assert type(optimizer) is kind
    group = optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"], group.get("momentum", 0.8)) == (0.2, 0.01, 0.8)


@pytest.mark.parametrize(("schedule", "last"), [("multistep", 0.01), ("cosine", 0.0)])
def test_the_trainer_advances_the_schedule_where_gradients_are_accumulated(
    schedule: str, last: float, make_trainer: MakeTrainer
) -> None:
    """Five batches, four of which are accumulated, are two steps; the milestone is the third of four epochs."""
    model = make_model(optimizer=OptimizerConfig(lr=0.1, schedule=schedule, milestones=[0.8]))
    trainer = make_trainer(max_epochs=4, limit_train_batches=5, limit_val_batches=0, accumulate_grad_batches=4)
    trainer.fit(model, datamodule=make_data(batch_size=4))
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(last, abs=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "lion"}, {"schedule": "step"}, {"lr": 0.0}, {"lr": float("nan")}, {"gamma": -1.0}, {"momentum": 1.5},
        {"weight_decay": -1.0}, {"milestones": [0.5, 60.0]}, {"warmup": 1.0}, {"warmup": 0.5},
    ],
)  # fmt: skip
def test_refusals(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"`model.optimizer.{next(iter(wrong))}` must be "):
        OptimizerConfig(**wrong)
