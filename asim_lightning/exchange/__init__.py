"""Import and export of weights and settings of the published simulator, torchvision and timm.

Layout: the keys and shapes of a library's state dict of a network; this package's layout is timm's, with PACT.
Clip: the learned parameter of a PACT. Skeleton: a network on the meta device, with shapes and without values.
Account: what happened to each key of a state dict. Recipe: a YAML file of settings for the command line.
"""

from typing import TYPE_CHECKING

from asim_lightning.lazy import lazy

if TYPE_CHECKING:
    from asim_lightning.exchange.pretrained import (
        is_file,
        load_pretrained_,
        load_state_,
        new_head,
        read_pretrained,
        take_out_head_,
        timm_weights,
    )

__all__ = [
    "is_file",
    "load_pretrained_",
    "load_state_",
    "new_head",
    "read_pretrained",
    "take_out_head_",
    "timm_weights",
]

# most networks start from no weights of other projects
__getattr__ = lazy(__name__, dict.fromkeys(__all__, "pretrained"))
