"""Zeros around an input where padding is "same"."""


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Padding before and after one axis so that the output has ``ceil(size / stride)`` elements.

    An odd total puts the extra element behind, as TensorFlow and torch do.
    """
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2
