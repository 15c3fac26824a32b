"""`asim bench` and `asim verify`: what they print, and the numbers that are written."""

import json
from pathlib import Path

from tests.cli.conftest import Asim, Run, Write


def test_all_of_it(asim: Asim, run: Run) -> None:
    options = ("--batch", "[1, 2]", "--repeats", "3", "--layers")
    answer = asim("bench", "-c", run.config, "--ckpt_path", run.checkpoint, *options)
    assert answer.last == "numbers  runs/tiny/bench.json"
    assert {"batch 1, 3 repeats", "batch 2, 3 repeats", "layers, batch 1, 3 repeats"} <= set(answer.out.splitlines())
    found = json.loads(Path("runs/tiny/bench.json").read_text())
    ways = ["float32 torch", "quantized exact", "simulated exact", "simulated native"]
    assert [f"{each['inference']} {each['engine']}" for each in found["inference"]] == ways * 2
    assert [each["batch"] for each in found["inference"]] == [1] * 4 + [2] * 4
    assert found["network"]["name"] == "resnet10t"
    assert found["network"]["image_shape"] == [1, 28, 28]
    (macro,) = found["macros"]
    assert (macro["weight_bits"], macro["rows"], macro["algorithm"]) == (4, 255, "exact")
    assert len(macro["layers"]) == len(found["layers"]) == 14
    assert {"torch", "timm", "python", "asim_lightning"} <= found["versions"].keys()


def test_the_reference_engine_and_random_images_if_there_are_none(asim: Asim, written: Write) -> None:
    options = ("--data.init_args.root", "nosuch", "--repeats", "1", "--reference-engine", "--output", "here/mine.json")
    macro = ("--model.plan.macro.random_noise", "0.5")
    answer = asim("bench", "-c", written(batch=[1]), *macro, *options)
    assert answer.last == "numbers  here/mine.json"
    why = "as the data cannot be read: The Fashion-MNIST folder nosuch does not exist"
    assert f"images   2 random ones (standard normal), {why}" in answer.out
    times = json.loads(Path("here/mine.json").read_text())["inference"]
    found = [(each["inference"], each["engine"]) for each in times]
    assert found[2:] == [("simulated", "native"), ("simulated", "reference")]


def test_verify_says_how_many_layers_agree_and_how_many_images_it_used(asim: Asim, run: Run) -> None:
    static = "{offset: 0.3 lsb, gain: 1 %, inl: 0.66 %, columns_per_adc: 3, stuck_at_1: 1e-3}"
    few = ("--samples", "9", "--data.init_args.eval_batch_size", "1")
    chip = ("--model.plan.macro.static", static, "--model.chip", "17")
    answer = asim("verify", "-c", run.config, "--ckpt_path", run.checkpoint, *chip, *few)
    assert answer.last == "14 of 14 layers agree on 1 test image, all of the first batch (--samples 9)"
