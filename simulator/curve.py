"""How many requests a second the simulated customers make at any moment of the week.

Live traffic and the seeded past both call these functions, so that nothing changes where they meet.
"""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.errors import ConfigError

DAY_SECONDS = 86_400.0
WEEK_SECONDS = 7 * DAY_SECONDS
DEFAULT_PEAK_RPS = 24.0

# Shape of one working day: share of the peak at an hour, joined by half cosines, which are flat at
# these points, so the curve has no corner. The last point is the first one of the next day.
_HOURS = np.array([4.0, 15.0, 17.5, 20.0, 28.0])
_SHARES = np.array([0.42, 0.97, 1.0, 0.97, 0.42])

# Monday to Sunday.
_WEEKDAY_FACTORS = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.85, 0.75])
# A weekday's factor changes over this many seconds on either side of midnight.
_MIDNIGHT_BLEND_SECONDS = 2 * 3600.0
# 1970-01-01, where unix time starts, was a Thursday.
_EPOCH_WEEKDAY = 3

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MOMENT = re.compile(r"([a-z]{3})[a-z]*\s+(\d{1,2}):(\d{2})")


def requests_per_second(
    t: ArrayLike, phase: float = 0.0, peak: float = DEFAULT_PEAK_RPS
) -> NDArray[np.float64]:
    """Return the expected arrival rate at the given moments.

    Parameters
    ----------
    t : array_like
        Unix seconds, any shape.
    phase : float
        Seconds added to `t` before the curve is read (see `phase_for`).
    peak : float
        Requests a second at the top of a working day.

    Returns
    -------
    ndarray of float64
        Requests a second, the shape of `t`, always above zero.
    """
    moment = np.asarray(t, dtype=np.float64) + phase
    return peak * day_share(moment) * week_factor(moment)


def day_share(t: ArrayLike) -> NDArray[np.float64]:
    """Return the share of the day's peak at curve time `t`: 0.42 at 04:00, about 1 from 15:00."""
    hour = (np.asarray(t, dtype=np.float64) / 3600.0 - _HOURS[0]) % 24.0 + _HOURS[0]
    piece = np.clip(np.searchsorted(_HOURS, hour, side="right") - 1, 0, len(_HOURS) - 2)
    start, end = _HOURS[piece], _HOURS[piece + 1]
    ramp = 0.5 - 0.5 * np.cos(np.pi * (hour - start) / (end - start))
    return np.asarray(_SHARES[piece] + ramp * (_SHARES[piece + 1] - _SHARES[piece]))


def week_factor(t: ArrayLike) -> NDArray[np.float64]:
    """Return the weekday's factor at curve time `t`, blended smoothly around midnight (UTC)."""
    days = np.asarray(t, dtype=np.float64) / DAY_SECONDS + _EPOCH_WEEKDAY
    midnight = np.round(days)
    blend = _MIDNIGHT_BLEND_SECONDS / DAY_SECONDS
    position = np.clip((days - midnight) / (2 * blend) + 0.5, 0.0, 1.0)
    after = _WEEKDAY_FACTORS[midnight.astype(np.int64) % 7]
    before = _WEEKDAY_FACTORS[(midnight.astype(np.int64) - 1) % 7]
    return np.asarray(before + (0.5 - 0.5 * np.cos(np.pi * position)) * (after - before))


def phase_for(at: str | None, now: float) -> float:
    """Return the phase that makes `now` count as the weekday and UTC hour `at`.

    Parameters
    ----------
    at : str or None
        A weekday and an hour such as ``Sun 04:00``; None leaves the curve on real time.
    now : float
        Unix seconds.

    Returns
    -------
    float
        Seconds in [-302400, 302400): curve time is unix time plus this.

    Raises
    ------
    ConfigError
        When `at` is not a weekday and an hour.

    Examples
    --------
    >>> phase_for("Thu 01:00", now=0.0)
    3600.0
    """
    if at is None:
        return 0.0
    match = _MOMENT.fullmatch(at.strip().lower())
    if (
        match is None
        or match[1] not in _WEEKDAYS
        or int(match[2]) > 23
        or int(match[3]) > 59
        or not math.isfinite(now)
    ):
        raise ConfigError(f"{at!r} is no weekday and hour; write for example 'Sun 04:00'")
    day = (_WEEKDAYS.index(match[1]) - _EPOCH_WEEKDAY) % 7
    wanted = day * DAY_SECONDS + int(match[2]) * 3600.0 + int(match[3]) * 60.0
    half = WEEK_SECONDS / 2
    return (wanted - now + half) % WEEK_SECONDS - half
