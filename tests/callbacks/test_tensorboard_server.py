"""What a user's browser asks TensorBoard for, over HTTP: charts, their numbers, and the table of runs."""

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from asim_lightning.callbacks import ConfusionMatrix, HparamsTable, NoiseRamp, NoiseSweep
from tests.callbacks.conftest import quiet_trainer
from tests.classifier.conftest import make_data, make_model

RUN = "runs/version_0"


@pytest.fixture(scope="module")
def sweep() -> NoiseSweep:
    return NoiseSweep(levels=["0.1 lsb", "2 lsb"], images=10)


@pytest.fixture(scope="module")
def server(sweep: NoiseSweep, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("tensorboard")
    trainer = quiet_trainer(folder, sweep, NoiseRamp(end=20.0), ConfusionMatrix(), HparamsTable(), max_epochs=2)
    trainer.fit(make_model(), datamodule=make_data())
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen([*command, "--load_fast=false"], stderr=subprocess.PIPE, text=True) as process:
        try:
            yield _address(process)
        finally:
            process.kill()  # its own handler of SIGTERM may wait for ever


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(r"(http://127\.0\.0\.1:\d+)/", line)
        if found:
            return found[1]
    raise AssertionError("TensorBoard did not start")


def ask(server: str, path: str, **query: str) -> Any:
    """The answer, once the server has read the event files: it starts before it has."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"{server}/data/plugin/{path}?{urlencode(query)}", timeout=10) as answer:
                found = json.loads(answer.read())
            if found:
                return found
        except urllib.error.HTTPError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"{path} stayed empty")


def test_the_layout_has_the_margin_chart_and_the_training_charts(server: str) -> None:
    layout = ask(server, "custom_scalars/layout")
    charts = {chart["title"]: chart for category in layout["category"] for chart in category["chart"]}
    margin = next(chart["margin"] for chart in charts.values() if "margin" in chart)
    tags = {series["value"] for series in margin["series"]}
    assert all(tag in ask(server, "scalars/tags")[RUN] for tag in tags)
    both = charts["training loss and noise"]["multiline"]["tag"]
    tags_of_run = ask(server, "scalars/tags")[RUN]
    assert [any(re.search(pattern, tag) for tag in tags_of_run) for pattern in both] == [True, True]


def test_the_margin_chart_has_the_numbers_of_the_last_sweep(server: str, sweep: NoiseSweep) -> None:
    tag = next(tag for tag in ask(server, "scalars/tags")[RUN] if tag.endswith("/mean"))
    found = ask(server, "scalars/scalars", run=RUN, tag=tag)  # (time, step, value) each
    last = sweep.results[max(sweep.results)]
    assert [value for _, _, value in found] == pytest.approx([row.accuracy for row in last])
    assert len({step for _, step, _ in found}) == 2


def test_the_confusion_matrix_is_a_picture(server: str) -> None:
    (entry, *_) = ask(server, "images/images", run=RUN, tag="val/confusion", sample="0")
    with urllib.request.urlopen(f"{server}/data/plugin/images/{_individual(entry)}", timeout=10) as answer:
        assert answer.read(4) == b"\x89PNG"


def _individual(entry: dict[str, Any]) -> str:
    return f"individualImage?{entry['query']}"


def test_the_table_has_one_row_a_run(server: str) -> None:
    body, kind = json.dumps({"experimentName": ""}).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server}/data/plugin/hparams/experiment", body, kind, method="POST")
    ask(server, "scalars/tags")  # until the event files are read
    with urllib.request.urlopen(request, timeout=10) as answer:
        experiment = json.loads(answer.read())
    names = {info["name"] for info in experiment["hparamInfos"]}
    assert {"train_noise", "adc_bits"} <= names
    assert len(ask(server, "scalars/tags")) == 1  # no run beside the training's own
