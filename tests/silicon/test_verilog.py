"""The shift-adder in Verilog: iverilog's sums are ours, and a changed code is seen."""

import subprocess
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.classifier.network import GivenNetwork
from asim_lightning.silicon.folder import write_folder
from asim_lightning.silicon.recording import Chosen, layer_vectors
from asim_lightning.silicon.verilog import shifted
from tests.silicon.conftest import PLACES, with_macro

SCHEDULES: dict[str, dict[str, Any]] = {
    "bit-serial": {},
    "remainder, mode of three, digital levels": {
        "encoding_bits": 3, "votes": 3, "vote_levels": 4, "digital_levels": 2, "adc_bits": 9,
    },
    "median of five": {"encoding_bits": 2, "votes": 5, "vote_levels": 3, "vote": "median", "adc_bits": 8},
    "mean of three, digital ADC": {
        "votes": 3, "vote_levels": 3, "vote": "mean", "digital_levels": 2, "digital_adc": True,
    },
    "weight-parallel": {"weight_parallel": True, "adc_bits": 11},
    "range": {"adc_bits": 5, "adc_step": 2, "adc_low": 1, "random_noise": 0.5},
}  # fmt: skip


@given(some.integers(-(2**20), 2**20), some.integers(-100, 100))
def test_a_weight_is_a_sum_of_shifts(weight: int, value: int) -> None:
    assert eval(shifted("v", weight).replace("<<<", "<<"), {"v": value}) == weight * value


@pytest.mark.process
@pytest.mark.skipif(which("iverilog") is None, reason="iverilog is not installed")
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("layer", ["qkv", "av"])  # signed inputs; weights that come with each image
def test_iverilog_sums_as_we_do(network: GivenNetwork, images: Tensor, tmp_path: Path, name: str, layer: str) -> None:
    fields = {"weight_bits": 4, "input_bits": 5, "rows": 20, "adc_bits": 6, "random_noise": "0.6 lsb"}
    with_macro(network, MacroConfig(**{**fields, **SCHEDULES[name]}))
    write_folder(tmp_path, layer_vectors(network, images, PLACES, Chosen(layer, slice(0, 6))), verilog=True)
    done = subprocess.run(["make", "-C", tmp_path, "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout
    assert "warning" not in done.stderr
    file = next(tmp_path.glob("*_codes.hex"))
    lines = file.read_text().splitlines()
    lines[1] = f"{int(lines[1], 16) ^ 1:0{len(lines[1])}x}"
    file.write_text("\n".join(lines))
    assert subprocess.run(["make", "-C", tmp_path, "check"], capture_output=True, check=False).returncode
    if "of" not in name:  # votes may agree without it
        done = subprocess.run(["make", "-C", tmp_path, "rtl"], capture_output=True, text=True, check=False)
        assert (done.returncode, "FAIL 1 of" in done.stdout) == (2, True)


def test_verilog_needs_hex(network: GivenNetwork, images: Tensor, tmp_path: Path) -> None:
    found = layer_vectors(network, images, PLACES, Chosen("head"))
    write_folder(tmp_path, found, verilog=True)
    write_folder(tmp_path, found, "csv")  # and nothing of the bench stays
    assert not [*tmp_path.glob("*.hex"), *tmp_path.glob("*.v")]
    with pytest.raises(ValueError, match="`format` must be hex with `verilog`"):
        write_folder(tmp_path, found, "csv", verilog=True)
