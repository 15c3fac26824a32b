"""Column models by name, and the one that a macro names."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING

from asim_lightning.circuit.columns import Charge, Column, Current
from asim_lightning.circuit.measured import Measured
from asim_lightning.circuit.plug_in import misfit, named_class

if TYPE_CHECKING:
    from asim_lightning.circuit.macro import MacroConfig

COLUMNS: dict[str, type[Column]] = {"charge": Charge, "current": Current, "measured": Measured}


def build_column(macro: MacroConfig) -> Column:
    """The column model that a macro names.

    Raises:
        ValueError: The name is neither a built-in column nor the import path of a class that takes these arguments.
    """
    kind = column_class(macro)
    try:
        column = kind(macro, **macro.column_args)
    except TypeError as error:
        if "macro" in macro.column_args:
            raise ValueError("`macro.column_args` must not name macro, which every column is given") from None
        names = list(signature(kind).parameters)
        if not names or names[0] in macro.column_args:
            expected, given = (", ".join(["self", *each]) for each in (["macro", *names], names))
            raise ValueError(
                f"`macro.column` {macro.column} must take the macro first, as in __init__({expected}), got "
                f"__init__({given})"
            ) from None
        why = misfit(kind, macro.column_args, 1, error)
        raise ValueError(f"`macro.column_args` does not fit column {macro.column}: {why}") from None
    except ValueError:
        raise  # a column's own words about its arguments
    except Exception as error:
        raise ValueError(f"`macro.column` {macro.column} cannot be built: {type(error).__name__}: {error}") from error
    if macro.static.cell_percent:
        column.cell_sigma = macro.static.cell_percent
    column.macro = macro  # also where a user's __init__ does not call ours
    return column


def column_class(macro: MacroConfig) -> type[Column]:
    """The class of the column model that a macro names.

    Raises:
        ValueError: The name is neither a built-in column nor the import path of a column class.
    """
    return named_class("`macro.column`", macro.column, COLUMNS, Column)
