"""The bar counts the batches of one process, and makes room for lines."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from asim_lightning.evaluation.progress import EvaluationBar


@pytest.mark.parametrize(("processes", "total"), [(1, 10), (2, 6), (3, 4), (10, 2)])
def test_processes_share_the_batches_of_an_evaluation(
    processes: int, total: int, capsys: pytest.CaptureFixture[str]
) -> None:
    loader = DataLoader(TensorDataset(torch.zeros(9)), batch_size=2)  # of 9, 5, 3 and 1 images: 5, 3, 2 and 1 batches
    bar = EvaluationBar(2, loader, True, processes)
    bar.above(print)("a line")
    bar.close()
    said = capsys.readouterr()
    assert f"0/{total} " in said.err
    assert said.out == "a line\n"
