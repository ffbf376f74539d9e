"""Gives memory that is free again back to the system."""

from __future__ import annotations

import ctypes
from functools import cache


def give_back() -> None:
    """Return free memory to the system, where the C library knows how (glibc).

    Without it what a fit needed stays with the process: freed in pieces, kept for reuse.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> ctypes._NamedFuncPointer | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return None
