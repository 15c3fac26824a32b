"""How often codes are wrong, by noise and by spreads."""

import math
from typing import Any

import pytest

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.circuit.wrong_codes import expected_error

LSB = MacroConfig(weight_bits=2, input_bits=1)


def wrong(sigma: float) -> float:
    """Probability that noise of so many LSB makes another code of one in the middle."""
    return math.erfc(0.5 / (sigma * math.sqrt(2.0)))


@pytest.mark.parametrize(
    ("static", "sigma"),
    [
        ({"offset": "0.3 lsb"}, 0.3),
        ({"gain": "1 %"}, 255 / 4 / 100),
        ({"inl": "1 %"}, 0.01 * math.sqrt(255 / 4 * (1 - 255 / 4 / 256))),
        (
            {"offset": "3 lsb", "gain": "9 %", "trim": "both", "trim_step": "0.6 lsb"},
            math.hypot(1, 0.25) * 0.6 / 12**0.5,
        ),
        (
            {"offset": "0.1 lsb", "gain": "9 %", "trim": "offset", "trim_step": "0.6 lsb"},
            math.hypot(0.1, 9 * 255 / 400),
        ),
    ],
    ids=str,
)
def test_the_expected_share_of_wrong_codes(static: dict[str, Any], sigma: float) -> None:
    assert expected_error(transfer(LSB.with_fields(static=static), False)) == pytest.approx(wrong(sigma))
    noisy = LSB.with_fields(static=static, random_noise="0.2 lsb")
    assert expected_error(transfer(noisy, False)) == pytest.approx(wrong(math.hypot(sigma, 0.2)))


def test_levels_beside_their_code_are_wrong_more_often() -> None:
    circuit = transfer(LSB.with_fields(column_args={"offset": 0.4}, random_noise="0.1 lsb"), False)
    assert expected_error(circuit) == pytest.approx(
        wrong(0.1) / 2 + math.erfc(0.1 / (0.1 * math.sqrt(2))) / 2, rel=0.01
    )
    spread = transfer(LSB.with_fields(column_args={"offset": 0.4}, static={"offset": "0.1 lsb"}), False)
    assert expected_error(spread) == pytest.approx(expected_error(circuit))
