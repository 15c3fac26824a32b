"""An offline HTML page: text, tables with their CSV, and figures by plotly's script in the page's head."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, TypeAlias

from asim_lightning.report.picture import Picture
from asim_lightning.report.plotly_figure import layout_of, traces_of
from asim_lightning.table import Rows, Table, csv_text

Shown: TypeAlias = list[Picture | Table[Any] | None]
"""Figures and tables of a page; None is left out."""
_MISSING = (
    "asim report draws with plotly, which is not installed: pip install 'asim_lightning[report]', or from a checkout "
    "pip install '.[report]'"
)
_MOST_ROWS = 1000
_ROWS_OF_A_SHEET = 20
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
"""A browser may load only the content of the page."""
_RESIZE = (
    "<script>addEventListener('beforeprint', () => document.querySelectorAll('.js-plotly-plot')"
    ".forEach(figure => Plotly.relayout(figure, {width: 440})))</script>"
)
"""Makes figures fit a sheet, two next to each other."""
_STYLE = """
* { box-sizing: border-box; }
body { margin: 0; background: white; color: #1a1a1a; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0.5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; line-height: 1.25; margin: 2.5rem 0 0.5rem; border-top: 2px solid #1a1a1a; padding-top: 0.75rem;
  overflow-wrap: anywhere; }
h3 { font-size: 1.05rem; margin: 1.75rem 0 0.5rem; }
.verdict { border-left: 4px solid #0072b2; background: #f1f6fa; padding: 0.75rem 1rem; margin: 1rem 0;
  font-size: 1.1rem; }
.note, figcaption, dt { color: #4d4d4d; font-size: 0.9rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); gap: 0 2rem; }
figure { margin: 1rem 0; max-width: 42rem; min-width: 0; }
.figures.one { grid-template-columns: 1fr; }
code { font: 0.85rem/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { background: #f5f5f5; padding: 0.5rem 0.75rem; margin: 0.25rem 0; white-space: pre-wrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.15rem 1rem; margin: 0.5rem 0; }
dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow: auto; max-height: 30rem; border: 1px solid #d0d0d0; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: 0.25rem 0.45rem; border-bottom: 1px solid #ececec; }
td[style*=right] { white-space: nowrap; }
th { position: sticky; top: 0; background: #f5f5f5; vertical-align: bottom; }
td.wide { overflow-wrap: anywhere; min-width: 12rem; }
tr.marked { background: #e4f1e8; }
a { color: #005a8e; }
@media (max-width: 40rem) {
  main { padding: 0.5rem 0.75rem 2rem; }
  th, td { padding: 0.2rem 0.35rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 0.5rem; }
}
@media print {
  @page { margin: 10mm 14mm; }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  .scroll { max-height: none; overflow: visible; border: 0; }
  table { font-size: 6.5pt; }
  th { position: static; }
  th, td { padding: 1pt 3pt; }
  td.wide { min-width: 0; }
  td:not(.wide) { white-space: nowrap; }
  .verdict { font-size: 11pt; }
  h2, figure, tr, .short, .verdict { break-inside: avoid; }
  .figures { grid-template-columns: 1fr 1fr; gap: 0 1rem; zoom: 0.75; }
  figure { margin: 0; max-width: none; }
  h3 { margin-top: 0.75rem; }
  figcaption { font-size: 10pt; }
  .note, dl { font-size: 7.5pt; }
  h2, h3, p.note { break-after: avoid; }
  .modebar-container { display: none; }
}
"""


def page(title: str, body: str) -> str:
    """A whole page."""
    script = _plotly().offline.get_plotlyjs()
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n<script>{script}</script>\n{_RESIZE}\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _plotly() -> Any:
    try:
        import plotly.io
        import plotly.offline
    except ModuleNotFoundError:
        raise ModuleNotFoundError(_MISSING) from None
    return plotly


def figure_html(picture: Picture, identifier: str, words: Callable[[str], str] = str) -> str:
    """A figure with its caption: how to read it, and a link to the CSV of its numbers.

    `words` changes the texts, which are escaped.
    """
    drawn = _plotly().io.to_html(
        _with_texts({"data": traces_of(picture), "layout": {**layout_of(picture), "template": None}}, words),
        full_html=False,
        include_plotlyjs=False,
        div_id=identifier,
        config={"responsive": True, "displaylogo": False, "plotlyServerURL": "", "modeBarButtonsToRemove": _BUTTONS},
    )
    title = words(escape(picture.title))
    note = f"{picture.note[:1].upper()}{picture.note[1:]}{'.' * bool(picture.note and picture.note[-1] != '.')}"
    numbers = f" Numbers: {csv_link(picture.numbers, picture.file)}." if picture.numbers else ""
    return (
        f"<figure>\n{f'<h3>{title}</h3>' * bool(title)}\n{drawn}\n"
        f"<figcaption>{words(escape(note))}{numbers}</figcaption>\n</figure>"
    )


def _with_texts(value: Any, words: Callable[[str], str]) -> Any:
    """Nested lists and dictionaries with changed texts."""
    if isinstance(value, dict):
        return {key: _with_texts(each, words) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_texts(each, words) for each in value]
    return words(value) if isinstance(value, str) else value


_BUTTONS = ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"]


def table_html(table: Table[Any]) -> str:
    """A table with its headline and note, and a link to its CSV."""
    title = f"<h3>{escape(table.title)}</h3>\n" if table.title else ""
    note = f'<p class="note">{escape(table.note)}</p>\n' if table.note else ""
    short = " short" * (len(table) <= _ROWS_OF_A_SHEET)
    more = f"{_MOST_ROWS:,} of {len(table):,} rows are shown. " if len(table) > _MOST_ROWS else ""
    return (
        f'{title}{note}<div class="scroll{short}">{table.html(_MOST_ROWS)}</div>\n'
        f'<p class="note">{more}{csv_link(table.numbers, table.file)}</p>'
    )


def csv_link(rows: Rows, file: str) -> str:
    """A link that saves a table as CSV; the link contains the data."""
    content = b64encode(csv_text(rows, "\n").encode()).decode()
    return f'<a download="{escape(file)}" href="data:text/csv;base64,{content}">{escape(file)}</a>'


def list_html(pairs: Sequence[tuple[str, Any]]) -> str:
    """Names and their values as a list."""
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(what))}</dd>" for name, what in pairs) + "</dl>"
