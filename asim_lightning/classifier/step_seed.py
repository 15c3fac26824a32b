"""Seeds of the random numbers that a training step draws from torch's own generators: dropout, drop path, mixup."""

import hashlib


def step_seed(seed: int, step: int, rank: int) -> int:
    """A 63-bit hash of three whole numbers, so that no two steps or processes draw the same or neighbouring numbers."""
    digest = hashlib.blake2s(f"{seed} {step} {rank}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
