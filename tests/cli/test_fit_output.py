"""What a fit prints, and an error that is not the user's."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Asim

Write = Callable[..., Path]


@pytest.mark.parametrize("debug", [False, True])
def test_an_error_of_the_code_is_a_line_that_names_the_file_with_its_traceback(
    debug: bool, asim: Asim, written: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("shapes cannot\nbe multiplied")

    monkeypatch.setattr("asim_lightning.classifier.CimClassifier.training_step", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    answer = asim("fit", "-c", written(), *(["--debug"] if debug else []))
    assert answer.code == 1
    said, _, file = answer.err.splitlines()[-1].partition("; traceback in ")
    assert said == "error: RuntimeError: shapes cannot be multiplied"
    assert "training_step" in Path(file).read_text()
    assert ("Traceback" in answer.err) == debug


def charts(said: str) -> list[str]:
    return [line.split()[-1] for line in said.splitlines() if line.startswith("charts")]


@pytest.mark.parametrize(
    ("arguments", "folders"),
    [
        ((), ["runs"]),
        (("--trainer.default_root_dir", "elsewhere"), ["elsewhere"]),
        (("--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "tables"), []),
        (("--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir", "boards"), ["boards"]),
        (("--trainer.logger", "false"), []),
    ],
)
def test_charts_are_announced_where_there_are_some(
    arguments: tuple[str, ...], folders: list[str], asim: Asim, written: Write
) -> None:
    answer = asim("fit", "-c", written(), *arguments)
    assert answer.code == 0
    assert charts(answer.out) == folders
    assert all(list(Path(folder).rglob("events.out.*")) for folder in folders)


def summary(out: str) -> tuple[list[str], list[list[str]]]:
    """Words of the header and of each row of a fit's table of its network."""
    lines = [line.split() for line in out.splitlines()]
    first = next(number for number, words in enumerate(lines) if words[:2] == ["Name", "Type"])
    last = next(number for number, words in enumerate(lines) if words[1:2] == ["parameters"])
    return lines[first], lines[first + 2 : last]


def test_the_summary_has_macs_for_flops(asim: Asim, written: Write) -> None:
    answer = asim("fit", "-c", written(trainer__enable_model_summary=True))
    assert answer.code == 0
    header, (row,) = summary(answer.out)
    assert header == ["Name", "Type", "Params", "Mode", "MACs"]
    assert row[1] == "backbone"  # metrics have no parameters
    assert "FLOPs" not in answer.out
    macs = row[-1]
    assert int(macs.replace(",", "")) > 10**6
    assert f"14 of 15 layers on a macro, 99.4 % of {macs} MACs a sample" in answer.out


def test_the_summary_goes_as_deep_as_asked(asim: Asim, written: Write) -> None:
    path = written(trainer__enable_model_summary=True)
    answer = asim("fit", "-c", path, "--trainer.callbacks+=NetworkSummary", "--trainer.callbacks.max_depth", "2")
    _, rows = summary(answer.out)
    counts = {row[1]: int(row[-1].replace(",", "")) for row in rows}
    assert counts["backbone"] == sum(count for name, count in counts.items() if name != "backbone")
    assert counts["backbone.fc"] == 640
    assert asim("fit", "-c", path, "--trainer.enable_model_summary", "false").out.count("MACs") == 0
