"""Noise of training: one normal an output, a function of seed, layer, sample, place and step; the two fills agree."""

import pytest
import torch

from asim_lightning.engine import current_scope, noise_context
from asim_lightning.engine.noise import layer_key, output_normals
from asim_lightning.engine.noise_source import Noise


def source(ids: list[int], rows: int, step: int = 0, seed: int = 3, name: str = "a") -> Noise:
    with noise_context(seed=seed, sample_ids=ids, step=step):
        return current_scope().source(name, rows, torch.device("cpu"))


@pytest.mark.parametrize("positions", [1, 2, 3, 4, 5, 6, 7, 8, 13, 64, 1001])
def test_the_compiled_fill_is_the_definition_to_the_bit(positions: int) -> None:
    noise = source([5, 2**32 - 1, 7], 6, step=2**31 + 1)
    key = (3, layer_key("a/train", 0))
    wanted = output_normals(key, noise.sample_ids, noise.offsets, positions, 2**31 + 1)
    assert torch.equal(noise.outputs(positions), wanted)


def test_it_is_standard_normal_and_unrelated_between_samples_steps_layers_seeds_and_places() -> None:
    z = source([1, 2], 4).outputs(50_000)
    assert abs(float(z.mean())) < 4 / z.numel() ** 0.5
    assert abs(float(z.std()) - 1) < 4 / (2 * z.numel()) ** 0.5
    others = [
        source([1], 1, step=1).outputs(50_000),
        source([1], 1, seed=4).outputs(50_000),
        source([1], 1, name="b").outputs(50_000),
        *z[1:].split(1),
        z[:1].roll(1),
        z[:1].roll(12_500),
    ]
    for other in others:
        assert abs(float((z[0] * other[0]).mean())) < 5 / 50_000**0.5


def test_a_sample_has_the_same_noise_in_any_batch() -> None:
    together = source([9, 4, 7], 6).outputs(31)
    alone = source([4], 2).outputs(31)
    assert torch.equal(together[2:4], alone)
