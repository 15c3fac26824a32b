"""Memory that the system refuses to kernels is an error of Python, and never ends the process."""

import subprocess
import sys

import pytest
import torch

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import Chip, Conv2dProduct, Weights
from asim_lightning.engine.native import native_engine
from asim_lightning.engine.native.structures import ConversionJob, Counting
from tests.engine.native.test_conversion import WAYS
from tests.engine.products import NOISY, noise_of

REFUSAL = r"^The system refused \d{16} bytes that the C\+\+ kernels need to convert layer `layer`; a smaller batch"
HUGE = 2**25


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_an_absurd_image_or_weight_takes_is_refused_in_a_sentence(way: tuple[str, Counting]) -> None:
    product = Conv2dProduct((HUGE, HUGE), (0, 0), (1, 1), 1)  # one output of an image that is one number in memory
    x, weights = torch.ones(1, 1, 1, 1), Weights(torch.ones(3, 1, 1, 1))
    program = native_engine.NativeProgram(
        product, weights, transfer(MacroConfig(**NOISY), False), Chip(), level=way[0], counting=way[1]
    )
    with pytest.raises(MemoryError, match=REFUSAL):
        program.sums(x.expand(1, 1, HUGE, HUGE), noise_of(1))
    assert program.sums(x, noise_of(1)).shape == (1, 3, 1, 1)  # the next call is none the worse
    job = ConversionJob.from_buffer_copy(program._conversion(x, weights.integers, 1, None).job)
    job.weights.data, job.weights.channels = weights.integers.data_ptr(), 2**50
    with pytest.raises(MemoryError, match=REFUSAL):
        native_engine._form(job, way[0], "layer")


SHORT_OF_MEMORY = """
import resource, torch
from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import Chip, MatmulProduct, Weights
from asim_lightning.engine.native import native_engine
from tests.engine.products import NOISY, noise_of

torch.set_num_threads(2)
x, w = torch.randint(0, 256, (64, 2000)).float(), torch.randint(-127, 128, (500, 2000)).float()
circuit = transfer(MacroConfig(**NOISY), False)
programs = [native_engine.NativeProgram(MatmulProduct(), Weights(w), circuit, Chip()) for _ in range(60)]
expected, refused, done = programs[0].sums(x, noise_of(64)), 0, 0
for number, program in enumerate(programs[1:]):
    in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + number * 2**17, resource.RLIM_INFINITY))
    try:
        found = program.sums(x, noise_of(64))
    except (MemoryError, RuntimeError):  # of a kernel, of torch
        refused += 1
        continue
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert torch.equal(found, expected)
    done += 1
print(refused > 0, done > 0)
"""


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's")
def test_a_process_that_is_short_of_memory_goes_on_or_is_told_so() -> None:
    done = subprocess.run([sys.executable, "-c", SHORT_OF_MEMORY], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "True True\n"), done.stderr[-2000:]
