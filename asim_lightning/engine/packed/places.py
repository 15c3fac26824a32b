"""Which random words the conversions of each output take."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from torch import Tensor

from asim_lightning.engine.noise import WORD, layer_key
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.packed.layout import Side, whole
from asim_lightning.engine.product import Conv2dProduct, Product

_INPUTS, _OUTPUTS, _PROBLEMS = range(3)


@dataclass(frozen=True)
class Places:
    """Sample id and position in the sample's outputs, as sums of three parts: of a lane, a single and a problem.

    Attributes:
        numbers: Lanes, filled up to a multiple of 16, singles, and problems.
        steps: Positions from one to the next of each, within a row of the batch.
        rows_along: Which of the three the rows of the batch run along.
        each: How many of these a row has.
        outputs: Outputs of a row.
    """

    numbers: tuple[int, ...]
    steps: tuple[int, ...]
    rows_along: int
    each: int
    outputs: int

    @cached_property
    def nothing(self) -> tuple[np.ndarray, ...]:
        """Zeros in place of `of`, where nothing is drawn."""
        return (*(np.zeros((2, number), np.uint32) for number in self.numbers), np.zeros(3, np.uint32))

    def of(self, noise: Noise) -> tuple[np.ndarray, ...]:
        """Ids and positions of lanes, singles and problems, and the noise's key, uint32.

        Returns:
            Those of lanes. # (2, lanes)
            Those of singles. # (2, singles)
            Those of problems. # (2, problems)
            Two words of the key, and the trial in the upper half of a word. # (3,)
        """
        parts = (
            self._of_rows(noise) if part == self.rows_along else _steps(number, step)
            for part, (number, step) in enumerate(zip(self.numbers, self.steps, strict=True))
        )
        key = np.array([noise.seed, layer_key(noise.name, noise.call), noise.trial << 16 & WORD], np.uint32)
        return (*parts, key)

    def _of_rows(self, noise: Noise) -> np.ndarray:
        """Ids and positions along the rows of the batch."""
        ids, before = noise.sample_ids.numpy(), noise.offsets.numpy() * self.outputs
        places = np.zeros((2, self.numbers[self.rows_along]), np.uint32)
        rows = places[:, : len(ids) * self.each].reshape(2, len(ids), self.each)
        rows[0] = ids.astype(np.uint32)[:, None]
        np.add(before.astype(np.uint32)[:, None], _steps(self.each, self.steps[self.rows_along])[1], out=rows[1])
        return places


def places_of(product: Product, x: Tensor, sides: tuple[Side, Side], by_input: bool) -> Places:
    """Places of a product.

    Args:
        product: The linear map.
        x: On any device. # (batch, *inputs)
        sides: Inputs and weights.
        by_input: Whether lanes are inputs.
    """
    inputs, outputs, problems = sides[0].lanes, sides[1].lanes, sides[0].problems
    numbers, rows = (inputs, outputs, problems), x.shape[0]
    along, steps = _INPUTS, (outputs, 1, 1)
    if isinstance(product, Conv2dProduct):
        pixels = inputs // rows
        steps = (1, pixels, outputs * pixels)
    elif product.batched_weight:
        along, steps = _PROBLEMS, (outputs, 1, inputs * outputs)
    order = (_INPUTS, _OUTPUTS, _PROBLEMS) if by_input else (_OUTPUTS, _INPUTS, _PROBLEMS)
    lanes, singles, _ = (numbers[side] for side in order)
    return Places(
        (whole(lanes), singles, problems), tuple(steps[side] for side in order), order.index(along),
        numbers[along] // rows, inputs * outputs * problems // rows,
    )  # fmt: skip


@lru_cache(maxsize=512)
def _steps(number: int, step: int) -> np.ndarray:
    """Ids 0, and positions so far apart."""
    positions = np.arange(number) * step
    return np.stack([0 * positions, positions]).astype(np.uint32)
