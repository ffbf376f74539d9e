"""Levels learnt step by step: medians of the last day's hours, held while an episode lasts."""

from __future__ import annotations

import math

import numpy as np

from detector import kernels, medians
from detector.channels import State
from detector.kernels import jit
from detector.models.baseline import BLOCKS
from detector.series import Float

# Hours after which a change is no incident any more but the new level.
LASTING_HOURS = 12
# Modes of a series: nothing, inside an episode, windows that still hold the last one.
CALM, EPISODE, SPENT = 0, 1, 2


@jit
def learn(x: float, residual: float, taught: bool, position: int, state: State, s: int) -> None:
    """Collect the hour's residuals and samples; when it is over, renew the levels.

    Medians need no weights: an incident of some hours is a minority of the day. Inside an
    episode the level is held, and with it the band, until it has lasted for half a day: then
    most of the day was spent there, and it is the level.
    """
    size = state.hour.shape[2]
    for k in range(2):
        v = residual if k == 0 else x
        if taught and v == v and state.filled[s, k] < size:
            state.hour[s, k, state.filled[s, k]] = v
            state.filled[s, k] += 1
    if (position + 1) % size == 0:
        if state.flags[s, 0] == EPISODE:
            state.flags[s, 2] += 1
        for k in range(2):
            ring = state.blocks[s] if k == 0 else state.raw[s]
            n = state.filled[s, k]
            for i in range(BLOCKS - 1):
                ring[i] = ring[i + 1]
            ring[BLOCKS - 1] = kernels.quantile(state.hour[s, k, :n], 0.5)
            state.filled[s, k] = 0
            lasting = state.flags[s, 2] >= LASTING_HOURS
            if k == 1 or state.flags[s, 0] != EPISODE or lasting:
                level = middle(ring)
                if level == level:
                    state.level[s, k] = level


@jit
def middle(ring: Float) -> float:
    """Median of a ring of block medians; NaN when fewer than a quarter are known."""
    known = ring[~np.isnan(ring)]
    return float(kernels.quantile(known, 0.5)) if 4 * known.shape[0] >= ring.shape[0] else np.nan


@jit
def begin(history: Float, blocks: Float, raw: Float, level: Float) -> None:
    """Fill in the medians of the last day's hours, and both levels, of S series.

    Parameters
    ----------
    history : float64[S, T]
        Samples on the profile grid up to the boundary; T is a multiple of BLOCKS, or too short.
    blocks : float64[S, BLOCKS]
        Medians of the last hours' residuals.
    raw : float64[S, BLOCKS]
        Output: the same of the samples; NaN on entry, and left so where the history is too short.
    level : float64[S, 2]
        Output: medians of both; 0 where the residuals say nothing, as the table stands at the
        last level that was known.
    """
    size = history.shape[1] // BLOCKS
    for s in range(history.shape[0]):
        if size > 0:
            raw[s] = medians.block_medians(history[s], size)
        level[s, 0] = middle(blocks[s])
        level[s, 1] = middle(raw[s])
        if math.isnan(level[s, 0]):
            level[s, 0] = 0.0
