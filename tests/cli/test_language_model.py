"""A recipe names a language model of transformers, and every command takes it."""

from pathlib import Path

import pytest

from tests.cli.conftest import Asim
from tests.data.language_model import write_language_model

RECIPE = """
data:
  class_path: asim_lightning.data.Text
  init_args: {files: words.txt, tokenizer: small, window: 16, test_windows: 12}
model:
  outcome: next_token
  calibration_images: 8
  backbone:
    network: transformers.AutoModelForCausalLM.from_pretrained
    kwargs: {pretrained_model_name_or_path: small, dtype: float32, use_cache: false}
  plan: {keep: [lm_head], macro: {random_noise: 0.2 lsb}}
axes: {random_noise: [0, 0.4 lsb]}
trials: 1
trainer: {accelerator: cpu, max_epochs: 1}
"""
TEXT = "the law of large numbers is a law of averages, and an average is a sum; " * 8


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
    assert ", 576 tokens; 12 windows of 16 test it on 180\n" in answer.out
    assert "weights  as transformers.AutoModelForCausalLM.from_pretrained makes them" in answer.out
    for options, said in (
        (["--data.init_args.window", "65"], "must be at most 64 tokens for LlamaForCausalLM, got 65"),
        (
            ["--data.init_args.tokenizer", "characters"],
            "must have the 256 tokens of LlamaForCausalLM, got 21, so it is",
        ),
        (
            ["--model.backbone.input_shape", "[8]", "--model.backbone.input_values", "256"],
            "`model.backbone.input_shape` must be [16], the window of the data, got [8]",
        ),
    ):
        refused = asim("validate", "-c", "lm.yaml", *options)
        assert refused.code == 2
        assert said in refused.error
