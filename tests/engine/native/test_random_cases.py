"""Random cases by the native engine at every level, against the reference engine."""

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import Transfer, transfer
from asim_lightning.engine import Weights, exact, rare, reference, sums_of
from asim_lightning.engine.engines import ENGINES
from asim_lightning.engine.native import conversion, library, native_engine, passes
from asim_lightning.engine.native import rare as native_rare
from asim_lightning.engine.native.structures import Counting
from asim_lightning.engine.product import conversion_count
from tests.engine.native.random_cases import Case, random_case

LEVELS = library.processor_levels()
MOST_REFUSED, MOST_DIFFERENT = 0.2, 1e-5
"""Shares of the cases, and of noisy conversions, as the last bit of a normal may differ."""


@dataclass
class Tally:
    """What cases came to.

    Attributes:
        kinds: How many cases were computed, by what, and how many were refused.
        conversions: Noisy conversions.
        different: Outputs of them that differ from the reference's.
        wrong: What must not be, case by case.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    conversions: int = 0
    different: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, case: Case) -> None:
        """Compute a case by every engine that gives the reference's numbers."""
        circuit = case.circuit
        if native_engine.refuses(circuit):
            self.kinds["refused"] += 1
            return
        found = sums(case, circuit)
        self.add_native(case, found)
        quiet = circuit
        if any(circuit.noisy) and circuit.macro.column != "measured":
            macro = circuit.macro.with_fields(random_noise=0.0, nonlinear_noise=0.0)
            quiet = transfer(macro, circuit.signed_input, circuit.rows_in_use)
        if not any(quiet.noisy):
            self.add_rare_errors(case, quiet)

    def add_native(self, case: Case, expected: Tensor) -> None:
        """Compute every conversion by each way of counting of each level."""
        noisy = any(case.circuit.noisy)
        self.kinds["native, noisy" if noisy else "native, noise-free"] += 1
        held, first = Weights(case.w).on_chip(case.chip, case.product, case.circuit), None
        torch.set_num_threads(case.threads)
        for level, counting in product(LEVELS, (None, *Counting)):
            if counting is not None and not library.library(level).asim_counts_by(counting):
                continue
            program = native_engine.NativeProgram(
                case.product, held, case.circuit, case.chip, level=level, counting=counting,
                max_elements=case.max_elements,
            )  # fmt: skip
            found = program.sums(case.x, case.noise)
            first = found if first is None else first
            if not torch.equal(found, first):
                self.wrong.append(f"{level} by {counting} differs from {LEVELS[0]}: {case}")
            elif found.dtype != expected.dtype or found.shape != expected.shape:
                self.wrong.append(f"{level} gives {found.dtype} {tuple(found.shape)}: {case}")
        torch.set_num_threads(1)
        differ = 0 if first is None else int((first != expected).sum())
        made = conversion_count(case.product, case.circuit, case.x, case.w)
        if noisy:
            self.conversions += made
            self.different += differ
        if differ > (1 + MOST_DIFFERENT * made if noisy else 0):
            self.wrong.append(f"{differ} of {expected.numel()} outputs differ from the reference's: {case}")

    def add_rare_errors(self, case: Case, quiet: Transfer) -> None:
        """Compute a macro without noise by the engines that draw nothing then."""
        expected = None
        for name in ("exact", "events"):
            if ENGINES[name].refuses(quiet) is None:
                expected = sums(case, quiet) if expected is None else expected
                self.add_equal(case, quiet, name, expected)
        # a level of these columns may lie 0.035 LSB from a threshold, 18 times this noise
        if exact.refuses(quiet) is None and case.circuit.macro.column in ("charge", "current"):
            tiny = transfer(quiet.macro.with_fields(random_noise="0.002 lsb"), quiet.signed_input, quiet.rows_in_use)
            if rare.refuses(tiny) is None and expected is not None:
                self.add_equal(case, tiny, "events", expected)

    def add_equal(self, case: Case, circuit: Transfer, name: str, expected: Tensor) -> None:
        """Compute by an engine at each level."""
        self.kinds[name] += 1
        torch.set_num_threads(case.threads)
        for level in LEVELS:
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(passes, "best_library", partial(library.library, level))
                found = sums_of(ENGINES[name], case.product, circuit, case.x, case.w, case.noise, case.chip)
            if not torch.equal(found.double(), expected):
                self.wrong.append(f"{name} at {level} differs from the reference: {case}")
        torch.set_num_threads(1)


def sums(case: Case, circuit: Transfer) -> Tensor:
    """Sums of the reference engine."""
    return sums_of(reference, case.product, circuit, case.x, case.w, case.noise, case.chip)


def tally(seeds: range) -> Tally:
    """Compute cases, with even little work shared out over threads."""
    found = Tally()
    conversion.conversion_of.cache_clear()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(conversion, "_NANOSECONDS_WORTH_THREADS", 0.0)
        patched.setattr(native_rare, "_CANDIDATES", 1)
        for seed in seeds:
            found.add(random_case(seed, Path(folder)))
    conversion.conversion_of.cache_clear()
    return found


def check(seeds: range) -> None:
    found = tally(seeds)
    assert not found.wrong, "\n".join(found.wrong[:10])
    assert found.different <= 1 + MOST_DIFFERENT * found.conversions
    assert found.kinds["refused"] <= 1 + MOST_REFUSED * len(seeds)
    assert found.kinds.keys() >= {"native, noisy", "native, noise-free", "exact", "events"}


def test_some_cases_are_the_references() -> None:
    check(range(60))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(0, 5000, 500))
def test_thousands_of_cases_are_the_references(first: int) -> None:
    check(range(first, first + 500))
