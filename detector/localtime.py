"""What the clocks of a time zone show: the distance of local time from UTC."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from detector.series import Int

# Zones change their distance from UTC at a multiple of a quarter of an hour.
QUARTER = 900


def utc_offsets(times: Int, timezone: str) -> Int:
    """Return how far the clocks of a zone are ahead of UTC.

    Parameters
    ----------
    times : int64[T]
        Unix seconds.
    timezone : str
        IANA name such as ``Europe/Berlin``; empty for UTC.

    Returns
    -------
    int64[T]
        Seconds: ``times + utc_offsets(times, timezone)`` counts as local clocks do.

    Raises
    ------
    zoneinfo.ZoneInfoNotFoundError
        When there is no such zone; `fields.Zone` has checked those of the configuration.

    Examples
    --------
    Summer and winter:

    >>> (utc_offsets(np.array([1751328000, 1735689600]), "Europe/Berlin") // 3600).tolist()
    [2, 1]
    """
    if not timezone:
        return np.zeros(len(times), np.int64)
    zone = ZoneInfo(timezone)
    quarters, at = np.unique(np.asarray(times) // QUARTER, return_inverse=True)
    offsets = [_seconds(int(quarter) * QUARTER, zone) for quarter in quarters]
    return np.array(offsets, np.int64)[at]


def _seconds(moment: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(moment, zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())
