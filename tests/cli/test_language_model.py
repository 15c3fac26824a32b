"""A recipe names a language model of transformers, and every command takes it."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from asim_lightning.data import Text
from asim_lightning.evaluation.interval import mean_interval
from tests.cli.conftest import Asim
from tests.conftest import rows_of
from tests.data.language_model import write_language_model

RECIPE = """
data:
  class_path: asim_lightning.data.Text
  init_args: {files: words.txt, tokenizer: small, window: 16, test_windows: 12}
model:
  outcome: perplexity
  calibration_images: 8
  backbone:
    network: transformers.AutoModelForCausalLM.from_pretrained
    kwargs: {pretrained_model_name_or_path: small, dtype: float32, use_cache: false}
  plan: {keep: [lm_head], macro: {weight_bits: 4, input_bits: 4, random_noise: 0.3 lsb}}
  optimizer: {name: adamw, lr: 0.002}
axes: {random_noise: [0, 4 lsb]}
targets: [perplexity within 1 % of quantized]
target: perplexity within 30 % of quantized
trials: 1
trainer: {accelerator: cpu, max_epochs: 2}
"""
TEXT = "the_law_of_large_numbers_is_a_law_of_averages,_and_an_average_is_a_sum;_" * 8


@pytest.fixture
def recipe(folder: Path) -> Path:
    (folder / "lm.yaml").write_text(RECIPE)
    (folder / "words.txt").write_text(TEXT)
    write_language_model(folder / "small")
    return folder


def test_a_text_is_described_and_must_fit_the_network(asim: Asim, recipe: Path) -> None:
    answer = asim("validate", "-c", "lm.yaml")
    assert answer.code == 0, answer.err
    assert "data     words.txt, sha256 " in answer.out
    assert ", 576 tokens; 12 windows of 16 spread over it test it on 180\n" in answer.out
    initial = "the weights that transformers.AutoModelForCausalLM.from_pretrained was made with"
    assert f"weights  {initial}, because there is no `ckpt_path`\n" in answer.out
    for options, said in (
        (["--data.init_args.window", "65"], "must be at most 64 tokens for LlamaForCausalLM, got 65"),
        (
            ["--data.init_args.tokenizer", "characters"],
            "must have the 256 tokens of LlamaForCausalLM, got 21, so it is",
        ),
        (
            ["--model.backbone.input_shape", "[16]", "--model.backbone.input_values", "257"],
            "must have at most the 256 tokens of LlamaForCausalLM, got 257",
        ),
        (
            ["--model.backbone.input_shape", "[8]", "--model.backbone.input_values", "256"],
            "the window of the data must be 8, as in `model.backbone.input_shape`, got 16",
        ),
    ):
        refused = asim("validate", "-c", "lm.yaml", *options)
        assert refused.code == 2
        assert said in refused.error


def test_a_perplexity_is_the_exponential_of_the_mean_over_windows(asim: Asim, recipe: Path) -> None:
    from transformers import AutoModelForCausalLM

    answer = asim("validate", "-c", "lm.yaml", "--compare", "[float, quantized, simulated]")
    assert answer.code == 0, answer.err
    said = re.findall(r"perplexity ([\d.]+) \[([\d.]+), ([\d.]+)\] \((float|quantized|simulated)", answer.out)
    assert [kind for *_, kind in said] == ["float", "quantized", "simulated"]
    shares = re.findall(r"(float|simulated)[^\n]*?([\d.]+) % of tokens as quantized", answer.out)
    assert [kind for kind, _ in shares] == ["float", "simulated"]
    assert all(0 < float(share) < 100 for _, share in shares)
    changes = re.findall(r"([+-][\d.]+) % \[([+-][\d.]+), ([+-][\d.]+)\] to (float|quantized)", answer.out)
    assert [kind for *_, kind in changes] == ["float", "float", "quantized"]
    means = [float(mean) for mean, *_ in said]
    expected = (means[1] / means[0], means[2] / means[0], means[2] / means[1])
    for (change, low, high, _), ratio in zip(changes, expected, strict=True):
        assert float(change) == pytest.approx(100 * (ratio - 1), abs=0.2)
        assert float(low) < float(change) < float(high)
    network = AutoModelForCausalLM.from_pretrained("small")
    windows = Text("words.txt", "small", window=16, test_windows=12).test_split().images
    with torch.no_grad():
        means = [float(network(window[None], labels=window[None]).loss) for window in windows]
    perplexity = math.exp(sum(means) / len(means))
    shown, low, high = map(float, said[0][:3])
    assert shown == pytest.approx(perplexity, rel=1e-3)
    assert low < shown < high
    assert f"{sum(map(math.exp, means)) / len(means):.4g}" != f"{perplexity:.4g}"  # the mean of exponentials is another
    # a fit logs the same mean over the windows of two batches
    fit = asim("fit", "-c", "lm.yaml", "--data.init_args.held_out", "11", "--model.optimizer.lr", "0.01")
    assert fit.code == 0
    assert re.search(r"^starts from the weights that \S+ was made with at epoch 0 of 2; ", fit.out, re.MULTILINE)
    logged = [row for row in rows_of("runs/lm/version_0/metrics.csv") if row["val/perplexity"]]
    for row in logged:
        assert float(row["val/perplexity"]) == pytest.approx(math.exp(float(row["val/loss"])), rel=1e-5)
    assert float(logged[1]["val/perplexity"]) < float(logged[0]["val/perplexity"])
    best = Path("runs/lm/version_0/checkpoints/best.ckpt")
    (trained,) = re.findall(r"perplexity ([\d.]+) \[", asim("validate", "-c", "lm.yaml", "--ckpt_path", best).out)
    assert float(trained) < float(said[2][0])


def test_a_perplexity_weighs_windows_by_their_counted_tokens(asim: Asim, recipe: Path) -> None:
    from transformers import AutoModelForCausalLM

    float_only = ["validate", "-c", "lm.yaml", "--data.init_args.stride", "4", "--data.init_args.test_windows", "3"]
    alone, compared = asim(*float_only, "--model.fidelity", "float"), asim(*float_only, "--compare", "[float]")
    split = Text("words.txt", "small", window=16, test_windows=3, stride=4).test_split()
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained("small")(split.images).logits
    of_token = cross_entropy(logits[:, :-1].flatten(0, 1), split.labels[:, 1:].flatten(), reduction="none")
    assert (split.labels[:, 1:] != -100).sum(dim=1).tolist() == [15, 4, 4]
    perplexity = math.exp(float(of_token.sum()) / 23)
    (logged,) = re.findall(r"val/perplexity\W+([\d.]+)", alone.out)
    assert float(logged) == pytest.approx(perplexity, rel=1e-4)
    for answer in alone, compared:
        (shown,) = re.findall(r"perplexity ([\d.]+) \[", answer.out)
        assert float(shown) == pytest.approx(perplexity, rel=1e-3)


def test_neighbours_of_a_text_are_resampled_together(asim: Asim, recipe: Path) -> None:
    from transformers import AutoModelForCausalLM

    windows = Text("words.txt", "small", window=16, test_windows=16, spread=False).test_split().images
    network = AutoModelForCausalLM.from_pretrained("small")
    with torch.no_grad():
        losses = np.array([float(network(window[None], labels=window[None]).loss) for window in windows])
    found = mean_interval(losses.reshape(8, 2).mean(axis=1, keepdims=True), False)
    expected = [math.exp(each) for each in (found.mean, found.low, found.high)]
    options = ["-c", "lm.yaml", "--data.init_args.spread", "false", "--data.init_args.test_windows", "16"]
    for way in ("--model.fidelity", "float"), ("--compare", "[float]"):
        answer = asim("validate", *options, *way)
        (said,) = re.findall(r"perplexity ([\d.e+]+) \[([\d.e+]+), ([\d.e+]+)\]", answer.out)
        assert list(map(float, said)) == pytest.approx(expected, rel=1e-3)
    asim("sweep", *options, "--axes.random_noise", "[0]")
    (row, *_) = rows_of(next(recipe.glob("runs/lm/sweep-*/results.csv")))
    assert [float(row[name]) for name in ("accuracy", "low", "high")] == pytest.approx(expected, rel=1e-3)


def test_equal_answers_are_called_equal(asim: Asim, recipe: Path) -> None:
    quiet = ["--compare", "[quantized, simulated]", "--model.plan.macro.random_noise", "0"]
    answer = asim("validate", "-c", "lm.yaml", *quiet)
    line = next(line for line in answer.out.splitlines() if "(simulated" in line)
    assert line.endswith("12 samples); equal to quantized, 100.00 % of tokens as quantized")


def test_studies_decide_changes_of_a_perplexity(asim: Asim, recipe: Path) -> None:
    write_language_model(recipe / "small", torch.tensor(list(TEXT.encode())).view(-1, 16) - ord("!"))
    answer = asim("sweep", "-c", "lm.yaml")
    assert answer.code == 0, answer.err
    _, quantized, quiet, noisy = rows_of(next(recipe.glob("runs/lm/sweep-*/results.csv")))
    assert quiet["perplexity within 1 % of quantized"] == "kept"
    assert noisy["perplexity within 1 % of quantized"] == "missed"
    assert (float(quiet["agreement"]), quantized["agreement"]) == (1, "")
    assert 0 < float(noisy["agreement"]) < 1
    change = float(noisy["accuracy"]) / float(quantized["accuracy"]) - 1
    assert float(noisy["difference"]) == pytest.approx(change, rel=1e-4)
    assert float(noisy["difference_low"]) < change < float(noisy["difference_high"])
    assert re.search(r"change \(%\).*\n.*\n +0  4 lsb +\+\d", answer.out)
    assert asim("spec", "-c", "lm.yaml", "--properties", "[random_noise]", "--chips", "2").code == 0
    doctor = asim("doctor", "-c", "lm.yaml", "--chips", "2")
    assert doctor.code == 0, doctor.err
    assert re.search(r"kept: the whole interval is at most 30\.00 %", doctor.out)
    space = ["--search.space.adc_bits", "[7, 8]", "--search.objectives", "[perplexity, energy]"]
    found = asim("search", "-c", "lm.yaml", *space, "--search.constraints", "[perplexity 1e6]")
    assert "perplexity 1000000: kept by 2 of 2 points" in found.out
    report = asim("report", "runs/lm")
    assert report.code == 0, report.err
    assert "verdict  lm: sweep" in report.out
    assert "perplexity within 1 % of quantized (" in report.out
    assert "must be on the outcome perplexity" in asim("report", "runs/lm", "--target", "88 %").error


@pytest.mark.parametrize("command", ["cost", "explain", "verify", "bench", "calibrate-adc", "chip"])
def test_other_commands_take_windows_of_tokens(command: str, asim: Asim, recipe: Path) -> None:
    more = {"bench": ["--batch", "2"], "calibrate-adc": ["--images", "2"]}.get(command, [])
    offset = ["--model.plan.macro.static.offset", "0.3 lsb"] * (command == "chip")
    answer = asim(command, "-c", "lm.yaml", *more, *offset)
    assert answer.code == 0, answer.err
    assert "model.layers.1.mlp.down_proj" in answer.out or command == "bench"
