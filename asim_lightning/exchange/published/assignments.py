"""Reads a published config.py as assignments of literals; it is parsed as text, and never run."""

import ast
import warnings
from pathlib import Path
from typing import Any, NamedTuple

_VALUES = "a value must be a number, a text, True, False, None, a list of these, or a name that has one above"
_LINES = "a line must be cfg.NAME = VALUE, an import, an assert, or an if with NAME == VALUE or NAME > VALUE"


class Setting(NamedTuple):
    """One line ``cfg.NAME = VALUE``."""

    value: Any  # number, text, None, Transform, or a tuple of these for a list
    line: int
    text: str  # the value as it stands there


class Transform(NamedTuple):
    """A torchvision transform that a file names; it is never built."""

    name: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


def read_assignments(file: Path) -> dict[str, Setting]:
    """The settings of a published config.py by NAME; if a setting has several lines, the last counts.

    Values are literals, or other values in published files: names with a value above, ``transforms.NAME(...)``,
    ``int(NUMBER * NUMBER)``, and an ``if`` that compares a name with a literal. Imports, docstrings, ``pass`` and the
    body of ``if __name__ == '__main__'`` are skipped. An ``assert`` that a setting is in a list is checked, any other
    is skipped. A line that cannot be read is refused with its number.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in paths of Windows, which Python reads as they are meant
            statements = ast.parse(file.read_bytes()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{file} is not Python: {' '.join(str(error).split())}") from None
    reader = _Reader(file)
    reader.read(statements)
    return reader.settings


class _Reader:
    """Reads statements in order."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.settings: dict[str, Setting] = {}
        self.known: dict[str, Any] = {}  # values by plain name, and by cfg.NAME

    def read(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            match statement:
                case ast.Import() | ast.ImportFrom() if not _brings_settings(statement):
                    pass
                case ast.Assert(ast.Compare(left, [ast.In()], [ast.List() as right])) if self.is_known(left):
                    if self.value(left) not in self.value(right):
                        what = f"{_shown(left)} must be one of {_shown(right)}, got {self.value(left)!r}"
                        raise self.refused(statement, what)
                case ast.Assert() | ast.Pass() | ast.Expr(ast.Constant()):
                    pass
                case ast.Assign([ast.Name("cfg")], ast.Call(ast.Name("EasyDict"), [], [])):
                    self.settings.clear()
                case ast.Assign([ast.Attribute(ast.Name("cfg"), name)], node):
                    value = self.value(node)
                    self.settings[name] = Setting(value, statement.lineno, _shown(node, 160))
                    self.known[f"cfg.{name}"] = value
                case ast.Assign([ast.Name(name)], node) if name != "cfg":
                    self.known[name] = self.value(node)
                case ast.If(test, _, []) if ast.unparse(test) == "__name__ == '__main__'":
                    pass
                case ast.If(ast.Compare(left, [ast.Eq() | ast.Gt() as sign], [right]), body, other):
                    one, two = self.value(left), self.value(right)
                    self.read(body if (one == two if isinstance(sign, ast.Eq) else one > two) else other)
                case _:
                    raise self.refused(
                        statement, f"{_LINES}, got {_shown(statement)}; write its settings in such lines"
                    )

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Name() | ast.Attribute() if self.is_known(node):
                return self.known[ast.unparse(node)]
            case ast.List(parts) | ast.Tuple(parts):
                return tuple(map(self.value, parts))
            case ast.Call(ast.Attribute(ast.Name("transforms"), name), parts, keywords) if all(k.arg for k in keywords):
                named = {str(each.arg): self.value(each.value) for each in keywords}
                return Transform(name, tuple(map(self.value, parts)), named)
            case ast.Call(ast.Name("int"), [ast.BinOp(left, ast.Mult(), right)], []):
                return int(self.value(left) * self.value(right))
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError):
            raise self.refused(node, f"{_VALUES}, got {_shown(node)}; write the value that it has") from None

    def is_known(self, node: ast.expr) -> bool:
        return ast.unparse(node) in self.known

    def refused(self, node: ast.stmt | ast.expr, what: str) -> ValueError:
        return ValueError(f"{self.file}, line {node.lineno}: {what} (no part of the file was run)")


def _brings_settings(statement: ast.Import | ast.ImportFrom) -> bool:
    """Whether an import may define settings, or transforms that are not torchvision's."""
    names = {each.asname or each.name for each in statement.names}
    return not names.isdisjoint({"cfg", "*", "transforms"}) and "torchvision" not in ast.unparse(statement)


def _shown(node: ast.AST, longest: int = 60) -> str:
    """The source of a part of the file, in one short line."""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= longest else text[: longest - 3] + "..."
