"""Keys of EfficientNets in the layout of the package efficientnet_pytorch, whose weights came from TensorFlow."""

from collections.abc import Callable, Iterable

STEM = "_conv_stem.weight"
"""Key by which this layout is told."""
NAMES = (*(f"tf_efficientnet_lite{size}" for size in range(5)), *(f"tf_efficientnet_b{size}" for size in range(9)))
"""timm's networks that have the same tensors."""

_ENDS = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
_SEPARABLE = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
_INVERTED = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
             "conv_pwl": "_project_conv", "bn3": "_bn2"}  # fmt: skip
_EXCITATION = {"se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand"}


def place(keys: Iterable[str]) -> Callable[[str], str]:
    """From a key of timm's to one of this layout's, which counts blocks through all stages.

    Args:
        keys: All keys of the network in timm's layout.
    """
    keys = list(keys)
    blocks = list(dict.fromkeys(tuple(key.split(".")[1:3]) for key in keys if key.startswith("blocks.")))
    numbers = {block: number for number, block in enumerate(blocks)}
    inverted = {block for block in blocks if f"blocks.{block[0]}.{block[1]}.conv_pwl.weight" in keys}

    def found(key: str) -> str:
        layer, _, leaf = key.rpartition(".")
        if not layer.startswith("blocks."):
            return f"{_ENDS[layer]}.{leaf}" if layer in _ENDS else ""
        _, stage, block, inside = layer.split(".", 3)
        names = {**(_INVERTED if (stage, block) in inverted else _SEPARABLE), **_EXCITATION}
        return f"_blocks.{numbers[stage, block]}.{names[inside]}.{leaf}" if inside in names else ""

    return found
