"""What `asim sweep` says of the record that it found."""

from collections.abc import Callable
from pathlib import Path

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
