"""torch's convolution, where torch's own is right."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def conv2d(
    x: Tensor, w: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int
) -> Tensor:
    """Convolution in floating point; see `torch.nn.functional.conv2d`.

    With AVX-512 and a stride to the side, torch's own reads past the end where images have one channel, give one column
    of outputs, and are channels_last, which of one channel only strides tell.

    Args:
        x: # (batch, groups * channels, height, width)
        w: # (outputs, channels, kernel height, kernel width)
        stride: Two strides.
        padding: Zeros on each side, rows and columns.
        dilation: Two dilations.
        groups: Number of groups.

    Returns:
        # (batch, outputs, out height, out width)
    """
    if x.shape[1] == 1:
        x = x.clone(memory_format=torch.contiguous_format)  # `contiguous` would leave them
    return F.conv2d(x, w, None, [*stride], [*padding], [*dilation], groups)
