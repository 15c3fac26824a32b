"""Reading of a published config.py as assignments of literals: it is parsed as text, and never run."""

import ast
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

_LARGEST_FILE = 2**16
_LARGEST_NUMBER = 2**63
_MOST_PARTS = 1000  # of one value
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
    """The settings of a published config.py by NAME; of several lines for one setting, the last counts.

    Values are literals, or what published files hold beside them: names that have a value above,
    ``transforms.NAME(...)``, ``int(NUMBER * NUMBER)``, and an ``if`` that compares a name with a literal. Imports,
    docstrings, ``pass`` and the body of ``if __name__ == '__main__'`` are skipped, and so is any ``assert`` except the
    published one, that a setting is in a list.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a published config, or has a line that cannot be read; one sentence with its number.
    """
    if not file.is_file():
        raise FileNotFoundError(f"There is no file {file}")
    size = file.stat().st_size
    if size > _LARGEST_FILE:
        allowed = f"of {_LARGEST_FILE >> 10} KB or less"
        raise ValueError(f"{file} must be a published config.py, {allowed}, got {size >> 10} KB")
    reader = _Reader(file)
    try:
        reader.read(reader.statements())
    except (RecursionError, MemoryError):
        raise ValueError(f"{file} must be a published config.py, got a file that is nested too deeply") from None
    if not reader.settings:
        raise ValueError(f"{file} must be a published config.py with lines cfg.NAME = value, got a file without any")
    return reader.settings


class _Reader:
    """Reads statements in their order."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.settings: dict[str, Setting] = {}
        self.known: dict[str, Any] = {}  # values of plain names, and of cfg.NAME where it is a number or a text

    def statements(self) -> list[ast.stmt]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes in paths of Windows, which Python reads as they are meant
                return ast.parse(self.file.read_bytes()).body
        except (SyntaxError, ValueError) as error:
            line = f", line {error.lineno}," if isinstance(error, SyntaxError) and error.lineno else ""
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            raise ValueError(f"{self.file}{line} is not Python: {' '.join(reason.split())}") from None

    def read(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            match statement:
                case ast.Import() | ast.ImportFrom() if not _brings_settings(statement):
                    pass
                case ast.Assert(ast.Compare(ast.Attribute(ast.Name("cfg"), name), [ast.In()], [ast.List() as allowed])):
                    self.check(name, self.value(allowed, self.known))
                case ast.Assert() | ast.Pass() | ast.Expr(ast.Constant()):
                    pass
                case ast.Assign([ast.Name("cfg")], ast.Call(ast.Name("EasyDict"), [], [])):
                    self.settings.clear()
                case ast.Assign([ast.Attribute(ast.Name("cfg"), name)], node):
                    value = self.value(node, self.known)
                    self.settings[name] = Setting(value, statement.lineno, _shown(node, 160))
                    self.known[f"cfg.{name}"] = value
                case ast.Assign([ast.Name(name)], node) if name != "cfg":
                    self.known[name] = self.value(node, {})  # of literals alone, so that lists cannot grow
                case ast.If(test, _, []) if ast.unparse(test) == "__name__ == '__main__'":
                    pass
                case ast.If(ast.Compare(left, [ast.Eq() | ast.Gt() as sign], [right]), body, other):
                    self.read(body if self.holds(left, sign, right) else other)
                case _:
                    raise self.refused(
                        statement, f"{_LINES}, got {_shown(statement)}; write what it sets in such lines"
                    )

    def check(self, name: str, allowed: Sequence[Any]) -> None:
        given = self.settings.get(name)
        if given is not None and given.value not in allowed:
            raise ValueError(f"{self.file}, line {given.line}: cfg.{name} must be {one_of(allowed, given.text)}")

    def holds(self, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> bool:
        one, two = self.value(left, self.known), self.value(right, self.known)
        if isinstance(sign, ast.Eq):
            return bool(one == two)
        if not isinstance(one, (int, float)) or not isinstance(two, (int, float)):
            raise self.refused(left, f"> must stand between numbers, got {_shown(left)} > {_shown(right)}")
        return one > two

    def value(self, node: ast.expr, known: dict[str, Any]) -> Any:
        if sum(1 for _ in ast.walk(node)) > _MOST_PARTS:
            raise self.refused(node, f"a value must have a size that settings have, got {_shown(node)}")
        return self.part(node, known)

    def part(self, node: ast.expr, known: dict[str, Any]) -> Any:
        match node:
            case ast.Name(name) if name in known:
                return known[name]
            case ast.Attribute() if isinstance(value := known.get(ast.unparse(node)), (int, float, str)):
                return value
            case ast.List(parts) | ast.Tuple(parts):
                return tuple(self.part(each, known) for each in parts)
            case ast.Call(ast.Attribute(ast.Name("transforms"), name), parts, keywords) if all(k.arg for k in keywords):
                named = {str(each.arg): self.part(each.value, known) for each in keywords}
                return Transform(name, tuple(self.part(each, known) for each in parts), named)
            case ast.Call(ast.Name("int"), [ast.BinOp(left, ast.Mult(), right)], []):
                one, two = self.part(left, known), self.part(right, known)
                if isinstance(one, (int, float)) and isinstance(two, (int, float)):
                    return int(one * two)
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError):
            value = ...
        if value is not None and not isinstance(value, (int, float, str, dict)):
            raise self.refused(node, f"{_VALUES}, got {_shown(node)}; write the value that it has")
        if isinstance(value, (int, float)) and not abs(value) <= _LARGEST_NUMBER:
            raise self.refused(node, f"a number must be finite and of 63 bits or less, got {_shown(node)}")
        return value

    def refused(self, node: ast.stmt | ast.expr, what: str) -> ValueError:
        return ValueError(f"{self.file}, line {node.lineno}: {what} (no part of the file was run)")


def _brings_settings(statement: ast.Import | ast.ImportFrom) -> bool:
    """Whether an import may define settings, or other transforms than torchvision's."""
    names = {each.asname or each.name for each in statement.names}
    return not names.isdisjoint({"cfg", "*", "transforms"}) and "torchvision" not in ast.unparse(statement)


def one_of(allowed: Sequence[Any], given: str) -> str:
    """Words of an error message: the allowed values, the given one, and the nearest."""
    texts = [str(each) for each in allowed]
    near = get_close_matches(given, texts, n=1, cutoff=0.5)
    return f"one of {', '.join(texts)}, got {given}" + (f"; nearest: {near[0]}" if near else "")


def _shown(node: ast.AST, longest: int = 60) -> str:
    """The source of a part of the file, on one line and shortened."""
    try:
        text = " ".join(ast.unparse(node).split())
    except ValueError:  # a number of more digits than Python writes
        return "one that is too long"
    return text if len(text) <= longest else text[: longest - 3] + "..."
