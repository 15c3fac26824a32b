"""What the processor can do for which Numba compiles."""

from typing import Any

from llvmlite import binding
from numba.core import config

_config: Any = config


def compiles_for(*features: str) -> bool:
    """Whether this processor has all these features, by LLVM's names, and Numba compiles for one that has them."""
    host = binding.get_host_cpu_features()
    given = _config.CPU_FEATURES  # what the user has Numba compile for; None: this processor
    told = None if given is None else set(given.split(","))
    return all(host.get(name) and (told is None or f"+{name}" in told) for name in features)
