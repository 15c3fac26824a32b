"""Values that a Python file's expressions have, read off their text: nothing of the file is executed."""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_MOST_LEAVES = 1000
_LARGEST = 2**63
_LONGEST_TEXT = 4096
_TRANSFORMS = ("torchvision.transforms.", "torchvision.transforms.v2.")
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_KINDS: dict[type[ast.AST], str] = {
    ast.Call: "the call ",
    ast.Lambda: "the function ",
    ast.ListComp: "the comprehension ",
    ast.SetComp: "the comprehension ",
    ast.DictComp: "the comprehension ",
    ast.GeneratorExp: "the comprehension ",
    ast.JoinedStr: "the f-string ",
}


class RefusedError(ValueError):
    """What stands in a line is not read.

    Args:
        line: Number of the line.
        what: What is wrong, allowed and given.
    """

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


@dataclass(frozen=True)
class Transform:
    """A torchvision transform that a file names: recognised, never built."""

    name: str
    """Its class."""
    arguments: tuple[Any, ...] = ()
    """By place."""
    keywords: Mapping[str, Any] = field(default_factory=dict)
    """By name."""

    def __str__(self) -> str:
        given = [repr(value) for value in self.arguments]
        return f"{self.name}({', '.join([*given, *(f'{name}={value!r}' for name, value in self.keywords.items())])})"

    __repr__ = __str__


@dataclass
class Scope:
    """What the names in a file stand for at one of its lines."""

    variables: dict[str, Any] = field(default_factory=lambda: {"__name__": "config"})
    """Values of plain names."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Values of cfg.NAME."""
    imports: dict[str, str] = field(
        default_factory=lambda: {
            "transforms": "torchvision.transforms",
            "EasyDict": "easydict.EasyDict",
            "torch": "torch",
        }
    )
    """Full names of what is imported; nothing is."""

    def full_name(self, node: ast.expr) -> str:
        """Full name of what a dotted name stands for; empty for anything else."""
        if isinstance(node, ast.Attribute):
            base = self.full_name(node.value)
            return f"{base}.{node.attr}" if base else ""
        if not isinstance(node, ast.Name) or node.id in self.variables:
            return ""
        return self.imports.get(node.id, node.id)


def evaluate(node: ast.expr, scope: Scope) -> Any:
    """The value of an expression.

    Numbers, texts, True, False, None, lists, tuples, mappings, names with a value, arithmetic and comparisons have one;
    so have the calls of the published file, by name and form: transforms, int(NUMBER), torch.device(TEXT) and
    torch.cuda.is_available(), which counts as true.

    Args:
        node: The expression.
        scope: What its names stand for.

    Raises:
        RefusedError: It has none.
    """
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return _bounded(value, node)
        case ast.Name(id=name) if name in scope.variables:
            return scope.variables[name]
        case ast.Attribute(value=ast.Name(id="cfg"), attr=name) if "cfg" not in scope.variables:
            if name not in scope.settings:
                raise RefusedError(node.lineno, f"cfg.{name} must be set above where it is used, and is not")
            return scope.settings[name]
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            values = [evaluate(part, scope) for part in parts]
            return _bounded(tuple(values) if isinstance(node, ast.Tuple) else values, node)
        case ast.Dict(keys=keys, values=parts) if all(isinstance(key, ast.Constant) for key in keys):
            names = [evaluate(key, scope) for key in keys if key is not None]
            return _bounded(dict(zip(names, (evaluate(part, scope) for part in parts), strict=True)), node)
        case ast.UnaryOp() | ast.BinOp():
            return _arithmetic(node, scope)
        case ast.BoolOp(op=op, values=parts):
            value = None
            for part in parts:
                value = evaluate(part, scope)
                if bool(value) is isinstance(op, ast.Or):
                    break
            return value
        case ast.Compare():
            return _compare(node, scope)
        case ast.IfExp(test=test, body=body, orelse=other):
            return evaluate(body if evaluate(test, scope) else other, scope)
        case ast.Call():
            return _call(node, scope)
    raise _refused(node)


def shown(node: ast.AST) -> str:
    """The text of a part of the file, on one line and not too long."""
    try:
        text = " ".join(ast.unparse(node).split())
    except (RecursionError, ValueError):
        return "one that is too long"
    return text if len(text) <= 60 else text[:57] + "..."


def _call(node: ast.Call, scope: Scope) -> Any:
    name = scope.full_name(node.func)
    plain = not node.keywords and not any(isinstance(each, ast.Starred) for each in node.args)
    if name == "torch.cuda.is_available" and plain and not node.args:
        return True
    if name in ("int", "torch.device") and plain and len(node.args) == 1:
        value = evaluate(node.args[0], scope)
        if name == "int" and isinstance(value, (int, float)) and math.isfinite(value):
            return int(value)
        if name == "torch.device" and isinstance(value, str):
            return value
    if any(name.startswith(prefix) and name[len(prefix) :].isidentifier() for prefix in _TRANSFORMS):
        arguments = tuple(evaluate(each, scope) for each in node.args)
        if all(each.arg is not None for each in node.keywords):
            keywords = {str(each.arg): evaluate(each.value, scope) for each in node.keywords}
            return _bounded(Transform(name.rpartition(".")[2], arguments, keywords), node)
    raise _refused(node)


def _arithmetic(node: ast.UnaryOp | ast.BinOp, scope: Scope) -> Any:
    if isinstance(node, ast.UnaryOp):
        value = evaluate(node.operand, scope)
        if isinstance(node.op, ast.Not):
            return not value
        if isinstance(node.op, ast.Invert) or not isinstance(value, (int, float)):
            raise _refused(node)
        return _bounded(-value if isinstance(node.op, ast.USub) else +value, node)
    left, right = evaluate(node.left, scope), evaluate(node.right, scope)
    texts = isinstance(left, str) and isinstance(right, str) and isinstance(node.op, ast.Add)
    numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
    small = not isinstance(node.op, ast.Pow) or (numbers and abs(right) <= 64)  # a larger power takes for ever
    compute = _ARITHMETIC.get(type(node.op))
    if compute is None or not (texts or numbers) or not small:
        raise _refused(node)
    try:
        return _bounded(compute(left, right), node)
    except (ArithmeticError, ValueError) as error:
        raise RefusedError(node.lineno, f"{shown(node)} has no value: {error}") from None


def _compare(node: ast.Compare, scope: Scope) -> bool:
    left = evaluate(node.left, scope)
    for op, part in zip(node.ops, node.comparators, strict=True):
        right = evaluate(part, scope)
        try:
            holds = _COMPARISONS[type(op)](left, right)
        except TypeError as error:
            raise RefusedError(node.lineno, f"{shown(node)} has no value: {error}") from None
        if not holds:
            return False
        left = right
    return True


def _bounded(value: Any, node: ast.expr) -> Any:
    """The value, where it is no complex or infinite number and of a size that a setting may have."""
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        raise RefusedError(node.lineno, f"a value must be a finite number, got {shown(node)}")
    too_large = isinstance(value, int) and abs(value) > _LARGEST
    if too_large or (isinstance(value, str) and len(value) > _LONGEST_TEXT) or _leaves(value) > _MOST_LEAVES:
        raise RefusedError(node.lineno, f"a value must have a size that settings have, got {shown(node)}")
    return value


def _leaves(value: Any) -> int:
    """Values within a value, counted no further than the most that one may have."""
    count, left = 0, [value]
    while left and count <= _MOST_LEAVES:
        each = left.pop()
        count += 1
        if isinstance(each, Transform):
            left += [*each.arguments, *each.keywords.values()]
        elif isinstance(each, (dict, list, tuple)):
            left += each.values() if isinstance(each, dict) else each
    return count


def _refused(node: ast.expr) -> RefusedError:
    if isinstance(node, ast.Name):
        return RefusedError(node.lineno, f"a name must have a value above where it is used, got `{node.id}`")
    allowed = "a value must be a number, a text, True, False, None, a list, or arithmetic of these"
    return RefusedError(
        node.lineno, f"{allowed}, got {_KINDS.get(type(node), '')}{shown(node)}; nothing of the file was executed"
    )
