"""Column models by name, and the column model of a macro with its arguments."""

from dataclasses import replace

from asim_lightning.checks import built, named_class
from asim_lightning.circuit.columns import Charge, Column, Current
from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.measured import Measured

COLUMNS: dict[str, type[Column]] = {"charge": Charge, "current": Current, "measured": Measured}
_MOST_CELLS = 2**28


def column_class(macro: MacroConfig) -> type[Column]:
    """The class of the column model that a macro names, built-in or by its import path."""
    return named_class("`macro.column`", macro.column, COLUMNS, Column)


def resolved(macro: MacroConfig) -> MacroConfig:
    """The macro with everything that decides codes in its column's arguments, such as the digest of a file.

    Plans and layers resolve their macros. A resolved macro comes back unchanged.

    Raises:
        ValueError: The macro's column cannot be built.
    """
    macro = with_resolved_arguments(macro)
    build_column(macro)
    return macro


def with_resolved_arguments(macro: MacroConfig) -> MacroConfig:
    """`resolved` without building the column: quick if the macro is resolved already."""
    arguments = column_class(macro).resolved(macro.column_args)
    return macro if arguments is macro.column_args else replace(macro, column_args=arguments)


def build_column(macro: MacroConfig) -> Column:
    """The column model that a macro names.

    Raises:
        ValueError: There is no such class, it refuses the arguments, or the macro cannot have such cells.
    """
    kind, what = column_class(macro), f"column {macro.column}"
    try:
        column = built(kind, (macro,), macro.column_args, "`macro.column_args`", what)
    except ValueError:
        raise  # the column's message about its arguments
    except Exception as error:  # callers that try other macros expect a ValueError
        raise ValueError(f"`macro.column` {macro.column} cannot be built: {type(error).__name__}: {error}") from error
    if macro.static.cell_percent:
        column.cell_sigma = macro.static.cell_percent
    column.macro = macro  # a user's __init__ may not call ours
    _check_cells(macro, bool(column.cell_sigma))
    return column


def _check_cells(macro: MacroConfig, differ: bool) -> None:
    static, weights = macro.static, macro.weight_bits if macro.weight_parallel else 1
    cells = (static.columns or 0) * (static.macros or 0) * macro.rows * weights
    if cells > _MOST_CELLS and (differ or static.has_stuck_cells):
        raise ValueError(
            f"`macro.static.macros` times `columns` and rows must be at most {_MOST_CELLS} cells if cells differ, "
            f"got {cells}"
        )
    if macro.weight_parallel and differ and static.reference == "absolute":
        raise ValueError("`macro.static.reference` must be ratiometric or summing with weight_parallel, got 'absolute'")
