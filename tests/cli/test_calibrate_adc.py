"""`asim calibrate-adc`: what it prints and leaves, and that its rules give the accuracy that it says."""

import re
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Asim, Run, Write

MACRO = {"weight_bits": 4, "input_bits": 4, "adc_bits": 5}


def test_rules_give_the_accuracy_that_was_printed(asim: Asim, written: Write, run: Run) -> None:
    rules = [
        {"match": "fc", "macro": {"rows": 40}},
        {"match": "*conv1*", "macro": {"weight_bits": 6}, "signed_input": True},
    ]
    path = written(model__fidelity="simulated", model__plan={"macro": MACRO, "rules": rules})
    recipe = ("-c", str(path), "--ckpt_path", str(run.checkpoint))
    file = Path("runs/tiny/adc_ranges.yaml")
    answer = asim("calibrate-adc", *recipe, "--images", "8", "--against", "{adc_bits: 8}")
    lines = answer.out.splitlines()
    assert "ADC ranges, fitted to the counts of 8 training images" in lines
    rows = [line.split() for line in lines if re.match(r"(conv1|layer\d|fc)\S*  ", line)]
    assert len(rows) == 14
    assert all(float(row[5].replace("exact", "inf")) > float(row[4]) for row in rows)  # CSNR after and before
    found = [re.fullmatch(r"accuracy ([\d.]+) % \[.*\] (.*) \(20 test images, 1 reads?\)", line) for line in lines]
    before, after, other = [match for match in found if match]
    assert [match[2] for match in (before, after, other)] == ["before", "after", "with adc_bits 8"]
    difference = float(after[1]) - float(before[1])
    assert any(line.startswith(f"after - before: {difference:+.2f} points [") for line in lines)
    assert lines[-1] == f"rules    {file}, for asim COMMAND -c CONFIG -c {file}"
    fitted = yaml.safe_load(file.read_text())["model"]["plan"]["rules"]
    first = {"weight_bits": 6, "adc_bits": 5, "adc_step": int(rows[0][2]), "adc_low": 0}
    digital, of_first, *_ = fitted
    assert digital == {"match": "conv1.0", "macro": {"weight_bits": 6}, "signed_input": True}  # the stem's rule
    assert of_first == {"match": rows[0][0], "macro": first, "signed_input": True}
    of_fc = [rule["macro"] for rule in fitted if rule["match"] == "fc"]
    assert [(rule["rows"], rule["adc_bits"]) for rule in of_fc] == [(40, 5)]
    assert asim("test", *recipe, "-c", file).accuracy == float(after[1])


def test_noise_in_lsb_keeps_its_voltage(asim: Asim, written: Write, run: Run) -> None:
    macro = {**MACRO, "random_noise": "1 lsb", "static": {"offset": "0.5 lsb"}}
    recipe = ("-c", str(written(model__plan={"macro": macro})), "--ckpt_path", str(run.checkpoint))
    answer = asim("calibrate-adc", *recipe, "--model.fidelity", "simulated", "--images", "8", "--trials", "1")
    (after,) = [line.split()[1] for line in answer.out.splitlines() if " after (" in line]
    assert "noise    the same in volts" in answer.out
    file = Path("runs/tiny/adc_ranges.yaml")
    plan = yaml.safe_load(file.read_text())["model"]["plan"]
    assert plan["macro"] == {"random_noise": pytest.approx(100 / 31)}  # not in rules, so that flags and axes decide it
    fields = [rule["macro"] for rule in plan["rules"]]
    fitted = [each for each in fields if "adc_step" in each]
    assert len(fitted) == 14
    for each in fitted:
        assert "random_noise" not in each
        assert each["static.offset"] == f"{0.5 / 31 * (255 / each['adc_step'])} lsb"
    assert asim("test", *recipe, "--model.fidelity", "simulated", "-c", file).accuracy == float(after)
