"""Claims are on their pages, and an edited digit on either side fails."""

import re
import sys
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def _loaded() -> ModuleType:
    loader = SourceFileLoader("claims_of_pages", str(ROOT / ".ci/claims"))
    spec = spec_from_loader("claims_of_pages", loader)
    assert spec is not None
    module = sys.modules["claims_of_pages"] = module_from_spec(spec)  # dataclasses look their module up
    loader.exec_module(module)
    return module


CLAIMS: Any = _loaded()
LIST, PAGES = CLAIMS.read_claims(), CLAIMS.read_pages()


def test_every_claim_is_on_its_page() -> None:
    assert len(LIST) > 50
    assert [each.text for each in LIST if not each.is_on(PAGES)] == []


def test_an_edited_digit_fails() -> None:
    """A digit of the page, of the text in the list, and of the expected numbers."""
    for claim in LIST:
        page, (digit,) = PAGES[claim.page], [re.search(r"\d", claim.text)]
        assert digit is not None
        at = digit.start()
        edited = claim.text[:at] + str((int(claim.text[at]) + 1) % 10) + claim.text[at + 1 :]
        flat, text = " ".join(page.split()), " ".join(claim.text.split())
        assert not claim.is_on({claim.page: flat.replace(text, " ".join(edited.split()))})
        if edited not in page:
            assert not replace(claim, text=edited).is_on(PAGES)
        assert not claim.expected or not replace(claim, expected=["77.123"]).is_on(PAGES)


@pytest.mark.parametrize(
    ("changes", "output", "holds"),
    [
        ({}, "kept 38.54 % of 12", True),
        ({}, "kept 38.45 % of 12", True),  # a half is rounded either way
        ({}, "kept 38.56 % of 12", False),
        ({}, "nothing", False),
        ({"within": 2}, "kept 70 % of 12", True),
        ({"within": 2}, "kept 80 % of 12", False),
        ({"unit": 1000}, "kept 38500 % of 12", True),
        ({"expected": ["38.5", "12"], "find": r"kept ([\d.]+) % of (\d+)"}, "kept 38.5 % of 13", False),
    ],
)
def test_numbers_round_to_the_page(changes: dict[str, Any], output: str, holds: bool) -> None:
    given = {"find": r"kept ([\d.]+)", "expected": ["38.5"], **changes}
    assert CLAIMS.Claim("README.md", "38.5 of 12", "asim", **given).judged(output)[0] is holds


def test_tables_are_equal_line_by_line_without_some_columns() -> None:
    text = "kind   share  seconds\n-----  -----  -------\nfloat   91.2      0.1\nexact      -      0.3"
    claim = CLAIMS.Claim("README.md", text, "asim", without=["seconds"])
    printed = "said\n" + text.replace("0.1", "0.7") + "\nmore"
    assert claim.judged(printed) == (True, "2 lines", "2 equal")
    assert claim.judged(printed.replace("91.2", "91.3")) == (False, "2 lines", "1 equal")


@pytest.mark.process
def test_commands_leave_nothing_in_the_folder_they_are_started_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They run in a folder with the recipes and checkpoints, where files of a page's titled blocks are, too."""
    monkeypatch.chdir(tmp_path)
    page = """```python title="left.py"
open("left.txt", "w").write("")
```
```bash
python left.py && ls checkpoints/README.md configs/quickstart.yaml left.*
asim nothing
```"""
    with CLAIMS.temporary_folder():
        outputs, failed = CLAIMS.outputs_of({"page.md": page}, [], quick=True)
    files = ["checkpoints/README.md", "configs/quickstart.yaml", "left.py", "left.txt"]
    assert [said.split()[:4] for command, said in outputs.items() if "left.py" in command] == [files]
    assert failed == ["exit status 2: asim nothing"]
    assert (Path.cwd(), list(tmp_path.iterdir())) == (tmp_path, [])


@pytest.mark.process
@pytest.mark.parametrize(("quick", "run"), [(True, ["echo 0"]), (False, ["echo 0", "echo 1", "echo 2"])])
def test_quick_leaves_out_what_is_marked_with_minutes(quick: bool, run: list[str]) -> None:
    commands = [f"python --version && echo {number}" for number in range(3)]
    page = f"```bash\n{commands[0]}\n{commands[1]}\n{commands[2]}  # takes a minute\n```"
    claim = CLAIMS.Claim("page.md", "", commands[1], minutes=0.4)
    outputs, failed = CLAIMS.outputs_of({"page.md": page}, [claim], quick)
    assert ([each.partition(" && ")[2] for each in outputs], failed) == (run, [])
