"""Matrices of samples made to fit: onto whole or finer grids, rows joined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from detector.series import SeriesMatrix


def extended(window: SeriesMatrix, first: int, end: int) -> SeriesMatrix:
    """Return `window` on the full grid first..end, absent where there was no column."""
    times = np.arange(first, end, window.step)
    if np.array_equal(times, window.times):
        return window
    values = np.full((len(window.labels), len(times)), np.nan)
    absent = np.ones(values.shape, bool)
    at = (window.times - first) // window.step
    values[:, at] = window.values
    absent[:, at] = window.absent
    mask = None
    if window.mask is not None:
        mask = np.zeros(values.shape, np.uint8)
        mask[:, at] = window.mask
    return replace(window, times=times, values=values, absent=absent, mask=mask)


def held(samples: SeriesMatrix, step: int) -> SeriesMatrix:
    """Return the samples on a finer grid, each held until the next."""
    times = samples.step // step
    return replace(
        samples,
        times=(samples.times[:, None] + np.arange(times) * step).ravel(),
        values=samples.values.repeat(times, axis=1),
        absent=samples.absent.repeat(times, axis=1),
        step=step,
        mask=None if samples.mask is None else samples.mask.repeat(times, axis=1),
    )


def stacked(first: SeriesMatrix, second: SeriesMatrix) -> SeriesMatrix:
    """Return the rows of both matrices, which share their times."""
    mask = None
    if first.mask is not None or second.mask is not None:
        mask = np.concatenate(
            [
                np.zeros(m.values.shape, np.uint8) if m.mask is None else m.mask
                for m in (first, second)
            ]
        )
    return replace(
        first,
        labels=first.labels + second.labels,
        values=np.concatenate([first.values, second.values]),
        absent=np.concatenate([first.absent, second.absent]),
        mask=mask,
    )
