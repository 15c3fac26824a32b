"""A tiny data set in the published layout: four files, 100 training and 40 test images, image i filled with byte i."""

from pathlib import Path

import pytest
import torch

from asim_lightning.data.idx import write_idx


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    for prefix, count in (("train", 100), ("t10k", 40)):
        numbers = torch.arange(count)
        images = numbers[:, None, None].expand(count, 28, 28)
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", images.to(torch.uint8))
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", (numbers % 10).to(torch.uint8))
    return tmp_path
