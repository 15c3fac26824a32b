"""What the shapes of a product's operands decide of how the packed engine works; kept, as layers see few shapes."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine.lanes import LANES
from asim_lightning.engine.packed import layout
from asim_lightning.engine.packed.counting import Counting, counting
from asim_lightning.engine.packed.layout import Side
from asim_lightning.engine.packed.places import Places, places_of
from asim_lightning.engine.packed.planes import PackedLayout
from asim_lightning.engine.product import Conv2dProduct, Product

_BYTES = 2**26
"""Bytes in use at a time, where more than one sample is: 64 MB."""


@dataclass(frozen=True, eq=False)
class Plan:
    """How a product is worked out.

    Attributes:
        how: How conversions are counted.
        inputs: Layout of packed inputs.
        weights: Layout of packed weights.
        places: Random words of conversions.
        output_shape: # (batch, *outputs)
        sums_shape: Shape in which kernels give outputs. # (parts, problems, singles, lanes of a part)
        in_order: Whether these come in the order of outputs, with none between them.
        weights_key: What packed weights depend on beside the weights, as a string, whose hash Python keeps.
        samples: How many samples are worked out at a time.
    """

    how: Counting
    inputs: PackedLayout
    weights: PackedLayout
    places: Places
    output_shape: tuple[int, ...]
    sums_shape: tuple[int, ...]
    in_order: bool
    weights_key: str
    samples: int


@lru_cache(maxsize=512)
def plan_of(product: Product, transfer: Transfer, x_shape: torch.Size, w_shape: torch.Size, batch: int) -> Plan:
    """The plan of a product.

    Args:
        product: The linear map.
        transfer: The macro's schedule and column.
        x_shape: Shape of the inputs. # (samples, *inputs)
        w_shape: Shape of the weights. # (*weight), or (samples, *weight)
        batch: Samples of the batch of which these are a part, and are counted as all of it are: another way may take
            more memory than the samples at a time were chosen for.
    """
    x, w = torch.empty(x_shape, device="meta"), torch.empty(w_shape, device="meta")
    one = w[0] if product.batched_weight else w
    how = counting(product, transfer, torch.empty((batch, *x_shape[1:]), device="meta"), one)
    sides = layout.input_side(product, x, w), layout.weight_side(product, w)
    inputs, weights = (
        PackedLayout(side, layout.rows_of(product, one.shape, transfer.macro.rows, planes.width), planes)
        for side, planes in zip(sides, (how.inputs, how.weights), strict=True)
    )
    places = places_of(product, x, sides, how.by_input)
    samples = max(1, _BYTES // _bytes_a_sample(how, inputs, x, product.positions(x, one), sides[1].lanes))
    ways = how.look_ups is None, how.stacks and how.stacks.planes, how.by_input
    own = ("packed", product, transfer.macro.rows, how.weights, how.inputs.width, *ways)
    sums, in_order = _sums(product, how.by_input, *sides)
    shape = layout.output_shape(product, x, w)
    return Plan(how, inputs, weights, places, shape, sums, in_order, repr(own), samples)


def _sums(product: Product, by_input: bool, inputs: Side, outputs: Side) -> tuple[tuple[int, ...], bool]:
    """Shape of the sums, and whether they are in order: of images where these fill whole lanes, of matrices where lanes
    are their outputs and fill them."""
    is_image = isinstance(product, Conv2dProduct)
    if is_image and by_input and inputs.source_lanes % LANES == 0:
        return (len(inputs.sources), inputs.problems, outputs.lanes, inputs.source_lanes), True
    singles, lanes = (outputs.lanes, inputs.lanes) if by_input else (inputs.lanes, outputs.lanes)
    return (1, inputs.problems, singles, layout.whole(lanes)), not is_image and not by_input and lanes % LANES == 0


def _bytes_a_sample(how: Counting, inputs: PackedLayout, x: Tensor, positions: int, outputs: int) -> int:
    """Bytes of a sample's integers, packed planes, planes that are arranged at once and outputs; what threads have of
    their own comes on top."""
    integers, lanes = x.shape[1:].numel(), positions // outputs  # lanes of all problems
    words = integers // max(1, inputs.most_channels) + 1
    arranged = 0 if how.arranges_inputs else lanes * inputs.tiles * inputs.length
    return 4 * integers + 4 * len(inputs.digits) * (words + arranged) + 16 * positions
