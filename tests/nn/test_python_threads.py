"""A layer that several Python threads call at once, each in a context of its own, answers each as it does alone."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.engine.stored_weights import Weights
from asim_lightning.nn import CimLinear
from asim_lightning.nn.prepared import Memo

THREADS = 8


@pytest.fixture(autouse=True)
def switching_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def at_once(call: Any) -> list[Any]:
    """What a function gives for 0..7, each called by a thread of its own, all at once."""
    start = Barrier(THREADS)

    def one(number: int) -> Any:
        start.wait(30)
        return call(number)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(one, range(THREADS)))


@pytest.mark.parametrize(
    ("fields", "chips", "input_range"),
    [
        ({"adc_bits": 6}, [0] * 8, "batch"),
        ({"adc_bits": 8, "random_noise": 0.03, "static": {"offset": "0.1 lsb"}}, [5] * 8, "calibrated"),
        ({"adc_bits": 6, "static": {"offset": "0.5 lsb"}}, [*range(8)], "calibrated"),
        ({"adc_bits": 6, "static": {"stuck_at_0": 0.1}}, [*range(8)], "calibrated"),
    ],
)
def test_threads_get_the_answers_that_each_gets_alone(
    fields: dict[str, Any], chips: list[int], input_range: str
) -> None:
    torch.manual_seed(0)
    # so large that drawing a chip takes longer than a thread's turn
    layer = CimLinear(510, 256, macro=MacroConfig(**fields), name="a").eval()
    inputs = [torch.rand(4, 510) * (number + 1) for number in range(THREADS)]
    if input_range == "calibrated":
        layer.calibrate(inputs[-1])

    def call(number: int) -> Tensor:
        with torch.no_grad(), noise_context(seed=1, chip=chips[number]):
            return layer(inputs[number])

    alone = [call(number) for number in range(THREADS)]
    for _ in range(6):
        layer.refresh()
        for found, expected in zip(at_once(call), alone, strict=True):
            assert torch.equal(found, expected)


def test_a_program_that_was_prepared_while_another_thread_came_is_not_that_threads() -> None:
    """The programs of two macros, of which one is prepared while the other is."""
    programs: Any = Memo()

    def prepare() -> str:
        with ThreadPoolExecutor(1) as other:
            assert other.submit(programs.of, "its macro", None, lambda: "its program").result(30) == "its program"
        return "our program"

    assert programs.of("our macro", None, prepare) == "our program"
    assert programs.of("its macro", None, lambda: "its program") == "its program"


def test_a_form_that_another_thread_drops_is_still_found() -> None:
    weights = Weights(torch.ones(2))

    def call(number: int) -> bool:
        return all(weights.form((number, turn % 5), lambda _: number) == number for turn in range(300))

    assert all(at_once(call))
