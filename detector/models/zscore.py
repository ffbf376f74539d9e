"""Rolling robust z-score: the level of the last day and the spread around it, no season."""

from __future__ import annotations

import numpy as np

from detector.models.baseline import Baseline
from detector.models.seasonal import SCALE_DAYS
from detector.models.univariate import GAUSSIAN, Fit, fit_each, trailing_level
from detector.series import Float, SeriesMatrix

# Makes the mean of absolute deviations the standard deviation of Gaussian noise.
GAUSSIAN_MEAN = 1.2533


def fit(history: SeriesMatrix) -> Baseline:
    """Learn level and spread of each series.

    The level of a moment is the median of the hourly medians of a day before it (of two where an
    hour is one sample), so each sample of the history is judged by what was known then. The spread
    is 1.4826 times the median of the absolute deviations of two weeks, or, where more than half of
    them are zero, 1.2533 times their mean.

    Parameters
    ----------
    history : SeriesMatrix
        [S, T] samples on the profile grid, all before the boundary; NaN is skipped.

    Returns
    -------
    Baseline
        Its table is constant.

    References
    ----------
    Iglewicz and Hoaglin, How to Detect and Handle Outliers (ASQC, 1993), on both spreads.
    """
    return fit_each(history, fit_one)


def fit_one(x: Float, first: int, day: int) -> Fit:
    """Fit one series; see `univariate.fit_each`."""
    expected, level = trailing_level(x, day)
    off = np.abs(x - expected)[-SCALE_DAYS * day :]
    off = off[np.isfinite(off)]
    scale = np.nan
    if len(off):
        scale = GAUSSIAN * float(np.median(off)) or GAUSSIAN_MEAN * float(np.mean(off))
    return Fit(np.full(7 * day, level), expected, scale)
