"""Who asks for noise: seed, trial, samples and chip of a context, and the calls made in it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asim_lightning.engine import Noise, current_scope, noise_context

CPU = torch.device("cpu")


def source(leading: int = 3, name: str = "layer") -> Noise:
    return current_scope().source(name, leading, CPU)


def drawn(**context: Any) -> Tensor:
    with noise_context(**context):
        return source().conversions(5, range(3), 0, 0)


def test_outside_of_a_context_is_seed_0_trial_0_chip_0_and_ids_0_to_n() -> None:
    with noise_context(seed=0, trial=0, sample_ids=[0, 1, 2], chip=0):
        inside = source()
    outside, again = source(), source()  # every call is a first one
    assert outside.call == again.call
    assert (outside.seed, outside.trial, outside.chip, outside.call) == (0, 0, 0, 0)
    assert torch.equal(outside.sample_ids, inside.sample_ids)
    assert torch.equal(outside.conversions(5, range(3), 0, 0), inside.conversions(5, range(3), 0, 0))


def test_a_second_call_differs_and_a_new_context_repeats() -> None:
    with noise_context(seed=1):
        first, second = (source().conversions(5, range(3), 0, 0) for _ in range(2))
        other = source(name="other").call
    assert not torch.equal(first, second)
    assert other == 0
    assert torch.equal(first, drawn(seed=1))


@pytest.mark.parametrize("change", [{"seed": 2}, {"trial": 1}, {"sample_ids": [5, 6, 7]}])
def test_each_part_of_a_context_changes_the_noise(change: dict[str, Any]) -> None:
    assert not torch.isin(drawn(**({"seed": 1} | change)), drawn(seed=1)).any()


def test_contexts_nest_and_end_with_an_error() -> None:
    with noise_context(seed=1):
        with noise_context(seed=2):
            assert source().seed == 2
        message = r"^Layer `layer` .* dimension of 3, .* the 2 sample"
        with pytest.raises(ValueError, match=message), noise_context(seed=3, sample_ids=[1, 2]):
            source(leading=3)
        assert source().seed == 1
    assert source().seed == 0


def test_several_rows_a_sample_are_its_positions() -> None:
    with noise_context(sample_ids=[7, 9]):
        rows = source(leading=6)
    assert rows.sample_ids.tolist() == [7, 7, 7, 9, 9, 9]
    assert rows.offsets.tolist() == [0, 1, 2, 0, 1, 2]
    with noise_context(sample_ids=[7, 9]):
        whole = source(leading=2).conversions(12, range(2), 0, 0)
    assert torch.equal(rows.conversions(4, range(2), 0, 0).reshape(2, 2, 12), whole)


def test_rows_without_samples_have_noise_of_their_integers_in_every_call() -> None:
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    with noise_context(seed=3, trial=1, sample_ids=[7, 9]) as scope:
        first, second = scope.source_of_rows("layer", rows), scope.source_of_rows("layer", rows[1:])
        assert (first.seed, first.trial, first.call, second.call, scope.calls) == (3, 1, 0, 0, {})
    z = first.conversions(4, range(2), 0, 0)
    assert torch.equal(z[:, 0], z[:, 2])
    assert not torch.equal(z[:, 0], z[:, 1])
    assert torch.equal(second.conversions(4, range(2), 0, 0), z[:, 1:])


@pytest.mark.parametrize(
    "ids",
    [
        torch.tensor([4, 2], dtype=torch.int32), (4, 2), torch.tensor([4, 0, 2, 0])[::2], np.uint8([4, 2]),
        [], np.arange(0), torch.zeros(0, dtype=torch.int32),
    ],
)  # fmt: skip
def test_ids_of_any_whole_type_or_none(ids: Any) -> None:
    with noise_context(sample_ids=ids):
        rows = source(leading=len(ids))
        with pytest.raises(ValueError, match=f"a multiple of the {len(ids)} sample ids"):
            source(leading=3)
    assert rows.sample_ids.tolist() == [4, 2][: len(ids)]
    assert rows.conversions(1, range(1), 0, 0).shape == (1, len(ids), 1)


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    numbers = {"seed": np.uint32(2**32 - 1), "trial": np.uint8(200), "chip": np.int64(3), "step": np.int16(4)}
    with noise_context(**numbers):  # type: ignore[arg-type]
        found = source()
    given = found.seed, found.trial, found.chip, found.step
    assert given == (2**32 - 1, 200, 3, 4)
    assert {type(each) for each in given} == {int}
    assert found.conversions(5, range(3), 0, 1).shape == (3, 3, 5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": -1}, "`seed` of noise_context must be a whole number 0..4294967295, got -1"),
        ({"seed": np.float64(1)}, "`seed` .* whole number"),
        ({"trial": np.int64(65536)}, "`trial` .* 0..65535"),
        ({"chip": True}, "`chip` .* got True"),
        ({"sample_ids": [[]]}, "`sample_ids` .* whole numbers"),
        ({"sample_ids": [0.5]}, r"`sample_ids` .* got \[0.5\]"),
        ({"sample_ids": [-1, 3]}, r"`sample_ids` .* 0..4294967295, got -1\.\.3"),
    ],
)
def test_wrong_values_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message), noise_context(**given):
        pass


def test_a_scope_whose_samples_are_others_gives_their_ids() -> None:
    with noise_context(sample_ids=[1, 2]) as scope:
        assert source(4).sample_ids.tolist() == [1, 1, 2, 2]
        assert source(2).sample_ids.tolist() == [1, 2]
        scope.sample_ids = torch.tensor([7, 8])
        assert source(4).sample_ids.tolist() == [7, 7, 8, 8]
        assert source(4).offsets.tolist() == [0, 1, 0, 1]
