"""The processes of a run: gathering of their results, and the end of their group."""

from typing import TypeVar

import torch

Found = TypeVar("Found")


def gather(mine: Found) -> list[Found]:
    """The values of all processes, in the order of their ranks, on every process; must be called on all of them.

    Args:
        mine: Value of this process, which can be pickled.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [mine]
    parts: list[Found | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, mine)
    return parts  # type: ignore[return-value]


def leave() -> None:
    """Leave the process group, if there is one; must be called when no communication is under way.

    Otherwise gloo's threads run while Python ends, and one that frees a tensor then aborts the process.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
