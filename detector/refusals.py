"""Answers of a server that are no result: what they mean, as errors that say what to do."""

from __future__ import annotations

from detector.errors import SourceError
from detector.range_answer import MALFORMED, decode_any


def refusal(where: str, status: int, said: str, query: str, advice: str) -> SourceError:
    """Return the error for an answer that is no result."""
    about = f"{shortened(query)}: " if query else ""
    if status in (401, 403):
        return SourceError(
            f"{where}: access refused (HTTP {status}); check the credentials in prometheus:",
            reason="refused",
        )
    if status == 400 and "exceeded maximum resolution" in said:
        return SourceError(f"{where}: {about}{said}", reason="too_large")
    if status == 400:
        return SourceError(f"{where}: {about}{said or 'bad request'}", reason="bad_query")
    if status == 422:
        return SourceError(f"{where}: {about}{said}", reason="execution")
    if status in (503, 504):
        return SourceError(
            f"{where}: {about}{said or 'still starting or overloaded; try again'}", reason="timeout"
        )
    return SourceError(
        f"{where}: unexpected answer {' '.join(f'HTTP {status} {said}'.split())}; {advice}",
        reason="bad_response",
    )


def as_json(answer: bytearray) -> object:
    """Return what is in an answer, None when it is no JSON."""
    try:
        return decode_any(answer)
    except MALFORMED:
        return None


def shortened(query: str) -> str:
    """Return a query as one line for a message."""
    line = " ".join(query.split())
    return line if len(line) <= 80 else line[:77] + "..."
