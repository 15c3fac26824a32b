"""The page of a report: it parses, needs no network, and shows no number that its CSV links do not have."""

import csv
import io
import json
import re
from base64 import b64decode
from dataclasses import asdict, replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from asim_lightning import MacroConfig
from asim_lightning.cost.operations import Operations
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.run import Run
from asim_lightning.evaluation.target import Target
from asim_lightning.report.html_page import page, table_html
from asim_lightning.report.origin import difference_table, facts
from asim_lightning.report.run_section import Section, report_of, run_title
from asim_lightning.table import Table, plain
from tests.report.runs import COMMAND, MAPPED, doctor_document, of_adc, of_chips, point, run, spec_document

plotly = pytest.importorskip("plotly")

TARGET = Target("share", 0.99, "quantized")
LAYER = {
    "layer": "conv1 <a>", "kind": "CimConv2d", "on_macro": True, "weight_bits": 8, "input_bits": 8,
    **vars(Operations(macs=1000, conversions=25000, row_macs=2000)), "rows_in_use": 0.5,
    "energy_pj": 3000.0, "array_pj": 1000.0, "adc_pj": 2000.0, "drivers_pj": 0.0, "all_digital_pj": 5000.0,
    "latency_s": 2e-6, "tops_per_watt": 0.5, "why_digital": "",
}  # fmt: skip
COST = {
    "technology": {"node": {"value": 28.0}, "supply": {"value": 0.9}},
    "total": {"all_digital_pj": 5.5e6},
    "layers": [
        LAYER,
        {**LAYER, "layer": "fc", "on_macro": False, "why_digital": "reads the image", "energy_pj": 1000.0},
    ],
}
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Elements of a page, each closed by its own end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    @property
    def tables(self) -> dict[str, list[list[str]]]:
        """Rows behind the links that save them, by name."""
        links = [found for tag, found in self.elements if tag == "a" and "download" in found]
        tables = {}
        for link in links:
            text = b64decode(str(link["href"]).partition("base64,")[2]).decode()
            tables[str(link["download"])] = list(csv.reader(io.StringIO(text)))
        return tables


def section(found: Run) -> Page:
    return Page(Section.of(found, TARGET).html())


def numbers(texts: list[str]) -> list[float]:
    return [
        float(each.replace(",", ""))
        for text in texts
        for each in re.findall(r"(?<![\w.])-?\d[\d,]*\.?\d*(?![\w.])", text)
    ]


RUNS = {"energies": replace(of_adc(), network_cost=COST), "bits": of_adc(False), "chips": of_chips()}


@pytest.mark.parametrize("found", RUNS.values(), ids=RUNS)
def test_the_page_parses_and_needs_no_network(found: Run) -> None:
    body = Section.of(found, TARGET).html()
    whole = page("a <title>", body)
    script = plotly.offline.get_plotlyjs()
    assert whole.count(script) == 1
    assert not re.search(r"https?:|//cdn|src=|@import|url\(", whole.replace(script, ""))
    parsed = Page(whole.replace(script, ""))
    assert parsed.open == []
    assert ("html", {"lang": "en"}) in parsed.elements
    assert "a &lt;title&gt;" in whole


@pytest.mark.parametrize("found", RUNS.values(), ids=RUNS)
def test_the_name_of_an_outcome_is_escaped(found: Run) -> None:
    """It is in the page as text, and in the figures as the text of a JSON."""
    name = 'pixel accuracy</script><script>alert("1\\'
    results = tuple(replace(each, measure=Measure(name)) for each in found.results)
    plain, named = (Section.of(replace(found, results=each), TARGET).html() for each in (found.results, results))
    parsed = Page(named)
    assert [tag for tag, _ in parsed.elements] == [tag for tag, _ in Page(plain).elements]
    assert name in " ".join(parsed.texts)
    assert "pixel pixel" not in named
    drawn = re.findall(r'"text": ?("(?:[^"\\]|\\.)*")', named)
    assert any(json.loads(each).startswith(escape(name)) for each in drawn)


@pytest.mark.parametrize("found", RUNS.values(), ids=RUNS)
def test_each_number_of_a_table_is_in_a_csv_and_csvs_are_the_numbers_of_the_section(found: Run) -> None:
    parsed = section(found)
    tables = parsed.tables
    known = [
        float(cell)
        for rows in tables.values()
        for row in rows
        for cell in row
        if re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell)
    ]
    known += numbers([cell for rows in tables.values() for row in rows for cell in row])
    known += [scale * value for value in known for scale in (100, 1e-3, 1e6)]
    shown = numbers([cell for row in parsed.rows for cell in row])
    assert len(shown) > 40
    missing = [
        value for value in shown if not any(abs(value - each) <= 0.0051 * max(1, abs(value) / 100) for each in known)
    ]
    assert not missing
    saved = Section.of(found, TARGET).numbers
    assert saved["settings.csv"] == difference_table(COMMAND).numbers
    text = {name: [["" if cell is None else str(cell) for cell in row] for row in rows] for name, rows in saved.items()}
    assert text == tables


@pytest.mark.parametrize("found", RUNS.values(), ids=RUNS)
def test_what_figures_draw_is_in_their_csv(found: Run) -> None:
    tables = section(found).tables
    for picture in Section.of(found, TARGET).pictures:
        rows = tables[picture.file]
        assert rows[0] == [str(cell) for cell in picture.numbers[0]]
        cells = {round(float(cell), 6) for row in rows for cell in row if re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell)}
        for each in picture.series:
            along = each.x if picture.has_bars else each.y
            scale = 1e3 if picture.has_bars else 1 if each.form == "step" else 0.01
            assert {round(scale * value, 6) for value in along if value == value} <= cells


def designs(*bits: int) -> tuple[dict[str, Any], ...]:
    return tuple({"axes": {"adc_bits": each}, "layers": [{**LAYER, "energy_pj": 100.0 * each}]} for each in bits)


@pytest.mark.parametrize(
    ("found", "energies", "whose"),
    [
        (
            replace(of_adc(), network_cost=COST, designs=designs(6, 7, 8)),
            [800.0],
            "the cheapest point that keeps accuracy 99 % of quantized, ADC bits 8, random noise 0.1 %, at 28 nm",
        ),
        (
            replace(run(of_adc().points[2:3]), network_cost=COST, designs=designs(6, 7)),
            [3000.0, 1000.0],
            "as no point is known to keep accuracy 99 % of quantized, at 28 nm and 0.9 V.",
        ),
        (
            replace(run(of_adc().points[2:3]), network_cost=COST, designs=designs(6)),
            [600.0],
            "on the macro of all points, ADC bits 6, at 28 nm and 0.9 V.",
        ),
        (
            replace(of_adc(), network_cost=COST),
            [3000.0, 1000.0],
            "on the macro that the settings have, whatever the values of axes, at 28 nm and 0.9 V.",
        ),
    ],
    ids=["of the verdict", "none keeps", "one design", "old run"],
)
def test_the_layers_are_those_of_the_point_of_the_verdict(found: Run, energies: list[float], whose: str) -> None:
    drawing = Section.of(found, TARGET).pictures[-1]
    assert whose in drawing.note
    column = drawing.numbers[0].index("energy_pj")
    assert [row[column] for row in drawing.numbers[1:]] == energies
    assert drawing.note in section(found).texts


def test_several_runs_are_told_apart_by_values_and_folder() -> None:
    other = run([point(300, {"adc_bits": bits, "random_noise": "0.3 lsb"}) for bits in (8, None)])
    third = replace(of_chips(), folder=of_chips().folder.with_name("sweep-2"))
    _, found = report_of([(each, TARGET) for each in (of_adc(), other, third)])
    assert [each["title"] for each in found["runs"]] == [
        "mine: sweep of ADC bits 6 to 8; random noise 0 to 0.1 % (sweep-1)",
        "mine: sweep of ADC bits 8, null; random noise 0.3 lsb (sweep-1)",
        "mine: yield of offset 0.1 lsb, 0.3 lsb (sweep-2)",
    ]
    assert run_title(other) == "mine: sweep of ADC bits 8, null; random noise 0.3 lsb"


def test_points_have_all_columns_and_their_decision() -> None:
    head, *rows = section(of_adc()).tables["points.csv"]
    assert head == [
        "kind", "adc_bits", "random_noise", "accuracy", "low", "high", "difference", "difference_low",
        "difference_high", "target", "energy_uj", "energy_uj_low", "energy_uj_high", "on_the_front", "trials", "images",
        "seconds", "algorithm", "right",
    ]  # fmt: skip
    assert [row[0] for row in rows[:3]] == ["float", "quantized", "simulated"]
    by_point = {(row[1], row[2]): dict(zip(head, row, strict=True)) for row in rows[2:]}
    assert {key: row["target"] for key, row in by_point.items()} == {
        ("6", "0"): "missed", ("7", "0"): "kept", ("8", "0"): "kept", ("6", "0.1"): "missed", ("7", "0.1"): "missed",
        ("8", "0.1"): "kept",
    }  # fmt: skip
    assert by_point["7", "0"]["on_the_front"] == "True"
    assert by_point["8", "0"]["on_the_front"] == "False"


def test_figures_of_each_kind_of_run() -> None:
    titles = [[picture.title for picture in Section.of(found, TARGET).pictures] for found in RUNS.values()]
    axes = ["Accuracy against ADC bits", "Accuracy against random noise", "Accuracy over ADC bits and random noise"]
    assert titles == [["Accuracy against energy", *axes, "Energy by layer"], axes, ["Yield"]]
    trade_off = Section.of(RUNS["energies"], TARGET).pictures[0]
    assert "cheapest that is kept" in [each.name for each in trade_off.series]  # by the target of the report


def test_differences_to_recipe_and_preset() -> None:
    assert difference_table(COMMAND).numbers == [
        ["setting", "differs from", "there", "here"],
        ["trials", "recipe mine", "2", "1"],
    ]
    by_preset = replace(COMMAND, preset="cr_cim_2024", macro={"rows": 64, "column": "charge"}, differences={})
    rows = difference_table(by_preset).numbers
    assert [[*row[:2], *row[3:]] for row in rows[1:]] == [["model.plan.macro.rows", "preset cr_cim_2024", "64"]]
    assert rows[1][2] not in ("64", "-")


def test_names_of_the_users_are_text_and_no_markup() -> None:
    found = run([point(100, {"column": "<script>alert(1)</script>"}), point(200, {"column": "b&b"})])
    body = Section.of(found, TARGET).html()
    assert "<script>alert" not in body
    assert "</script>alert" not in body
    for data in re.findall(r"Plotly\.newPlot\((.*?)\)\s*\}", body, re.S):
        assert "<script" not in data
    Page(body)


def test_a_long_table_is_cut_and_its_csv_is_not() -> None:
    html = table_html(Table([plain("n", int)], range(1500), file="n.csv"))
    assert "1,000 of 1,500 rows are shown" in html
    parsed = Page(html)
    assert len(parsed.rows) == 1001
    assert len(parsed.tables["n.csv"]) == 1501


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (of_adc(), "95 %, over images;"),
        (of_chips(), "95 %, of each chip over images, and of yields over chips;"),
        (replace(of_adc(), settings={"search": {"chips": 4}}), "95 %, over images and chips;"),
        (replace(of_adc(), settings={"until": "accuracy 89 %"}), "Images ended by 'accuracy 89 %'"),
    ],
)
def test_what_intervals_hold_for(found: Run, said: str) -> None:
    assert dict(facts(found))["intervals"].startswith(said)


def test_the_macro_of_a_run_is_the_one_that_its_points_share() -> None:
    own = asdict(MacroConfig(random_noise=0.3, adc_bits=9))
    found = run([point(300, {"adc_bits": bits, "random_noise": 0.1}) for bits in (6, 7)])
    assert dict(facts(replace(found, commands=(replace(COMMAND, macro=own),))))["macro"] == (
        "W8A8, 255 rows, random noise 0.1 %"
    )


def test_a_page_says_what_it_was_computed_from() -> None:
    said = " ".join(section(of_adc()).texts)
    for part in ("asim sweep -c mine --trials 1", "model.noise_seed 7", "torch 2.13.0", "a processor <fast>", "75.0 s"):
        assert part in said
    assert "no record of a command" in " ".join(section(replace(of_adc(), commands=())).texts)


def test_a_spec_and_a_doctor_have_a_figure_and_their_tables() -> None:
    spec = replace(run([point(300, {})]), folder=Path("runs/mine/spec-1"), document=spec_document())
    doctor = Run(Path("runs/mine/doctor-1"), (), document=doctor_document(), loss_map=MAPPED)
    for found, note in ((spec, "a rule"), (doctor, "a note"), (doctor, "15 of 255 codes")):
        shown = Page(Section.of(found, found.own_target).html())
        assert all(len(rows) > 1 for rows in shown.tables.values())
        assert note in shown.texts
        assert ("div", {"class": "figures one"}) in shown.elements
        assert run_title(found) == f"mine: {found.kind}"
    bare = replace(doctor, loss_map=None, document=doctor_document(findings=[]))
    assert [each.file for each in Section.of(bare, bare.own_target).tables] == ["plans.csv"]
