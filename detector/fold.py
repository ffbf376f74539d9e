"""The fold: scores series step by step, then learns from each step. One path, live and replayed."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from detector.channels import MISSING_STEPS, MODE, Limits, Normal, State
from detector.clock import unforeseen
from detector.combination import share
from detector.episodes import EPISODE, end, follow
from detector.evidence import Scratch, pass_over, take_in
from detector.expectation import Calendar, Expectation, expect
from detector.kernels import bare
from detector.levels import collect, renew
from detector.series import Bool, Float
from detector.verdict import judge


class Told(NamedTuple):
    """What the fold writes of S series and T steps.

    expected, lower, upper, score : float64[S, T], NaN where nothing is known;
    evidence : float64[S, T, C], each channel's share of the score in an episode, else NaN;
    anomalous : int8[S, T], 1 in an episode, else 0.
    """

    expected: Float
    lower: Float
    upper: Float
    score: Float
    evidence: Float
    anomalous: np.ndarray


@bare
def fold(
    values: Float,
    calendar: Calendar,
    taught: Bool,
    muted: Bool,
    ready: Bool,
    memory: int,
    an_hour: int,
    normal: Normal,
    limits: Limits,
    state: State,
    told: Told,
    scratch: Scratch,
) -> None:
    """Score S series over T steps and learn their level; `state` and `told` are written in place.

    Parameters
    ----------
    values : float64[S, T]
        Samples; NaN says nothing.
    calendar : Calendar
        Of the T steps.
    taught, muted : bool[S, T]
        Whether a sample is learnt from; whether nothing is to be said of it.
    ready : bool[S]
        Series that are scored; the others are left out.
    memory : int
        Steps that the longest window of a channel looks back.
    an_hour : int
        Steps: after more without a sample an episode is over, and what follows stands alone.
    normal, limits, state
        See `detector.channels`.
    told : Told
        Output.
    scratch : Scratch
        Room for one step; written too.

    Notes
    -----
    O(1) a step and series but for `novelty`, which compares the window with 200 references in
    one vector pass. Arrays are series-major: the state of one series (some 30 KiB with its
    table and references) stays in the cache for all its steps.
    """
    for s in range(values.shape[0]):
        if not ready[s]:
            continue
        flags = state.flags[s]
        for t in range(values.shape[1]):
            x = values[s, t]
            taking = calendar.taking[t]
            now = expect(x, calendar, t, normal, limits, state, s, scratch.far)
            _tell_band(now, normal.crowd[s, 0], limits, told, s, t)
            deviation = unforeseen(x - now.centre, now.up, now.down)
            if math.isnan(deviation) or muted[s, t]:
                flags[MISSING_STEPS] += 1
                apart = muted[s, t] or flags[MISSING_STEPS] > an_hour
                pass_over(x, apart, taking, normal, state, s)
                if apart:
                    end(flags)
            else:
                flags[MISSING_STEPS] = 0
                sample = take_in(x, deviation, now, taking, normal, limits, state, s, scratch)
                said = judge(x, deviation, now, sample, normal, limits, state, s, scratch)
                before = flags[MODE]
                told.score[s, t] = follow(
                    said.score, said.calm, said.uneasy, said.loud, said.news, memory, flags
                )
                if flags[MODE] == EPISODE:
                    told.anomalous[s, t] = 1
                    share(
                        scratch.found,
                        normal.weights[s],
                        said.far,
                        said.channel,
                        normal.edge[s],
                        told.evidence[s, t],
                    )
                elif before == EPISODE:
                    # The next line that stands still, or leans, is another one.
                    state.run[s] = 0
                    state.lean[s] = 0.0
            if taking:
                if taught[s, t]:
                    collect(x, x - now.season, state.hour[s], state.filled[s])
                if calendar.ending[t]:
                    renew(state, s)


@bare
def _tell_band(now: Expectation, crowd: float, limits: Limits, told: Told, s: int, t: int) -> None:
    """Write what is expected at a step, and from where to where a sample is normal."""
    if now.centre != now.centre:
        return
    low, high = limits.limits[0], limits.limits[1]
    told.expected[s, t] = now.centre
    told.lower[s, t] = low
    told.upper[s, t] = high
    if limits.signs[0] == 1:
        told.upper[s, t] = min(now.centre + now.up + max(now.above, crowd), high)
    if limits.signs[1] == 1:
        told.lower[s, t] = max(now.centre - now.down - now.below, low)
