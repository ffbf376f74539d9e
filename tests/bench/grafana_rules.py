"""Both strategies of grafana/promql-anomaly-detection as recording rules, written from formulas.

The formulas are those of the project at commit 738e34e (2026-02-09): a band is the union of a
short-term one, a margin of 50 %, and what was a day and a week ago. The text is ours; it has as
many series a signal as theirs (9 and 17), and its constants are written in instead of joined in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

INPUT = "bench_input"
HOUR = 3600
# Rules read these stretches back from now: a day's and 26 hours' windows, and a week ago.
LAST_DAY = (27 * HOUR, 0)
LAST_WEEK = (170 * HOUR, 165 * HOUR)

Series = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Recorded:
    """A recorded series' past: by what it is approximated, and where rules look back at it.

    Parameters
    ----------
    like : callable
        [S, T] input to [S, T] values of about the right size (only their number matters here).
    windows : tuple of (int, int)
        Seconds before now: from, to. The last two hours are written in any case.
    bursty_only : bool
        Only series with bursts have it.
    every : int
        Seconds between samples: the interval of its group.
    """

    like: Series
    windows: tuple[tuple[int, int], ...] = ()
    bursty_only: bool = False
    every: int = 60


def adaptive() -> dict[str, Any]:
    """Mean and deviation of the last hour, 26 hours of large deviations, a day and a week ago."""
    minute = {
        "adaptive:level": f"{INPUT} > 0",
        "adaptive:mean_1h": "avg_over_time(adaptive:level[1h])",
        "adaptive:std_1h": "stddev_over_time(adaptive:level[1h])",
        "adaptive:std_1h:large": "adaptive:std_1h > 0.5 * adaptive:mean_1h",
        "adaptive:std_26h": "avg_over_time(adaptive:std_1h:large[26h])",
        "adaptive:upper": _union(
            "max",
            short="adaptive:mean_1h + 2 * adaptive:std_26h",
            margin="1.5 * adaptive:mean_1h",
            past="last_over_time(adaptive:past:upper[10m])",
        ),
        "adaptive:lower": "clamp_min("
        + _union(
            "min",
            short="adaptive:mean_1h - 2 * adaptive:std_26h",
            margin="0.5 * adaptive:mean_1h",
            past="last_over_time(adaptive:past:lower[10m])",
        )
        + ", 0)",
    }
    mean, std = "(adaptive:mean_1h offset {ago})", "2 * (adaptive:std_1h offset {ago})"
    ago = {"day": "23h30m", "week": "167h30m"}
    past = {
        f"adaptive:past:{side}": _union(
            best, **{name: f"{mean} {sign} {std}".format(ago=time) for name, time in ago.items()}
        )
        for side, best, sign in (("upper", "max", "+"), ("lower", "min", "-"))
    }
    return _file("adaptive", minute, past, level="adaptive:level")


def robust() -> dict[str, Any]:
    """Medians of a day and of the deviations from it, and of an hour a day and a week ago."""
    minute = {
        "robust:level": f"{INPUT} > 0",
        "robust:median_24h": "quantile_over_time(0.5, robust:level[24h])",
        "robust:deviation": "abs(robust:level - robust:median_24h)",
        "robust:mad_24h": "quantile_over_time(0.5, robust:deviation[24h])",
        "robust:median_1h": "quantile_over_time(0.5, robust:level[1h])",
    }
    past: dict[str, str] = {}
    for name, ago in (("day", "23h45m"), ("week", "167h45m")):
        median, mad = f"robust:{name}:median", f"robust:{name}:mad"
        past[median] = f"quantile_over_time(0.5, robust:level[1h] offset {ago})"
        past[f"robust:{name}:deviation"] = f"abs(robust:level offset {ago} - {median})"
        past[mad] = f"quantile_over_time(0.5, robust:{name}:deviation[1h])"
        past[f"robust:{name}:upper"] = f"{median} + 2 * {mad}"
        past[f"robust:{name}:lower"] = f"{median} - 2 * {mad}"
    for side, best, sign, share in (("upper", "max", "+", 1.5), ("lower", "min", "-", 0.5)):
        members = {name: f"last_over_time(robust:{name}:{side}[10m])" for name in ("day", "week")}
        band = _union(
            best,
            short=f"robust:median_24h {sign} 2 * robust:mad_24h",
            margin=f"{share} * robust:median_24h",
            **members,
        )
        minute[f"robust:{side}"] = f"clamp_min({band}, 0)" if side == "lower" else band
    return _file("robust", minute, past, level="robust:median_1h")


def recorded() -> dict[str, Recorded]:
    """Return the past of every recorded series of both strategies."""
    both = (LAST_DAY, LAST_WEEK)
    past = {
        "adaptive:level": Recorded(_same, both),
        "adaptive:mean_1h": Recorded(_same, both),
        "adaptive:std_1h": Recorded(_tenth, both),
        "adaptive:std_1h:large": Recorded(_same, (LAST_DAY,), bursty_only=True),
        "adaptive:std_26h": Recorded(_same, bursty_only=True),
        "adaptive:upper": Recorded(_same),
        "adaptive:lower": Recorded(_tenth),
        "adaptive:past:upper": Recorded(_same, every=300),
        "adaptive:past:lower": Recorded(_tenth, every=300),
        "robust:level": Recorded(_same, both),
        "robust:median_24h": Recorded(_same),
        "robust:deviation": Recorded(_tenth, (LAST_DAY,)),
        "robust:mad_24h": Recorded(_tenth),
        "robust:median_1h": Recorded(_same),
        "robust:upper": Recorded(_same),
        "robust:lower": Recorded(_tenth),
    }
    for name in ("day", "week"):
        past |= {
            f"robust:{name}:{part}": Recorded(_tenth, every=300)
            for part in ("median", "deviation", "mad", "upper", "lower")
        }
    return past


def _union(best: str, **members: str) -> str:
    """Return the outermost of several bounds; one that is missing is left out."""
    marked = (
        f'label_replace({expression}, "band", "{name}", "", "")'
        for name, expression in members.items()
    )
    return f"{best} without (band) ({' or '.join(marked)})"


def _file(name: str, minute: dict[str, str], past: dict[str, str], level: str) -> dict[str, Any]:
    alert = {
        "alert": f"Anomaly_{name}",
        "expr": f"{level} > {name}:upper or {level} < {name}:lower",
        "for": "5m",
    }
    rules = {
        interval: [{"record": record, "expr": expr} for record, expr in records.items()]
        for interval, records in (("1m", minute), ("5m", past))
    }
    return {
        "groups": [
            {"name": name, "interval": "1m", "rules": [*rules["1m"], alert]},
            {"name": f"{name}_past", "interval": "5m", "rules": rules["5m"]},
        ]
    }


def _same(values: np.ndarray) -> np.ndarray:
    return values


def _tenth(values: np.ndarray) -> np.ndarray:
    return 0.1 * values
