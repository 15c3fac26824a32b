"""A fit that is stopped at any moment, by any signal, on one process or two, goes on to the weights, ranges, metrics
and best epoch of one that is not.

As a program, with a folder and a `Stops`, this runs fits in forked processes, which import Lightning once.
"""

import contextlib
import dataclasses
import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.conftest import write_data
from tests.cli.kills import HOOKS, Kill, differences, fit, program, resumed, warm, write
from tests.cli.runs_to_stop import ROOT, environment, last_of

FAST = ("on_train_batch_start", "on_validation_start", "log_metrics")
DDP = {"devices": 2, "strategy": "ddp"}


@dataclass(frozen=True)
class Stops:
    """Which fit is stopped, where, and by what.

    Args:
        every: Steps between two saves; None: after each epoch.
        trainer: Settings of the trainer.
        sent: Name of the signal.
        hooks: Hooks at which it is sent.
        first: The call of each hook at which it is sent first.
        step: Calls from there to the next.
        ranks: Processes that send it, one after the other.
        model: The noise of training.
    """

    every: int | None = None
    trainer: dict[str, Any] = field(default_factory=dict)
    sent: str = "SIGKILL"
    hooks: tuple[str, ...] = HOOKS
    first: int = 1
    step: int = 1
    ranks: tuple[int, ...] = (0,)
    model: str = "proportional"


def run_all(folder: Path, stops: Stops) -> None:
    """Stop fits, each in a folder of its own, let them go on, and print what differs and how many kills there were."""
    torch.set_num_threads(1)
    data = write_data(folder / "images")
    warm(folder / "warm", data)
    write(folder / "whole", data, stops.every, stops.trainer, stops.model)
    ended = fit(folder / "whole")
    assert not any(ended), (ended, (folder / "whole" / "said.txt").read_text()[-2000:])
    print(f"{sum(_at_hook(folder, data, stops, hook) for hook in stops.hooks)} kills")


def _at_hook(folder: Path, data: Path, stops: Stops, hook: str) -> int:
    calls = range(stops.first, 100, stops.step)
    for kills, call in enumerate(calls):
        place = folder / f"{hook}-{call}"
        write(place, data, stops.every, stops.trainer, stops.model)
        ended = fit(place, kill=Kill(hook, call, signal.Signals[stops.sent], stops.ranks[kills % len(stops.ranks)]))
        if not any(code != 0 for code in ended):
            return kills
        _say(f"{hook} {call}", folder, place, [f"hung: {ended}"] if None in ended else [])
    return len(calls)


def _say(where: str, folder: Path, place: Path, wrong: list[str]) -> None:
    wrong = wrong + (resumed(place) or differences(place, folder / "whole"))
    print("".join(f"{where}: {each!r}\n" for each in wrong), end="", flush=True)
    print(f"{where} {len(wrong)}", file=sys.stderr, flush=True)


def kills(tmp_path: Path, stops: Stops) -> int:
    """How many kills there were; all fits went on to what they would have been."""
    command = [sys.executable, "-m", "tests.cli.test_kills", str(tmp_path), json.dumps(dataclasses.asdict(stops))]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=None, text=True, timeout=3500
    )
    *wrong, count = done.stdout.splitlines() or [""]
    assert done.returncode == 0
    assert not wrong
    return int(count.split()[0])


SWEEP = {
    "callbacks": [
        {
            "class_path": "asim_lightning.callbacks.NoiseSweep",
            "init_args": {"levels": [0, 2], "images": 10, "every_n_epochs": 2},
        },
        {
            "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
            "init_args": {
                "filename": "best",
                "mode": "max",
                "monitor": "noise/acc_mean",
                "save_weights_only": True,
                "enable_version_counter": False,
            },
        },
    ]
}


SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")
STEPS = {"max_epochs": 50, "max_steps": 10}
OTHERS = (
    {"val_check_interval": 2}, {"accumulate_grad_batches": 2}, {"limit_train_batches": 3}, STEPS,
    {**STEPS, "limit_train_batches": 3}, {"max_time": "00:01:00:00"},
)  # fmt: skip
STOPS = [
    *(Stops(every, sent=sent, step=1 if sent == "SIGKILL" else 4) for every in (None, 1, 2) for sent in SIGNALS),
    *(Stops(every, trainer, step=2) for every in (None, 2) for trainer in OTHERS),
    Stops(None, model="macro", step=4),
    *(
        Stops(every, DDP, sent, step=2 if sent == "SIGKILL" else 4, ranks=(0, 1))
        for every in (None, 1)
        for sent in SIGNALS
    ),
]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stops", STOPS, ids=str)
def test_a_stopped_fit_goes_on_to_what_it_would_have_been(stops: Stops, tmp_path: Path) -> None:
    assert kills(tmp_path, stops) >= 15


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("trainer", [SWEEP, SWEEP | DDP], ids=["one", "two"])
def test_accuracy_under_noise_that_is_not_measured_in_each_epoch(trainer: dict[str, Any], tmp_path: Path) -> None:
    assert kills(tmp_path, Stops(2, trainer, hooks=FAST, first=4, step=2)) >= 5


@pytest.fixture(scope="module")
def whole_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit on two processes that nothing stopped."""
    folder = tmp_path_factory.mktemp("two")
    write(folder / "whole", write_data(folder / "images"), 1, DDP)
    assert program(folder / "whole") == 0
    return folder / "whole"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("sent", "rank", "to", "code"),
    [
        ("SIGKILL", 0, "all", -9),
        ("SIGTERM", 0, "all", 143),
        ("SIGTERM", 1, "all", 143),
        ("SIGINT", 0, "all", 130),
        ("SIGINT", 1, "all", 130),
        ("SIGTERM", 0, "itself", 143),
        ("SIGINT", 0, "itself", 130),
        ("SIGKILL", 0, "itself", -9),
        # the first process ends because the other is gone, by itself or by Lightning, which looks after its children
        ("SIGTERM", 1, "itself", None),
        ("SIGKILL", 1, "itself", None),
    ],
)
def test_the_program_ends_with_all_its_processes(
    sent: str, rank: int, to: str, code: int | None, whole_of_two: Path, tmp_path: Path
) -> None:
    write(tmp_path, whole_of_two.parent / "images", 1, DDP)
    kill = Kill("on_before_optimizer_step", 6, signal.Signals[sent], rank, to)
    ended = program(tmp_path, kill=kill)
    assert ended in ([1, -9] if code is None else [code])
    assert program(tmp_path, "--ckpt_path", "last") == 0
    assert not differences(tmp_path, whole_of_two)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("sent", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_forked_processes_end_with_the_one_that_started_them(
    sent: str, code: int, images: Path, tmp_path: Path
) -> None:
    write(tmp_path, images, 1, {"devices": 2, "strategy": "ddp_fork", "max_epochs": 30})
    assert program(tmp_path, kill=Kill("on_train_batch_end", 6, signal.Signals[sent], to="parent")) == code
    assert torch.load(last_of(tmp_path), weights_only=True)["global_step"] < 100


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells ignore for what runs in the background
    given = json.loads(sys.argv[2])
    with contextlib.suppress(BrokenPipeError):
        run_all(Path(sys.argv[1]), Stops(**given))
