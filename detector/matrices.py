"""Matrices of samples made to fit: onto whole or finer grids, rows joined, absence filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from detector.series import Bool, Labels, SeriesMatrix


def fill_zero(
    samples: SeriesMatrix, presence: Mapping[Labels, np.ndarray], sibling: Bool | None = None
) -> SeriesMatrix:
    """Turn absence into zero where the job, or a sibling series, was there.

    Parameters
    ----------
    samples : SeriesMatrix
        [S, T] samples of a signal whose policy is ``missing="zero"``.
    presence : mapping from Labels to bool[T]
        Where `up` was 1, keyed by its (instance, job) labels; empty when unknown.
    sibling : bool[T], optional
        Where any series of the signal has a sample, when `samples` are not all of them.

    Returns
    -------
    SeriesMatrix
        A sample that is present but NaN stays NaN: a ratio of nothing to nothing is no zero.
    """
    of_these = ~samples.absent.all(axis=0) & bool(samples.labels)
    any_sibling = of_these if sibling is None else sibling
    values, absent = samples.values.copy(), samples.absent.copy()
    for s, key in enumerate(samples.labels):
        identity = {(k, v) for k, v in key if k in ("job", "instance")}
        there = any_sibling.copy()
        for target, up in presence.items():
            if identity and identity <= set(target):
                there |= up
        fill = samples.absent[s] & there
        values[s, fill] = 0.0
        absent[s, fill] = False
    return replace(samples, values=values, absent=absent)


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
