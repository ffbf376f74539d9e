"""Prints a table: drawn on a terminal, tab-separated lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_table(console: Console, header: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """Print lines of cells under a header; cells are text, never markup."""
    if not console.is_terminal:
        for line in (header, *lines):
            # The console itself would turn tabs into spaces.
            console.file.write("\t".join(line) + "\n")
        return
    table = Table(*header)
    for line in lines:
        table.add_row(*map(Text, line))
    console.print(table)
