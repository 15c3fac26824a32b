"""What `asim sweep` says of the record that it found."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Asim

Write = Callable[..., Path]


def rows(out: str) -> list[list[str]]:
    """Kind, noise, accuracy and interval of each row of the table."""
    return [
        line.split()[:5] for line in out.splitlines() if line.split()[:1] in (["float"], ["quantized"], ["simulated"])
    ]


def test_a_trial_that_was_changed_is_computed_again_and_said(asim: Asim, written: Write) -> None:
    command = ("sweep", "-c", written(axes={"random_noise": [0.5]}, trials=1), "--progress", "false")
    first = asim(*command)
    changed, *others = sorted(Path("runs").glob("tiny/records-*/trials/*.npz"))
    before = {path: path.stat().st_mtime_ns for path in others}
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 0xFF
    changed.write_bytes(content)
    again = asim(*command)
    assert f"{changed} was changed or damaged after it was written, and is computed again" in again.out
    assert rows(again.out) == rows(first.out)
    assert {path: path.stat().st_mtime_ns for path in others} == before
    assert "changed or damaged" not in asim(*command).out


@pytest.mark.parametrize(
    ("chips", "damaged"),
    [
        ((), '{"command": "asim'),
        (("--chips", "2", "--model.plan.macro.static", "{offset: 0.3 lsb}"), '{"command": "asim sweep", "calls": "x"}'),
    ],
    ids=["sweep", "yield"],
)
def test_tables_that_were_torn_or_edited_are_said_and_written_anew(
    chips: tuple[str, ...], damaged: str, asim: Asim, written: Write
) -> None:
    """Of a sweep and of a yield."""
    command = ("sweep", "-c", written(axes={"random_noise": [0.5]}, trials=1), "--progress", "false", *chips)
    first = asim(*command)
    assert first.code == 0, first.err
    (table,) = Path("runs").glob("tiny/sweep-*/results.csv")
    whole, settings = table.read_text(), table.with_name("settings.json")
    table.write_text(whole[:-30])
    settings.write_bytes(settings.read_bytes()[:100])
    (call,) = table.parent.glob("commands/*.json")
    call.write_text(damaged)
    again = asim(*command)
    assert f"{call} was torn or edited after it was written, and counts calls and seconds from here" in again.out
    assert json.loads(call.read_text())["calls"] == 1
    assert json.loads(call.read_text())["images"] == 2000  # those that there are, of which 20 are evaluated
    line = len(whole.splitlines())
    assert f"{table} is torn, edited or of points that are others now at line {line}, and is written anew" in again.out
    assert f"{settings} was torn or edited after it was written, and is written anew" in again.out
    assert "nothing is computed" in again.out
    assert table.read_text() == whole
    # as if it were of another version, whose digest it has
    found = json.loads(settings.read_text())
    found["versions"]["torch"] = "1.0"
    settings.write_text(json.dumps(found))
    assert f"{table.parent} must hold the run that is asked for, but its settings.json differs" in asim(*command).error
    table.parent.rename(table.parent.with_name("sweep-00000000"))
    other = asim(*command)
    assert "sweep-00000000 is the same sweep by other versions (torch 1.0, now " in other.out
    assert "other versions" not in asim(*command).out
