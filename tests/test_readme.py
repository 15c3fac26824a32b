"""The Python of README and guide runs as it stands there, block after block."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import asim_lightning
from asim_lightning.circuit import ConverterPlaces, schedule
from asim_lightning.surgery import macro_layers

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("notebooks/guide/*.md"))]


def _run(page: str) -> dict[str, Any]:
    """The names after all blocks of a page have run, one after the other."""
    names: dict[str, Any] = {}
    text = (ROOT / page).read_text(encoding="utf-8")
    for number, block in enumerate(re.findall(r"```python.*?\n(.*?)```", text, re.S)):
        exec(compile(block, f"block {number} of {page}", "exec"), names)
    return names


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(
    page: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = _run(page)
    said = capsys.readouterr().out
    macro = asim_lightning.MacroConfig()
    if page == "README.md":
        level = names["Compressed"](macro).level(torch.tensor([255.0]), schedule(macro, False)[0])
        assert float(level) == pytest.approx(0.98 * 255)
        assert names["logits"].isfinite().all()
    elif page.endswith("/column.md"):
        assert said.split("\n")[:3] == ["64", "tensor([37.])", "tensor(0.3000)"]
    elif page.endswith("/own_pictures.md"):
        assert len(list(tmp_path.glob("pictures/*/*/*.png"))) == 1200
    elif page.endswith("/own_network.md"):
        assert len(names["sweep"].points) == 4
        assert len(names["chips"].points) == 20
        assert (tmp_path / "net.html").stat().st_size > 1_000_000
        module = names["MyModule"]()
        module.training_step((torch.rand(4, 3, 16, 16), torch.arange(4)), 0).backward()
        assert all(parameter.grad.any() for parameter in module.parameters())
    elif page.endswith("/training.md"):
        assert re.findall(r"^(float|quantized|simulated) \d of 8$", said, re.M) == ["float", "quantized", "simulated"]
        model, images = names["model"], names["images"]
        assert {layer.macro.random_noise for layer in macro_layers(model).values()} == {"0.3 lsb"}
        assert names["loss"].isfinite()
        with torch.no_grad():
            assert torch.equal(names["program"].module()(images), model(images))
    elif page.endswith("/corners.md"):
        network, images = (
            torch.nn.Sequential(torch.nn.Linear(63, 63), torch.nn.ReLU(), torch.nn.Linear(63, 8)),
            torch.rand(200, 63),
        )
        droop = asim_lightning.MacroConfig(rows=63, adc_bits=12, column="droop", column_args={"k": 0.4})
        asim_lightning.convert_(network, asim_lightning.Plan(macro=droop), images[:1])
        asim_lightning.calibrate_(network.eval(), [images])
        with torch.no_grad():
            asim_lightning.set_fidelity_(network, "quantized")
            exact = network(images)
            asim_lightning.set_fidelity_(network, "simulated")
            before = float((network(images) - exact).std())
            names["correct_"](network, images)
            assert float((network(images) - exact).std()) < 0.3 * before
    elif page.endswith("/measured.md"):
        tester = tmp_path / "tester.csv"
        tester.write_text("\n".join(map(str, [0.3, 0, 0, 0, 0, 0, 0, 0, -0.2, 0])))
        places = ConverterPlaces("fc", torch.arange(4) // 2, torch.arange(4) % 2 * 8)
        gain, offset = names["Tested"](macro, str(tester), 1e-3).converters(places)
        assert gain.tolist() == pytest.approx([1, 0.992, 1, 0.992])
        assert offset.tolist() == pytest.approx([0.3, -0.2, 0.3, -0.2])
        count, curve = torch.full((2,), 255.0), torch.arange(2)
        levels, _ = names["TwoKinds"](macro).of_curves(curve, count, schedule(macro, False)[0])
        assert levels.tolist() == pytest.approx([255, 249.9])
    else:
        assert not names, f"{page} has Python, and no check of what it gives"


def test_what_is_exported_at_the_top_is_there() -> None:
    for name in asim_lightning.__all__:
        assert getattr(asim_lightning, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'set_fidelity'"):
        asim_lightning.set_fidelity


def test_files_that_contributing_names_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:asim_lightning|tests|notebooks|checkpoints|\.ci)/[\w./]+)", text))
    assert len(paths) > 30
    assert not [path for path in paths if "NAME" not in path and not (ROOT / path).exists()]
