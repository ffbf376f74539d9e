"""The band: the deviation that, held for five steps on a calm series, scores 1.

Letters: as in `detector.channels`.
"""

from __future__ import annotations

import math

import numpy as np

from detector import neighbours
from detector.channels import (
    CHANNELS,
    FLAT,
    JUMP,
    LOUD_STEPS,
    NOVELTY,
    ORDER,
    PRIOR,
    SMOOTHED_STEPS,
    SPIKE,
    SPREAD,
    SPREAD_STEPS,
    SUSTAINED,
    SUSTAINED_STEPS,
    UNREST,
    Normal,
    State,
    leaning,
    leant,
    log_spread,
    predicted,
    push,
    restless,
)
from detector.combination import combined, hush, smoothed
from detector.kernels import Z_LIMIT, Single, jit
from detector.tails import tail_evidence

# What the band's edge scores is at most this much above 1, where some deviation does.
BAND_ERROR, BAND_TRIALS = 0.01, 12


@jit
def fit_band(normal: Normal, state: State, s: int, distances: Single) -> None:
    """Solve for the deviation that, held for five steps after calm ones, scores 1."""
    width = normal.windows.shape[1]
    for side in range(2):
        sign = 1.0 - 2.0 * side
        # Evidence is about a line over log1p of the deviation: the secant nearly meets it.
        low, under = 0.0, -1.0
        high = math.log1p(Z_LIMIT)
        aim = 1.0 + 0.5 * BAND_ERROR
        over = held_score(sign * Z_LIMIT, normal, s, width, distances) - aim
        if over < 0.0:
            normal.band[s, side] = np.inf
            continue
        moved = 0.0
        for k in range(BAND_TRIALS):
            middle = low - under * (high - low) / (over - under)
            if side == 1 and k == 0 and normal.band[s, 0] < Z_LIMIT:
                # Both sides are alike.
                middle = math.log1p(normal.band[s, 0])
            off = held_score(sign * math.expm1(middle), normal, s, width, distances) - aim
            if off < 0.0:
                low, under = middle, off
                # An end that stays for a second time counts half: else the other would creep.
                over = 0.5 * over if moved < 0.0 else over
            else:
                high, over = middle, off
                under = 0.5 * under if moved > 0.0 else under
            moved = off
            if abs(off) <= 0.5 * BAND_ERROR:
                break
        normal.band[s, side] = math.expm1(middle)


@jit
def held_score(z: float, normal: Normal, s: int, width: int, distances: Single) -> float:
    """Highest score of a deviation of `z` scales held for five steps on a calm series.

    Calm: no deviation before, steps as wide as usual, a usual course and unrest.
    """
    usual = max(math.exp(normal.spread[s, 0]) - FLAT, 0.0) * normal.scale[s]
    recent = np.zeros(ORDER)
    steps = np.full(SPREAD_STEPS, usual)
    evidence = np.zeros(CHANNELS)
    window = np.zeros(width)
    scores = np.zeros((2, SMOOTHED_STEPS))
    loud = np.zeros(LOUD_STEPS)
    shaped = normal.courses.shape[1] > 1
    top = 0.0
    unrest = normal.rest[s]
    lean = 0.0
    for k in range(SUSTAINED_STEPS):
        expected = predicted(recent, normal.memory[s])
        push(recent, z)
        push(steps, usual + (abs(z) * normal.scale[s] if k == 0 else 0.0))
        jump = (z - expected) / normal.surprise[s]
        mean = z * (k + 1) / SUSTAINED_STEPS
        broad = (log_spread(steps, normal.scale[s]) - normal.spread[s, 0]) / normal.spread[s, 1]
        trust = normal.trust[s]
        evidence[SPIKE] = tail_evidence(abs(z), normal.tails[s, SPIKE], trust, PRIOR)
        evidence[JUMP] = (
            tail_evidence(abs(jump), normal.tails[s, JUMP], trust, PRIOR) if jump * z > 0.0 else 0.0
        )
        evidence[SUSTAINED] = tail_evidence(abs(mean), normal.tails[s, SUSTAINED], trust, PRIOR)
        evidence[SPREAD] = tail_evidence(abs(broad), normal.tails[s, SPREAD], trust, PRIOR)
        lean = leant(lean, z, normal.fade[s, 1])
        lasting = tail_evidence(
            leaning(mean, lean) / normal.lean[s, 4], normal.lean[s], trust, PRIOR
        )
        unrest = restless(unrest, z, normal.fade[s, 0])
        evidence[UNREST] = tail_evidence(unrest, normal.tails[s, UNREST], trust, PRIOR)
        if normal.known[s, 0] > 0:
            for i in range(width):
                window[i] = recent[i]
            far = neighbours.novelty(window, normal.windows[s], normal.known[s, 0], distances)
            evidence[NOVELTY] = tail_evidence(far, normal.tails[s, NOVELTY], trust, PRIOR)
        hush(evidence, loud, shaped)
        evidence[SUSTAINED] = max(evidence[SUSTAINED], lasting)
        score = math.sqrt(combined(evidence, normal.weights[s], CHANNELS)) / normal.edge[s]
        top = max(top, smoothed(score, normal.newest[s], scores) if shaped else score)
    return top
