"""Regular expressions that are soon matched are told from those that may never be."""

import re
import time

import pytest

from asim_lightning.surgery.patterns import most_steps


@pytest.mark.parametrize(
    "expression",
    [
        r"blocks\.\d+\.mlp.*",
        r"blocks\.(?:[0-3]|1[01])\.attn\.(qkv|proj)",
        r"(?!head).*",
        r"^layer[34]\.\d+\.conv[12]$",
        r".*?\.conv\d{1,2}",
        "head",
    ],
)
def test_usual_expressions_are_bounded(expression: str) -> None:
    assert 1 <= (most_steps(expression) or 0) <= 2 * 101**2


@pytest.mark.parametrize(
    "expression", ["(a+)+!", "(.+)+(.+)+!", r"(a|a)*!", r"(a)\1", "(?:a?){20}", "(?<=a)b", "a**", "(a", "[a[b]", "ä"]
)
def test_what_could_multiply_is_not(expression: str) -> None:
    steps = most_steps(expression)
    assert steps is None or expression in ("(a",)  # which is an error of its own


def test_steps_grow_with_every_choice() -> None:
    assert most_steps("a?" * 40 + "a" * 40) == 2**40
    assert most_steps("(a|a)" * 40) == 2**40
    assert most_steps(".*" * 4) == 101**4


def test_the_longest_that_is_taken_is_soon_matched() -> None:
    expression = ".*a.*a.*(b|c)!"
    assert (most_steps(expression) or 0) < 4_000_000
    start = time.perf_counter()
    assert not re.compile(expression).fullmatch("ac" * 40)
    assert time.perf_counter() - start < 2
