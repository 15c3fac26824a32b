"""asim chip prints, draws and saves what a chip gives each layer."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.cli import main
from asim_lightning.engine import Conv2dProduct, converters_of
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.chips.effects import stuck_bits

COMMAND = ["chip", "-c", "quickstart", "--data.init_args.test_images", "2"]
STATIC = "{offset: 0.3 lsb, gain: 1 %, inl: 1 %, stuck_at_1: 1e-3, columns_per_adc: 4}"

PATTERN = """
from asim_lightning.circuit import Charge

class Mine(Charge):
    def converters(self, places):
        return 1.01, 0.25 * places.weight_bit
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_printed_and_saved_is_what_engines_use(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([*COMMAND, "--chip", "17", "--model.plan.macro.static", STATIC, "--format", "pdf"])
    lines = capsys.readouterr().out.splitlines()
    table = [line.split() for line in lines if line.startswith("layer1.0.conv1")]
    assert table[0][1] == "16"  # 8 outputs of 8 bits, by fours
    assert any(line.startswith("worst converters") for line in lines)
    folder = here / "runs/quickstart/chip-17"
    assert (folder / "chip.pdf").read_bytes().startswith(b"%PDF")
    saved = load_file(folder / "chip.safetensors")
    macro = MacroConfig(static={"offset": "0.3 lsb", "gain": 1, "inl": 1, "stuck_at_1": 1e-3, "columns_per_adc": 4})
    product, circuit, own = Conv2dProduct((1, 1), (1, 1), (1, 1), 1), transfer(macro, False), Chip(17, "layer1.0.conv1")
    shape = torch.Size((8, 8, 3, 3))
    found = converters_of(own, product, circuit, shape)
    assert found is not None
    for kind, values in (("offset", found.offset), ("gain", found.gain), ("inl", found.tables)):
        assert values is not None
        assert torch.equal(saved[f"layer1.0.conv1/{kind}"], values), saved["layer1.0.conv1/offset"].shape
    assert torch.equal(saved["layer1.0.conv1/stuck_at_1"], stuck_bits(own, product, circuit, shape)[1])
    assert "layer1.0.conv1/stuck_at_0" not in saved


def test_a_pattern_of_a_users_column_is_shown_and_not_saved(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(here)
    (here / "my_pattern_of_chip.py").write_text(PATTERN)
    main([*COMMAND, "--model.plan.macro.column", "my_pattern_of_chip.Mine"])
    lines = capsys.readouterr().out.splitlines()
    worst = next(number for number, line in enumerate(lines) if line.startswith("worst converters"))
    assert lines[worst + 2].split()[-4:] == ["7", "+1.75", "+1", "-"]
    assert [path.name for path in (here / "runs/quickstart/chip-0").iterdir()] == ["chip.png"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--chip", "17"], "error: No chip differs from another: set `model.plan.macro.static`"),
        (["--chip", "-1", "--model.plan.macro.static.offset", "1"], "error: `chip` must be 0..4294967295, got -1"),
        (["--chip", "one"], "error: `chip` must be int or null, got one"),
        (["--model.plan.macro.static.ofset", "1"], "nearest: model.plan.macro.static.offset"),
        (["--model.plan.macro.static.trim", "all"], "`macro.static.trim` must be one of none, offset, gain, both"),
        (["--model.plan.macro.static", "1"], "static"),
    ],
)
@pytest.mark.usefixtures("here")
def test_wrong_inputs_are_one_line(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*COMMAND, *flags])
    assert caught.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in last if line.startswith("error")]) == 1
    assert message in last[-1]
