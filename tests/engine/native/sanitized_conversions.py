"""Conversions of all kinds by a library that checks its accesses to memory: `python -m ... LIBRARY`."""

import ctypes
import sys
import tempfile
from pathlib import Path

import torch

from asim_lightning.circuit import MacroConfig, Transfer, transfer
from asim_lightning.engine import Chip, Conv2dProduct, MatmulProduct, Product, Weights, exact, rare, sums_of
from asim_lightning.engine.chips.effects import stuck_weights
from asim_lightning.engine.engines import why_refused
from asim_lightning.engine.native import conversion, native_engine, passes
from asim_lightning.engine.native import rare as native_rare
from asim_lightning.engine.native.structures import Counting
from asim_lightning.engine.rare import RareProgram
from tests.engine.chips.random_converters import converters as random_converters
from tests.engine.native.random_cases import Case, random_case
from tests.engine.native.test_conversion import MACROS, operands
from tests.engine.products import PRODUCTS, noise_of

SHAPES: list[tuple[Product, tuple[int, ...], tuple[int, ...]]] = [
    (Conv2dProduct((1, 1), (1, 1), (1, 1), 1), (2, 5, 4, 17), (17, 5, 3, 3)),
    (Conv2dProduct((2, 2), (0, 2), (2, 1), 3), (1, 3, 9, 9), (6, 1, 3, 2)),
    (Conv2dProduct((1, 1), (0, 0), (1, 1), 1), (1, 33, 1, 1), (1, 33, 1, 1)),
    (MatmulProduct(), (1, 257), (33, 257)),
    (MatmulProduct(), (3, 21, 31), (5, 31)),
    (MatmulProduct(batched_weight=True), (2, 3, 1, 9), (2, 3, 18, 9)),
]
CHIP = Chip()
RANDOM_CASES = 300


def tails_compute(circuit: Transfer) -> bool:
    """Whether wrong codes of converters that differ can be found."""
    macro = circuit.macro.with_fields(**{"static.offset": "0.001 lsb"})
    return rare.refuses(transfer(macro, circuit.signed_input)) is None


def converted(loaded: ctypes.CDLL, case: Case) -> int:
    """How many times a random case was computed by the library."""
    made, circuit, threads = 0, case.circuit, torch.get_num_threads()
    if why_refused("native", circuit):
        return 0
    torch.set_num_threads(case.threads)
    held = stuck_weights(case.chip, case.product, circuit, case.w)
    for way in [way for way in Counting if loaded.asim_counts_by(way)]:
        native_engine.NativeProgram(
            case.product, Weights(held), circuit, case.chip, counting=way, max_elements=case.max_elements
        ).sums(case.x, case.noise)
        made += 1
    for engine in (rare,):
        if engine.refuses(circuit) is None:
            sums_of(engine, case.product, circuit, case.x, case.w, case.noise, case.chip)
            made += 1
    torch.set_num_threads(threads)
    return made


def main(path: str) -> None:
    """Convert every kind of product by every macro and way of counting of a library, and random ones."""
    loaded = ctypes.CDLL(path)
    loaded.asim_set_threads_entry.argtypes = [ctypes.c_void_p]
    conversion.library = lambda level=None: loaded
    passes.best_library = lambda: loaded
    native_rare._OF_PIXEL = 0  # counts of all candidates are bounded by their inputs
    conversion._NANOSECONDS_WORTH_THREADS = 0.0
    torch.set_num_threads(2)
    made = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(RANDOM_CASES):
            made += converted(loaded, random_case(seed, Path(folder)))
    for settings in MACROS.values():
        circuit = transfer(MacroConfig(**settings), False)
        own = [(product, *operands(product, circuit.macro, False, batch=2)) for product in PRODUCTS.values()]
        top, largest = 2**circuit.macro.input_bits - 1, 2 ** (circuit.macro.weight_bits - 1) - 1
        own += [(p, torch.full(x, float(top)), torch.full(w, -float(largest))) for p, x, w in SHAPES]
        for product, x, w in own:
            errors = [None]
            if circuit.macro.adc_bits is not None:
                errors.append(random_converters(product, circuit, w, "gain offset curves"))
            for own_errors in errors:
                for way in [way for way in Counting if loaded.asim_counts_by(way)]:
                    program = native_engine.NativeProgram(
                        product, Weights(w), circuit, CHIP, converters=own_errors, counting=way
                    )
                    program.sums(x, noise_of(len(x)))
                    made += 1
            if errors[1:] and tails_compute(circuit):
                found = random_converters(product, circuit, w, "gain offset curves")
                RareProgram(product, Weights(w), circuit, CHIP, converters=found).added(
                    exact.prepare(product, circuit, Weights(w)).sums(x).double(), x, noise_of(len(x))
                )
                made += 1
    print(f"{made} products")


if __name__ == "__main__":
    main(sys.argv[1])
