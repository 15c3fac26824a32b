"""A fit that is stopped at any moment, by any signal, goes on to the weights, ranges, metrics and best epoch of one
that is not; a fit on two processes ends with both of them.

As a program, with a folder and the stops, this runs fits in forked processes, which import Lightning once.
"""

import contextlib
import importlib
import io
import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from asim_lightning.cli import main
from tests.cli.conftest import ROOT, environment, last_of, write_data
from tests.cli.kills import HOOKS, differences, fit, kill, program, resumed, write

DDP = {"devices": 2, "strategy": "ddp"}


def stop_fits(
    folder: Path,
    every: int | None = None,
    trainer: Mapping[str, Any] | None = None,
    sent: str = "SIGKILL",
    hooks: Sequence[str] = HOOKS,
    first: int = 1,
    step: int = 1,
    model: str = "proportional",
) -> None:
    """Stop fits at the first call of each hook and every `step` calls later, let them go on, and print what differs.

    The fits save `every` so many steps, or after each epoch. The last line has the number of kills.
    """
    data, kills = write_data(folder / "images"), 0
    # import and read once what each fit would import and read again
    for name in ("asim_lightning.data", "lightning.pytorch", "safetensors", "tensorboard", "timm"):
        importlib.import_module(name)
    config = write(folder / "whole", data, every, dict(trainer or {}), model)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main(["fit", "-c", str(config), "--print_config"])
    assert fit(folder / "whole") == 0, (folder / "whole" / "said.txt").read_text()[-2000:]
    for hook in hooks:
        for call in range(first, 100, step):
            place = folder / f"{hook}-{call}"
            write(place, data, every, dict(trainer or {}), model)
            code = fit(place, variables=kill(hook, call, sent))
            if code == 0:
                break
            wrong = ["it hung"] if code is None else resumed(place) or differences(place, folder / "whole")
            print("".join(f"{hook} {call}: {each!r}\n" for each in wrong), end="", flush=True)
            kills += 1
    print(f"{kills} kills")


def kills(tmp_path: Path, **stops: Any) -> int:
    """How many kills there were; all fits went on to what they would have been."""
    command = [sys.executable, "-m", "tests.cli.test_kills", str(tmp_path), json.dumps(stops)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True, timeout=3500)
    *wrong, count = done.stdout.splitlines() or [""]
    assert done.returncode == 0
    assert not wrong
    return int(count.split()[0])


STEPS = {"max_epochs": 50, "max_steps": 10}
OTHERS = (
    {"val_check_interval": 2}, {"accumulate_grad_batches": 2}, {"limit_train_batches": 3}, STEPS,
    {**STEPS, "limit_train_batches": 3}, {"max_time": "00:01:00:00"},
)  # fmt: skip
STOPS: list[dict[str, Any]] = [
    *({"every": every} for every in (None, 1, 2)),
    *({"every": every, "sent": sent, "step": 4} for every in (None, 2) for sent in ("SIGTERM", "SIGINT")),
    *({"every": every, "trainer": trainer, "step": 2} for every in (None, 2) for trainer in OTHERS),
    {"model": "macro", "step": 4},
]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stops", STOPS, ids=str)
def test_a_stopped_fit_goes_on_to_what_it_would_have_been(stops: dict[str, Any], tmp_path: Path) -> None:
    assert kills(tmp_path, **stops) >= 15


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
def test_the_program_ends_with_all_its_processes_and_goes_on(
    sent: str, rank: int, to: str, code: int | None, whole_of_two: Path, tmp_path: Path
) -> None:
    write(tmp_path, whole_of_two.parent / "images", 1, DDP)
    ended = program(tmp_path, variables=kill("on_before_optimizer_step", 6, sent, rank, to))
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
    assert program(tmp_path, variables=kill("on_train_batch_end", 6, sent, to="parent")) == code
    assert torch.load(last_of(tmp_path), weights_only=True)["global_step"] < 100


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells ignore for what runs in the background
    torch.set_num_threads(1)
    stop_fits(Path(sys.argv[1]), **json.loads(sys.argv[2]))
