"""Every shipped recipe says its command on line 2, explains each key, and builds."""

import os
import re
from pathlib import Path

import pytest

from asim_lightning.cli import main
from asim_lightning.resources import shipped_file, shipped_folder

RECIPES = sorted(shipped_folder("configs").glob("*.yaml"))


def test_there_are_recipes() -> None:
    assert {"quickstart", "fashion_resnet_qat"} <= {path.stem for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_says_its_command_and_explains_its_keys(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert re.fullmatch(rf"# asim \w+ -c configs/{path.stem}\.yaml.*", lines[1])
    for line in lines:
        setting = re.match(r"\s*(- )?(\w+): *([^#\s].*)?$", line)
        value = setting[3] if setting else None
        assert value is None or "#" in line, f"{line.strip()!r} has no comment"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_builds(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["explain", "-c", str(path)])
    assert "layers on a macro" in capsys.readouterr().out
    assert os.listdir(tmp_path) == []


def test_shipped_files_are_found_by_name_or_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("quickstart", "quickstart.yaml", "configs/quickstart.yaml")
    assert len({shipped_file("configs", name) for name in names}) == 1
    Path("quickstart").write_text("mine")
    assert shipped_file("configs", "quickstart") == Path("quickstart")
    with pytest.raises(FileNotFoundError, match=r"no file 'quickstrat'; shipped configs, nearest: quickstart"):
        shipped_file("configs", "quickstrat")
