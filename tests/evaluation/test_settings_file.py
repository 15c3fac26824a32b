"""A folder is named by what its settings.json holds, and keeps it."""

import json
import re
from pathlib import Path

import pytest

from asim_lightning.evaluation.settings_file import keep_settings, sweep_folder

FINGERPRINT = {"checkpoint": "3f2a", "seed": 0, "macro": {"rows": 255, "adc_bits": None}}


def test_folder_is_named_by_the_fingerprint(tmp_path: Path) -> None:
    name = sweep_folder(tmp_path, FINGERPRINT).name
    assert re.fullmatch(r"sweep-[0-9a-f]{8}", name)
    assert sweep_folder(tmp_path, dict(reversed(FINGERPRINT.items()))).name == name
    assert sweep_folder(tmp_path, {**FINGERPRINT, "seed": 0.0}).name == name
    assert sweep_folder(tmp_path, {**FINGERPRINT, "seed": 1}).name != name
    assert sweep_folder(tmp_path, {**FINGERPRINT, "seed": False}).name != name
    with pytest.raises(TypeError, match="what JSON can hold"):
        sweep_folder(tmp_path, {"path": tmp_path})


def test_settings_hold_the_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "new" / "settings.json"
    assert keep_settings(path.parent, FINGERPRINT) is None
    assert json.loads(path.read_text()) == FINGERPRINT
    before = path.stat()
    assert keep_settings(path.parent, dict(reversed(FINGERPRINT.items()))) is None
    assert path.stat() == before


@pytest.mark.parametrize("content", [b"", b'{"check', b"\xff\xfe\x00", b"[" * 100_000])
def test_torn_settings_are_written_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    assert keep_settings(tmp_path, FINGERPRINT) == (
        f"{path} was torn or edited after it was written, and is written anew"
    )
    assert json.loads(path.read_text()) == FINGERPRINT


def test_settings_that_cannot_be_read_are_said_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "settings.json"
    path.write_text("{}")

    def refused(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refused)
    assert keep_settings(tmp_path, FINGERPRINT) == f"{path} cannot be read (Permission denied), and is written anew"
    monkeypatch.undo()
    assert json.loads(path.read_text()) == FINGERPRINT


def test_settings_of_another_run_are_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({**FINGERPRINT, "seed": 7}))
    expected = (
        f"{tmp_path} must hold the run that is asked for, but its settings.json differs; delete that file if it was "
        "edited, and no trial is lost"
    )
    with pytest.raises(ValueError, match=re.escape(expected)):
        keep_settings(tmp_path, FINGERPRINT)
    assert json.loads(path.read_text())["seed"] == 7
