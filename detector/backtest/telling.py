"""Says how far a backtest is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Say = Callable[[str], None]
Advance = Callable[[str, int, int], None]


def tell(line: str) -> None:
    """Write a line on stderr at once."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


@contextmanager
def telling(quiet: bool) -> Iterator[tuple[Say, Advance]]:
    """Yield what is told lines, and what is told of a signal how many of its series are done.

    Parameters
    ----------
    quiet : bool
        Whether nothing is said at all.
    """
    if quiet or not sys.stderr.isatty():
        yield (lambda line: None) if quiet else tell, lambda signal, done, series: None
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("series"), TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(stderr=True, highlight=False)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def advance(signal: str, done: int, series: int) -> None:
            bar.update(task, description=signal, completed=done, total=series)

        def say(line: str) -> None:
            console.print(line, markup=False)
            bar.reset(task, total=None, description="reading")

        yield say, advance
