"""No test asks a network for anything, and none waits for threads.

Small tensors gain nothing from threads, and on a busy machine waiting for them costs most of the time.
"""

import csv
import gc
import os
import signal
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import Tensor

os.environ["HF_HUB_OFFLINE"] = "1"  # before timm is imported: a missing file then fails at once
# the same examples at each run, however busy the machine is
settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
gc.set_threshold(50_000, 20, 20)  # Python's 700 objects cost an eighth of the time
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--without-kernels", action="store_true", help="leave out tests of the C++ kernels, where none are built"
    )
    parser.addoption(
        "--most-level", help="as on a processor whose best level of instructions is this one, such as portable"
    )


def pytest_configure(config: pytest.Config) -> None:
    if (most := config.getoption("--most-level")) is not None:
        from asim_lightning.engine.native import library

        runs = library.processor_levels()
        if most not in runs:
            raise pytest.UsageError(f"--most-level must be {', '.join(runs)} on this processor, got {most}")
        portable = library.library("portable")
        portable.asim_processor_level = lambda: runs.index(most)  # type: ignore[method-assign]
        library.library.cache_clear()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what tests the C++ kernels, where the option says so."""
    return True if "engine/native" in collection_path.as_posix() and config.getoption("--without-kernels") else None


@pytest.hookimpl(tryfirst=True)  # before pytest takes tests by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(item.get_closest_marker(name) is not None for name in ("slow", "ray")):
            item.add_marker(pytest.mark.process)  # so that -m "not process" leaves them out, too
    if find_spec("ray") is None:
        for item in items:
            if item.get_closest_marker("ray") is not None:
                item.add_marker(pytest.mark.skip(reason="ray is not installed: pip install '.[ray]'"))
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda") is not None:
                item.add_marker(pytest.mark.skip(reason="torch finds no GPU"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of torch's threads; after the test it is what it was."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def relative(y: Tensor, expected: Tensor) -> float:
    """Largest difference, of the largest expected number."""
    assert y.shape == expected.shape
    return float((y - expected).detach().abs().max() / expected.detach().abs().max())


def rows_of(path: str | Path) -> list[dict[str, str]]:
    """Rows of a CSV."""
    with open(path) as file:
        return list(csv.DictReader(file))
