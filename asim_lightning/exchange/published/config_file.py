"""Reads a published config.py as text: assignments of literals. No part of it is run."""

import ast
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from asim_lightning.exchange.published.names import CNN, COMMON, KNOWN, VIT


class Setting(NamedTuple):
    """One line ``cfg.NAME = VALUE``."""

    value: Any  # number, text, None, Transform, or a tuple of these for a list
    text: str  # the value as it stands there


class Transform(NamedTuple):
    """A torchvision transform that a file names; it is never built."""

    name: str
    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}  # noqa: RUF012  never changed


def read_settings(file: Path) -> dict[str, Setting]:
    """The settings of a published config.py by NAME; if a setting has several lines, the last counts.

    Values are literals, or other values in published files: names with a value above, ``transforms.NAME(...)``,
    ``int(NUMBER * NUMBER)``, and an ``if`` that compares a name with a literal.

    Raises:
        ValueError: A line cannot be read; the message has its number.
    """
    settings: dict[str, Setting] = {}
    known: dict[str, Any] = {}  # values by plain name, and by cfg.NAME

    def refused(node: ast.stmt | ast.expr) -> ValueError:
        return ValueError(
            f"{file}, line {node.lineno}: a line must be cfg.NAME = VALUE with a plain value, a name that has a value "
            f"above, an import, or an if with NAME == VALUE or NAME > VALUE, got {_shown(node, 60)}; write the plain "
            "value there (no part of the file was run)"
        )

    def value(node: ast.expr) -> Any:
        match node:
            case ast.Name() | ast.Attribute() if ast.unparse(node) in known:
                return known[ast.unparse(node)]
            case ast.List(parts) | ast.Tuple(parts):
                return tuple(map(value, parts))
            case ast.Call(ast.Attribute(ast.Name("transforms"), name), parts, keywords):
                given = tuple(map(value, parts))
                named = {str(each.arg): value(each.value) for each in keywords}
                if name == "Normalize":  # its arguments may be named
                    given, named = (), {**dict(zip(("mean", "std"), given, strict=False)), **named}
                return Transform(name, given, named)
            case ast.Call(ast.Name("int"), [ast.BinOp(left, ast.Mult(), right)], []):
                return int(value(left) * value(right))
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError):
            raise refused(node) from None

    def read(statements: list[ast.stmt]) -> None:
        for statement in statements:
            match statement:
                case ast.Import(names) | ast.ImportFrom(_, names) if not {"cfg", "*"} & {each.name for each in names}:
                    pass
                case ast.Assert() | ast.Pass() | ast.Expr(ast.Constant()):
                    pass
                case ast.Assign([ast.Name("cfg")], ast.Call(ast.Name("EasyDict"), [], [])):
                    pass
                case ast.Assign([ast.Attribute(ast.Name("cfg"), name)], node):
                    settings[name] = Setting(value(node), _shown(node, 160))
                    known[f"cfg.{name}"] = settings[name].value
                case ast.Assign([ast.Name(name)], node) if name != "cfg":
                    known[name] = value(node)
                case ast.If(test, _, []) if ast.unparse(test) == "__name__ == '__main__'":
                    pass
                case ast.If(ast.Compare(left, [ast.Eq() | ast.Gt() as sign], [right]), body, other):
                    one, two = value(left), value(right)
                    read(body if (one == two if isinstance(sign, ast.Eq) else one > two) else other)
                case _:
                    raise refused(statement)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in paths of Windows, which Python reads as they are meant
            statements = ast.parse(file.read_bytes()).body
    except SyntaxError as error:
        raise ValueError(f"{file} is not Python: {error}") from None
    read(statements)
    return settings


def _shown(node: ast.AST, longest: int) -> str:
    """The source of a part of the file, in one short line."""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= longest else text[: longest - 3] + "..."


class Given:
    """The settings of a file, and notes on those without counterpart. Methods take the NAME of a cfg.NAME."""

    def __init__(self, file: Path) -> None:
        self.file, self.settings = file, read_settings(file)
        self._notes: dict[str, str] = {}

    def value(self, name: str) -> Any:
        """The value of a setting, or the published value if the file does not set it."""
        return self.settings[name].value if name in self.settings else KNOWN[name]

    def shown(self, name: str) -> str:
        """The source of a value; the published value if the file does not set it."""
        return self.settings[name].text if name in self.settings else repr(KNOWN[name])

    def one_of(self, setting: str, names: list[str], otherwise: str = "no accuracy depends on it") -> Any:
        """The value of the first of several settings that are one setting here; notes the others if they differ."""
        first, *others = names
        for name in others:
            if self.value(name) != self.value(first):
                same = f"as cfg.{first} = {self.shown(first)}; {otherwise.format(setting.rpartition('.')[2])}"
                self.note(name, f"`{setting}` is one for all, {same}")
        return self.value(first)

    def note(self, name: str, what: str) -> None:
        """Say how to replace a setting without counterpart; `notes` leaves out settings that the file does not set."""
        self._notes[name] = what

    def notes(self, is_transformer: bool) -> tuple[str, ...]:
        """All notes in the order of the file, then a note on missing settings."""
        for name in self.settings.keys() - KNOWN.keys():
            self.note(name, "the published config.py has no such setting, and the recipe does not either")
        found = [
            f"cfg.{name} = {self.shown(name)}: {self._notes[name]}" for name in self.settings if name in self._notes
        ]
        needed = {**COMMON, **(VIT if is_transformer else CNN)}.items()
        taken = [f"{name} ({value})" for name, value in needed if name not in self.settings and value is not None]
        if taken:
            found.append(f"not in the file, published values taken: {', '.join(taken)}")
        return tuple(found)
