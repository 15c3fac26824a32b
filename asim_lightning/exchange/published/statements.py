"""The published simulator's config.py: its settings by name, read off the text and never executed."""

import ast
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asim_lightning.exchange.published.values import RefusedError, Scope, evaluate, shown

_LARGEST_FILE = 2**16
_STATEMENTS = "a published config.py holds imports, assignments, if and assert"


@dataclass(frozen=True)
class Setting:
    """One line ``cfg.NAME = value``."""

    value: Any
    """The value: a number, text, None, list, or a Transform."""
    line: int
    """Number of the line."""


@dataclass(frozen=True)
class PublishedConfig:
    """What a published config.py sets."""

    path: str
    """The file."""
    settings: Mapping[str, Setting]
    """Settings by NAME, in the order of the file; of several lines for one the last counts."""


def read_published_config(path: str | Path) -> PublishedConfig:
    """The settings of a published config.py.

    Assignments, arithmetic and `if` count as in Python; an `assert` is left to our own checks. Of calls, those of the
    published file are recognised by name and form (EasyDict(), the transforms, int, torch.device,
    torch.cuda.is_available); any other is refused.

    Args:
        path: The file.

    Returns:
        The settings, and the number of the line of each.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no published config, or a line of it cannot be read; one sentence with the line.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"There is no file {file}")
    content = file.read_bytes()
    if len(content) > _LARGEST_FILE:
        raise ValueError(
            f"{file} must be a published config.py, of {_LARGEST_FILE >> 10} KB or less, got {_size(file)}"
        )
    try:
        tree = _parse(content)
        reader = _Reader()
        reader.run(tree.body)
    except RefusedError as error:
        raise ValueError(f"{file}, line {error.line}: {error}") from None
    except (RecursionError, MemoryError):
        raise ValueError(f"{file} must be a published config.py, got a file that is nested too deeply") from None
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}," if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ValueError(f"{file}{line} is not Python: {' '.join(reason.split())}") from None
    if not reader.settings:
        raise ValueError(f"{file} must be a published config.py with lines cfg.NAME = value, got a file without any")
    return PublishedConfig(str(file), reader.settings)


def _parse(content: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in paths of Windows, which Python reads as the file's author meant
        return ast.parse(content)


def _size(file: Path) -> str:
    return f"{file.stat().st_size >> 10} KB"


class _Reader:
    """Goes through statements in their order, and keeps what names stand for."""

    def __init__(self) -> None:
        self.scope = Scope()
        self.settings: dict[str, Setting] = {}

    def run(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self._run_one(statement)

    def _run_one(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Pass() | ast.Assert() | ast.Expr(value=ast.Constant()):
                pass  # an assert sets nothing; our own checks say which value was given
            case ast.Import(names=names):
                for each in names:
                    top = each.name.split(".")[0]
                    self._import(each.asname or top, each.name if each.asname else top)
            case ast.ImportFrom(module=module, names=names):
                for each in names:
                    self._import(each.asname or each.name, f"{module or ''}.{each.name}")
            case ast.Assign(targets=targets, value=value):
                self._assign_all(targets, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign_all([target], value)
            case ast.AugAssign(target=ast.Name() | ast.Attribute() as target, op=op, value=value):
                before = ast.copy_location(_as_read(target), statement)
                both = ast.copy_location(ast.BinOp(before, op, value), statement)
                self._assign(target, evaluate(both, self.scope))
            case ast.If(test=test, body=body, orelse=other):
                self.run(body if evaluate(test, self.scope) else other)
            case ast.Expr(value=value):
                evaluate(value, self.scope)
            case _:
                raise RefusedError(statement.lineno, f"{_STATEMENTS}, got {shown(statement)}")

    def _import(self, name: str, full: str) -> None:
        self.scope.variables.pop(name, None)
        self.scope.imports[name] = full

    def _assign_all(self, targets: list[ast.expr], value: ast.expr) -> None:
        if any(isinstance(target, ast.Name) and target.id == "cfg" for target in targets):
            self._start(targets, value)
            return
        found = evaluate(value, self.scope)
        for target in targets:
            self._assign(target, found)

    def _start(self, targets: list[ast.expr], value: ast.expr) -> None:
        is_empty = isinstance(value, ast.Call) and not value.args and not value.keywords
        if not is_empty or len(targets) > 1 or self.scope.full_name(value.func) != "easydict.EasyDict":  # type: ignore[attr-defined]
            raise RefusedError(value.lineno, f"cfg must be EasyDict(), whose settings follow, got {shown(value)}")
        self.settings.clear()
        self.scope.settings.clear()

    def _assign(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name(id=name):
                self.scope.variables[name] = value
            case ast.Attribute(value=ast.Name(id="cfg"), attr=name):
                self.scope.settings[name] = value
                self.settings[name] = Setting(value, target.lineno)
            case ast.Tuple(elts=parts) if isinstance(value, (list, tuple)) and len(parts) == len(value):
                for part, each in zip(parts, value, strict=True):
                    self._assign(part, each)
            case _:
                raise RefusedError(target.lineno, f"a setting must be written cfg.NAME = value, got {shown(target)}")


def _as_read(target: ast.Name | ast.Attribute) -> ast.expr:
    if isinstance(target, ast.Name):
        return ast.Name(target.id, ast.Load(), lineno=target.lineno, col_offset=target.col_offset)
    return ast.Attribute(target.value, target.attr, ast.Load(), lineno=target.lineno, col_offset=target.col_offset)
