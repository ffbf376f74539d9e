"""Draws a series with its band, the anomaly, and the score below it."""

from __future__ import annotations

import io
import threading
from datetime import UTC, datetime

import numpy as np

from detector import names
from detector.notify.inert import line
from detector.notify.story import Subject
from detector.notify.wording import number, told_apart

WIDTH, HEIGHT, DPI = 8.0, 4.2, 100
TITLE = 75
# Distances of the marks on the time axis, seconds.
TICKS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
BLUE, RED, GREY = "#1f5fa8", "#c4162a", "#8a8a8a"
# matplotlib's fonts are shared; drawing is not safe in two threads.
_LOCK = threading.Lock()


def draw(subject: Subject) -> bytes:
    """Return a PNG of the time around an anomaly, times in UTC.

    Text is never read as mathematics, and a letter that the font has not is a question mark.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    anomaly, scores = subject.anomaly, subject.scores
    with _LOCK:
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        top, strip = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        times, observed = scores.times, scores.observed[0]
        low, high = scores.lower[0], scores.upper[0]
        span = _span(observed, scores.expected[0], low, high)
        # A bound that does not exist is no bound: the band then ends with the picture.
        known = np.isfinite(scores.expected[0])
        below, above = (
            np.where(np.isfinite(low), low, span[0]),
            np.where(np.isfinite(high), high, span[1]),
        )
        top.fill_between(
            times, below, above, where=known, color=BLUE, alpha=0.18, lw=0, label="normal"
        )
        top.plot(times, scores.expected[0], color=BLUE, lw=1, ls="--", label="expected")
        top.plot(times, observed, color="#202020", lw=1.4, label="observed")
        on = scores.state[0] == names.State.ANOMALOUS
        top.plot(times[on], observed[on], ls="", marker="o", ms=3, color=RED, label="anomalous")
        for axes in (top, strip):
            axes.axvline(anomaly.since, color=RED, lw=1)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(alpha=0.25)
        top.set_ylim(*span)
        top.yaxis.set_major_formatter(
            FuncFormatter(lambda v, _: number(float(v), anomaly.kind, anomaly.signal))
        )
        job = dict(anomaly.labels).get("job", "")
        named = (f"{job}:" if job else "", anomaly.signal, told_apart(anomaly.labels))
        heading = " ".join(filter(None, named))
        top.set_title(
            _drawable(line(heading, TITLE)),
            loc="left",
            fontsize=10,
            fontweight="bold",
            parse_math=False,
        )
        top.legend(loc="upper left", fontsize=7, ncols=4, frameon=False)
        strip.fill_between(times, 0, np.nan_to_num(scores.score[0]), color=GREY, lw=0, step="mid")
        strip.fill_between(
            times, 0, np.nan_to_num(scores.score[0]), where=on, color=RED, lw=0, step="mid"
        )
        strip.axhline(1, color=RED, lw=0.8, ls=":")
        strip.set_ylim(0, max(2.0, float(np.nanmax(scores.score[0], initial=0.0)) * 1.05))
        strip.set_ylabel("score", fontsize=8)
        strip.xaxis.set_major_formatter(
            FuncFormatter(lambda v, _: datetime.fromtimestamp(float(v), UTC).strftime("%H:%M"))
        )
        # A detector that is new here has no scores of the time before.
        seen = np.flatnonzero(np.isfinite(observed))
        begin = times[seen[0]] if len(seen) else times[0]
        span_seconds = int(times[-1] - begin)
        # Room for the mark of the newest moment, which is the one that counts.
        strip.set_xlim(begin, times[-1] + max(0.02 * span_seconds, 1.0))
        strip.xaxis.set_major_locator(
            MultipleLocator(next((t for t in TICKS if span_seconds <= 9 * t), TICKS[-1]))
        )
        day = datetime.fromtimestamp(int(times[-1]), UTC).strftime("%Y-%m-%d, UTC")
        strip.set_xlabel(day, fontsize=8)
        for axes in (top, strip):
            axes.tick_params(labelsize=8)
        out = io.BytesIO()
        canvas.print_png(out)  # type: ignore[no-untyped-call]  # the library has no types here
    return out.getvalue()


def _span(*values: np.ndarray) -> tuple[float, float]:
    """Return the range of the axis, with room for the legend."""
    known = np.concatenate([v[np.isfinite(v)] for v in values])
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    room = (high - low) or abs(high) or 1.0
    return low - 0.05 * room, high + 0.2 * room


def _drawable(text: str) -> str:
    """Return a text with a question mark for each letter the font has not."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("DejaVu Sans"))
    return "".join(c if font.get_char_index(ord(c)) else "?" for c in text)
