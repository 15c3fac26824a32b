"""The noise stream: Philox as published, normals that are normal, and the same numbers from kernels and torch."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asim_lightning.engine import Noise, current_scope, noise, noise_context, noise_source
from asim_lightning.engine.noise import layer_key, normals, philox, row_digests
from asim_lightning.engine.noise_source import fill, tail_bits

Words = tuple[int, int, int, int]
WORDS = st.integers(0, 2**32 - 1)
properties = settings(max_examples=50)
DRAWS = 2**18
BASE = Noise(3, "stage.conv", 0, 5, 0, torch.tensor([17]), torch.tensor([0]))


def plain_philox(counter: Words, key: tuple[int, int], rounds: int) -> Words:
    """Philox 4x32 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), section 3.3."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(rounds):
        high0, low0 = divmod(0xD2511F53 * c0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


def package_philox(counter: Words, key: tuple[int, int]) -> Words:
    return tuple(int(word) for word in philox(tuple(torch.tensor(c) for c in counter), key))


PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
PI_KEY = (0xA4093822, 0x299F31D0)
ONES = 0xFFFFFFFF


# the published kat_vectors of Random123
@pytest.mark.parametrize(
    ("rounds", "counter", "key", "words"),
    [
        (7, (0,) * 4, (0, 0), (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)),
        (7, (ONES,) * 4, (ONES, ONES), (0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662)),
        (7, PI, PI_KEY, (0x4DFCCABA, 0x190A87F0, 0xC47362BA, 0xB6B5242A)),
        (10, (0,) * 4, (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (10, (ONES,) * 4, (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (10, PI, PI_KEY, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
    ],
)
def test_known_answers(
    monkeypatch: pytest.MonkeyPatch, rounds: int, counter: Words, key: tuple[int, int], words: Words
) -> None:
    monkeypatch.setattr(noise, "ROUNDS", rounds)
    assert package_philox(counter, key) == plain_philox(counter, key, rounds) == words


@properties
@given(counter=st.tuples(WORDS, WORDS, WORDS, WORDS), key=st.tuples(WORDS, WORDS))
def test_philox_is_the_published_one(counter: Words, key: tuple[int, int]) -> None:
    assert package_philox(counter, key) == plain_philox(counter, key, rounds=7)


@properties
@given(seed=WORDS, sample=WORDS, position=st.integers(0, 2**20), base=st.integers(0, 2**20), trial=st.integers(0, 99))
def test_normals_follow_their_definition(seed: int, sample: int, position: int, base: int, trial: int) -> None:
    key = (seed, layer_key("layer"))
    got = normals(key, torch.tensor([sample]), torch.tensor([position]), 1, range(4, 8), base, trial << 16 | 2)
    expected = []
    words = plain_philox((sample, position, base + 1, trial << 16 | 2), key, rounds=7)
    for radius_word, angle_word in (words[:2], words[2:]):
        radius = math.sqrt(-2 * math.log(radius_word * 2**-32 + 2**-33))
        angle = 2 * math.pi * angle_word / 2**32
        expected += [radius * math.cos(angle), radius * math.sin(angle)]
    torch.testing.assert_close(got[:, 0, 0].tolist(), expected, rtol=1e-5, atol=4e-6)


ROWS = st.lists(st.tuples(WORDS, st.integers(0, 5000)), min_size=1, max_size=4)
every_level = pytest.mark.usefixtures("level")


def same_bits(found: Tensor, expected: Tensor) -> bool:
    return torch.equal(found.view(torch.int32), expected.view(torch.int32))


@every_level
@properties
@given(
    key=st.tuples(WORDS, WORDS), last=WORDS, first=st.integers(0, 70), cycles=st.integers(1, 11),
    positions=st.integers(1, 300), base=st.integers(0, 2**31), rows=ROWS,
)  # fmt: skip
def test_the_kernels_fill_what_torch_defines(
    key: tuple[int, int], last: int, first: int, cycles: int, positions: int, base: int, rows: list[tuple[int, int]]
) -> None:
    ids, offsets = (torch.tensor(column) for column in zip(*rows, strict=True))
    asked = key, ids, offsets * positions, positions, range(first, first + cycles), base, last
    assert same_bits(fill(*asked), normals(*asked))
    assert same_bits(fill(*asked, by_row=True), normals(*asked))


@every_level
def test_rows_of_other_tensors_and_two_threads(set_threads: Callable[[int], None]) -> None:
    ids, offsets = torch.arange(40)[::2], torch.arange(20).flip(0)
    asked = (1, 2), ids, offsets, 1001, range(3, 9), 5, 7
    for threads in (1, 2):
        set_threads(threads)
        for by_row in (False, True):
            assert same_bits(fill(*asked, by_row=by_row), normals(*asked))


def draws(source: Noise = BASE, cycle: int = 0, tile: int = 0, vote: int = 0, count: int = DRAWS) -> Tensor:
    return source.conversions(count, range(cycle, cycle + 1), tile * 64, vote).flatten().double()


@pytest.mark.parametrize("cycle", [0, 1, 2, 3])
def test_normals_are_normal(cycle: int) -> None:
    z = draws(cycle=cycle, count=2**20)
    error = len(z) ** -0.5
    assert abs(float(z.mean())) < 4 * error
    assert abs(float(z.var()) - 1) < 4 * math.sqrt(2) * error
    assert abs(float((z**3).mean())) < 4 * math.sqrt(15) * error
    assert abs(float((z**4).mean()) - 3) < 4 * math.sqrt(96) * error
    for limit in (2.0, 3.0, 4.0):
        for tail in (z > limit, z < -limit):
            expected = 0.5 * math.erfc(limit / math.sqrt(2)) * len(z)
            assert abs(int(tail.sum()) - expected) < 4.5 * math.sqrt(expected)
    assert 4.5 < float(z.abs().max()) < 6.8
    distance = torch.special.ndtr(z.sort().values) - torch.arange(1, len(z) + 1) / len(z)
    assert float(distance.abs().max()) < 1.9 * error  # Kolmogorov and Smirnov, 0.1 %


NEIGHBOURS = {
    "position": lambda: (draws()[:-1], draws()[1:]),
    "same call, pair": lambda: (draws(cycle=0), draws(cycle=1)),
    "same call, next pair": lambda: (draws(cycle=1), draws(cycle=2)),
    "next call": lambda: (draws(cycle=0), draws(cycle=4)),
    "tile": lambda: (draws(tile=0), draws(tile=1)),
    "vote": lambda: (draws(vote=0), draws(vote=1)),
    "sample": lambda: (draws(), draws(replace(BASE, sample_ids=torch.tensor([18])))),
    "trial": lambda: (draws(), draws(replace(BASE, trial=6))),
    "seed": lambda: (draws(), draws(replace(BASE, seed=4))),
    "layer": lambda: (draws(), draws(replace(BASE, name="stage.conv2"))),
    "call": lambda: (draws(), draws(replace(BASE, call=1))),
}


@pytest.mark.parametrize("neighbours", NEIGHBOURS)
def test_neighbours_are_uncorrelated(neighbours: str) -> None:
    a, b = NEIGHBOURS[neighbours]()
    for f in (lambda z: z, torch.square, torch.sign):  # squares: Box and Muller pairs share their radius
        correlation = torch.corrcoef(torch.stack([f(a), f(b)]))[0, 1]
        assert abs(float(correlation)) < 4.5 * len(a) ** -0.5


def of_training(ids: list[int], rows: int, seed: int = 3, name: str = "a", step: int = 0) -> Tensor:
    with noise_context(seed=seed, sample_ids=ids, step=step):
        return current_scope().source(name, rows, torch.device("cpu")).outputs(50_000)


def test_noise_of_training_is_normal_and_unrelated_between_samples_steps_layers_seeds_and_places() -> None:
    z = of_training([1, 2], 4)
    assert abs(float(z.mean())) < 4 / z.numel() ** 0.5
    assert abs(float(z.std()) - 1) < 4 / (2 * z.numel()) ** 0.5
    changed = [of_training([1], 1, **other) for other in ({"step": 1}, {"seed": 4}, {"name": "b"})]
    for other in (*changed, *z[1:].split(1), z[:1].roll(1), z[:1].roll(12_500)):
        assert abs(float((z[0] * other[0]).mean())) < 5 / 50_000**0.5
    assert torch.equal(of_training([9, 4, 7], 6)[2:4], of_training([4], 2))  # the same in any batch


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize(
    ("positions", "lines", "limit"),
    [
        (30001, 8, -3.7),
        (7, 1, -1.0),
        (5000, 9, -0.01),
        (5000, 16, 0.0),
        (5000, 5, 0.5),
        (40, 32, -1.5),
        (99, 2, math.inf),
    ],
)
def test_bits_of_tails_are_those_of_the_normals(
    monkeypatch: pytest.MonkeyPatch, kernels: bool, positions: int, lines: int, limit: float
) -> None:
    if not kernels:
        monkeypatch.setattr(noise_source.passes, "best_library", lambda: None)
    zero, counts = torch.zeros(1, dtype=torch.int64), []
    drawn = normals((0, 77), zero, zero, positions, range(lines), 0, 12)[:, 0].numpy()
    for sign in (1, -1):
        found = tail_bits((0, 77), positions, lines, 12, limit, sign).numpy()
        for line in range(lines):
            assert ((found >> line & 1) == (sign * drawn[line] < limit)).all()
        counts.append((sign * drawn < limit).sum())
    assert counts[0] != counts[1] or math.isinf(limit) or positions < 50


def plain_digest(row: list[int]) -> int:
    total = 0
    for place, number in enumerate(row):
        factor = place + 1
        for multiplier, shift in ((0x9E3779B97F4A7C15, 30), (0xBF58476D1CE4E5B9, 27), (0x94D049BB133111EB, 31)):
            factor = factor * multiplier & (2**64 - 1)
            top = (factor >> shift) | (2**64 - (1 << (64 - shift)) if factor >> 63 else 0)  # of a signed number
            factor ^= top
        total += number * factor
    return total >> 32 & 0xFFFFFFFF


def test_digests_of_rows_are_sums_of_64_bits() -> None:
    rows = torch.randint(-(2**15), 2**15, (5, 3, 4))
    expected = [plain_digest(row) for row in rows.flatten(1).tolist()]
    assert row_digests(rows.float()).tolist() == expected
    assert row_digests(rows.flip(0).float()).tolist() == expected[::-1]
    assert row_digests(torch.zeros(0, 7)).shape == (0,)


@pytest.mark.parametrize("high", [2, 256])
def test_digests_of_other_rows_differ(high: int) -> None:
    rows = torch.randint(high, (20_000, 64), generator=torch.Generator().manual_seed(1)).unique(dim=0)
    near = rows[:1].repeat(64, 1) + torch.eye(64, dtype=torch.int64)  # one number is larger by 1
    every = torch.cat([rows, near, rows[:1].flip(1)]).unique(dim=0)
    assert len(row_digests(every).unique()) == len(every)  # 2^-32 a pair: 1 in 20 for all
