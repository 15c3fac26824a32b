"""The memory that is free on a device."""

import os
from contextlib import suppress
from pathlib import Path

import torch

_UNKNOWN = 2**33
"""What is taken for free memory if the system does not say."""
_GROUP = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int:
    """Bytes that a process can still take: of the GPU, else of the machine and its container.

    The system's answer is used; 8 GiB are assumed if it gives none.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(_of_machine(), _of_container())


def _of_machine() -> int:
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _UNKNOWN


def _of_container() -> int:
    """What a container's limit leaves; more than any machine has without a limit."""
    with suppress(OSError, ValueError):  # "max" is no number
        most, used = ((_GROUP / f"memory.{name}").read_text(encoding="ascii") for name in ("max", "current"))
        return max(int(most) - int(used), 0)
    return 2**62
