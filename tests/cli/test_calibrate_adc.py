"""`asim calibrate-adc` and `asim explain --plot`: what they print and leave, and what the rules give."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from asim_lightning.report.draw import new_figure
from tests.cli.conftest import Asim, Run
from tests.cli.wrong_inputs import Wrong, assert_refused

Write = Callable[..., Path]
CALIBRATE = ("calibrate-adc", "-c", "tiny.yaml", "--images", "8")
MACRO = {"weight_bits": 4, "input_bits": 4, "adc_bits": 5}


@pytest.fixture
def simulated(written: Write, run: Run) -> tuple[str, ...]:
    """The tiny recipe, simulated with an ADC of 5 bits."""
    path = written(
        model__fidelity="simulated",
        model__plan={
            "macro": MACRO,
            "rules": [
                {"match": "fc", "macro": {"rows": 40}},
                {"match": "*conv1*", "macro": {"weight_bits": 6}, "signed_input": True},
            ],
        },
    )
    return ("-c", str(path), "--ckpt_path", str(run.checkpoint))


def test_rules_give_the_accuracy_that_was_printed(asim: Asim, simulated: tuple[str, ...]) -> None:
    answer = asim("calibrate-adc", *simulated, "--images", "8", "--against", "{adc_bits: 8}")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert "ADC ranges, fitted to the counts of 8 training images" in lines
    rows = [line.split() for line in lines if re.match(r"(conv1|layer\d|fc)\S*  ", line)]
    assert len(rows) == 14
    assert all(float(row[5].replace("exact", "inf")) > float(row[4]) for row in rows)  # CSNR after and before
    found = [re.fullmatch(r"accuracy ([\d.]+) % \[.*\] (.*) \(20 test images, 1 reads?\)", line) for line in lines]
    before, after, other = [match for match in found if match]
    assert [match[2] for match in (before, after, other)] == ["before", "after", "with adc_bits 8"]
    difference = float(after[1]) - float(before[1])
    assert any(line.startswith(f"after - before: {difference:+.2f} % [") for line in lines)
    rules = "runs/tiny/adc_ranges.yaml"
    assert answer.last == f"rules    {rules}, for use as in -c CONFIG -c {rules}"
    written = yaml.safe_load(Path(rules).read_text())["model"]["plan"]["rules"]
    fitted = {"adc_bits": 5, "adc_step": int(rows[0][2]), "adc_low": 0}
    assert written[0] == {"match": rows[0][0], "macro": {"weight_bits": 6, **fitted}, "signed_input": True}
    of_fc = [rule["macro"] for rule in written if rule["match"] == "fc"]
    assert [(rule["rows"], rule["adc_bits"]) for rule in of_fc] == [(40, 5)]
    assert written[-1] == {
        "match": "*conv1*",
        "macro": {"weight_bits": 6},
        "signed_input": True,
    }  # which the digital stem follows
    assert asim("test", *simulated, "-c", rules).accuracy == float(after[1])
    Path(rules).write_text("model: {}\n")  # as ranges of another macro
    again = asim("calibrate-adc", *simulated, "--images", "8")
    assert again.last == "note     this file replaces other ranges; --output FILE keeps both"
    assert asim("test", *simulated).accuracy == float(before[1])


def test_the_ranges_do_not_depend_on_the_test_images(asim: Asim, simulated: tuple[str, ...]) -> None:
    for name, images in (("a.yaml", "20"), ("b.yaml", "3")):
        own = ("--output", name, "--data.init_args.test_images", images, "--images", "4")
        assert asim("calibrate-adc", *simulated, *own).code == 0
    assert Path("a.yaml").read_bytes() == Path("b.yaml").read_bytes()


def test_a_page_of_counts(asim: Asim, simulated: tuple[str, ...]) -> None:
    answer = asim("explain", *simulated, "--plot", "pages", "--layer", "layer2.0.conv1", "--images", "2")
    assert answer.last == "plot     pages/layer2.0.conv1.png"
    assert Path("pages/layer2.0.conv1.png").read_bytes().startswith(b"\x89PNG")
    assert asim("explain", *simulated, "--plot", "pages", "--images", "1").last == "plot     pages/conv1.3.png"


def test_fewer_images_than_asked_for_are_counted(
    asim: Asim, simulated: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = (*simulated, "--images", "30", "--data.init_args.held_out", "9990")  # of 10,000 training images
    lines = asim("calibrate-adc", *few).out.splitlines()
    assert "ADC ranges, fitted to the counts of 10 training images, all that there are (--images 30)" in lines
    said: list[str] = []
    monkeypatch.setattr(
        "asim_lightning.report.count_figure.count_figure",
        lambda name, counts, images: said.append(images) or new_figure(1, 1, 20),
    )
    assert asim("explain", *few, "--plot", "pages").code == 0
    assert said == ["10 training images, all that there are (--images 30)"]


WRONG = {
    "no images": Wrong(("calibrate-adc", "-c", "tiny.yaml", "--images", "0"), "`images` must be 1 or more, got 0"),
    "no reads": Wrong((*CALIBRATE, "--trials", "0"), "`trials` must be 1..65535, got 0"),
    "against no field": Wrong((*CALIBRATE, "--against", "{adc_bit: 7}"), "`macro.adc_bit` is no field of a macro"),
    "ideal converter": Wrong(
        (*CALIBRATE, "--model.plan.macro.adc_bits", "null"),
        "`macro.adc_step` must be null for an ideal converter (adc_bits null), got 1",
    ),
    "digital ADC": Wrong(
        (*CALIBRATE, "--model.plan.macro.digital_adc", "true"), "`macro.adc_step` must be null with digital_adc, got 1"
    ),
    "float network": Wrong(
        (*CALIBRATE, "--model.plan.keep", "['*']", "--model.plan.stem", "float"),
        "needs a network with layers on a macro",
    ),
    "output, a folder": Wrong((*CALIBRATE, "--output", "."), ". cannot be written: Is a directory"),
    "page of no layer": Wrong(
        ("explain", "-c", "tiny.yaml", "--plot", "pages", "--layer", "layer2.0.conv9"),
        "`layer` must be the full name of a layer on a macro, nearest: layer2.0.conv",
    ),
    "page of no images": Wrong(
        ("explain", "-c", "tiny.yaml", "--plot", "pages", "--images", "0"), "`images` must be 1 or more, got 0"
    ),
    "page in a file": Wrong(
        ("explain", "-c", "tiny.yaml", "--plot", "tiny.yaml"),
        "tiny.yaml/conv1.3.png cannot be written",
    ),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_inputs(wrong: Wrong, asim: Asim, folder: Path, run: Run) -> None:
    assert_refused(wrong, asim, folder, run)
