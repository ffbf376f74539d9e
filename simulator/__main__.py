"""Runs the `simulator` command as ``python -m simulator``, with the interpreter that is running."""

from simulator.cli import main

main()
