"""No test asks a network for anything, and none waits for threads.

Small tensors gain nothing from threads, and on a busy machine waiting for them costs most of the time.
"""

import os
import signal
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

os.environ["HF_HUB_OFFLINE"] = "1"  # before timm is imported: a missing file then fails at once
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--without-kernels", action="store_true", help="skip tests of the C++ kernels, where none are built"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--without-kernels"):
        for item in items:
            if "/engine/native/" in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason="--without-kernels"))


@pytest.fixture(scope="module", autouse=True)
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
