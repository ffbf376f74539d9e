"""Prints a table: framed on a terminal, aligned plain text elsewhere."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

Cell = str | float | int | None


def show(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], words: int = 1
) -> None:
    """Print rows under columns; numbers to three digits, None and NaN as nothing.

    The first `words` columns stand on the left. A row that begins with an empty cell belongs to
    the one above it.
    """
    cells = [[text(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _framed(title, columns, cells, words)
    else:
        _plain(title, columns, cells, words)


def text(cell: Cell) -> str:
    """Return a cell as text."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 1000:
        return f"{cell:,.0f}"
    return f"{cell:.3g}"


def _plain(title: str, columns: Sequence[str], cells: Sequence[Sequence[str]], words: int) -> None:
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    print(f"\n{title}")
    for row in (columns, *cells):
        padded = (
            cell.ljust(width) if i < words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join(padded).rstrip())


def _framed(title: str, columns: Sequence[str], cells: Sequence[Sequence[str]], words: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < words else "right")
    for row in cells:
        table.add_row(*row)
    Console().print(table)
