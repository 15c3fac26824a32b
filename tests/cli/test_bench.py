"""`asim bench`: what it prints, the numbers that it writes, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Asim, Run

Write = Callable[..., Path]


def numbers(path: str | Path = "runs/tiny/bench.json") -> dict[str, Any]:
    read: dict[str, Any] = json.loads(Path(path).read_text())
    return read


def test_all_of_it(asim: Asim, run: Run) -> None:
    options = ("--batch", "[1, 3]", "--repeats", "2", "--layers")
    answer = asim("bench", "-c", run.config, "--ckpt_path", run.checkpoint, *options)
    assert answer.last == "numbers  runs/tiny/bench.json"
    lines = answer.out.splitlines()
    assert lines[0] == f"weights  {run.checkpoint}"
    assert lines[1].startswith("machine  ")
    assert "torch 2." in lines[1]
    assert lines[1].endswith("device cpu")
    assert lines[2] == "images   9 test images of FashionMNIST"
    assert {"batch 1, 2 repeats", "batch 3, 2 repeats", "layers, batch 1, 2 repeats"} <= set(lines)
    found = numbers()
    ways = ["float32 torch", "quantized exact", "simulated exact", "simulated native"]
    assert [f"{each['inference']} {each['engine']}" for each in found["inference"]] == ways * 2
    assert [each["batch"] for each in found["inference"]] == [1] * 4 + [3] * 4
    assert found["network"]["name"] == "resnet10t"
    assert found["network"]["image_shape"] == [1, 28, 28]
    (macro,) = found["macros"]
    assert (macro["weight_bits"], macro["rows"], macro["algorithm"]) == (4, 255, "exact")
    assert len(macro["layers"]) == len(found["layers"]) == 14
    assert found["machine"]["threads"] >= 1
    assert {"torch", "timm", "python", "asim_lightning"} <= found["versions"].keys()
    assert found["date"].endswith("+00:00")


def test_written_numbers_agree(asim: Asim, run: Run) -> None:
    answer = asim("bench", "-c", run.config, "--ckpt_path", run.checkpoint, "--batch", "2", "--repeats", "3")
    assert answer.code == 0, answer.err
    times = numbers()["inference"]
    for each in times:
        assert len(each["seconds"]) == 3
        assert each["median_seconds"] == sorted(each["seconds"])[1]
        assert each["fastest_seconds"] == min(each["seconds"])
        assert each["images_per_second"] == pytest.approx(2 / each["median_seconds"])
        assert each["ratio_to_float32"] == pytest.approx(each["median_seconds"] / times[0]["median_seconds"])
        assert each["projected_seconds"]["50000"] == pytest.approx(25_000 * each["median_seconds"])
        if each["inference"] == "simulated":
            rate = each["conversions_per_image"] * each["images_per_second"]
            assert each["conversions_per_second"] == pytest.approx(rate)
        else:
            assert each["conversions_per_image"] is each["conversions_per_second"] is None
    assert numbers()["layers"] == []


def test_the_reference_engine_on_request(asim: Asim, run: Run) -> None:
    options = ("--batch", "1", "--repeats", "1", "--reference-engine", "--output", "here/mine.json")
    macro = ("--model.plan.macro.random_noise", "0.5")
    answer = asim("bench", "-c", run.config, "--ckpt_path", run.checkpoint, *macro, *options)
    assert answer.last == "numbers  here/mine.json"
    found = [(each["inference"], each["engine"]) for each in numbers("here/mine.json")["inference"]]
    assert found[2:] == [("simulated", "native"), ("simulated", "reference")]


def test_random_images_where_there_are_none(asim: Asim, written: Write) -> None:
    options = ("--data.init_args.root", "nosuch", "--batch", "1", "--repeats", "1", "--output", "out")
    answer = asim("bench", "-c", written(), *options)
    assert answer.last == "numbers  out/bench.json"
    why = "as the data cannot be read: The Fashion-MNIST folder nosuch does not exist"
    assert f"images   2 random ones (standard normal), {why}" in answer.out
    assert numbers("out/bench.json")["network"]["image_shape"] == [1, 28, 28]


def test_settings_in_the_file(asim: Asim, written: Write) -> None:
    path = written(batch=[2], repeats=1, layers=False)
    assert "batch 2, 1 repeat\n" in asim("bench", "-c", path).out
    assert asim("explain", "-c", path).code == 0  # they do not disturb other commands


def test_without_layers_on_a_macro(asim: Asim, written: Write) -> None:
    error = asim("bench", "-c", written(model__plan={"keep": ["*"]})).error
    assert (
        error
        == "asim bench needs a network with layers on a macro, got one without; set `model.plan`, or call convert_"
    )


REFUSED = {
    "no image": (("--batch", "0"), "`batch` must be a number or list of numbers, 1 or more each, got 0"),
    "no batch": (("--batch", "[]"), "1 or more each, got []"),
    "no repeat": (("--repeats", "0"), "`repeats` must be 1..65535, got 0"),
    "no folder": (("--output", "tiny.yaml"), "tiny.yaml"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_is_refused(case: tuple[tuple[str, ...], str], asim: Asim, written: Write) -> None:
    arguments, expected = case
    assert expected in asim("bench", "-c", written(), *arguments).error
    assert not Path("runs/tiny/bench.json").exists()
