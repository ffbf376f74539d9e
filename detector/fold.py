"""The fold: scores series step by step, then learns from each step. One path, live and replayed."""

from __future__ import annotations

import math

import numpy as np

from detector import kernels, neighbours
from detector.channels import (
    CHANNELS,
    FLAT,
    JUMP,
    NOVELTY,
    ORDER,
    PRIOR,
    SHAPE,
    SPIKE,
    SPREAD,
    SPREAD_STEPS,
    SUSTAINED,
    TREND,
    UNREST,
    Limits,
    Normal,
    State,
    leaning,
    leant,
    observe,
    own,
    predicted,
    push,
)
from detector.clock import around, unforeseen
from detector.combination import combined, hush, share, smoothed
from detector.episodes import CAPPED, EPISODE, LEAVE, end, follow
from detector.extremes import MOST, alone, beyond, edges
from detector.floors import heard, passes, trend_of
from detector.kernels import Z_LIMIT, jit
from detector.levels import collect, level_of, renew
from detector.references import course_evidence, scaled
from detector.series import Bool, Float, Int
from detector.tails import tail_evidence

# An expected value that moves by more than so many usual steps of the series makes a jump that is
# not the series'.
STEPS_MOVED = 3.0
# A shift goes on with a deviation of this share of what the last ones are on the whole.
STAYS = 0.5


@jit
def fold(
    values: Float,
    times: Int,
    local: Int,
    profile: int,
    boundary: int,
    memory: int,
    taught: Bool,
    muted: Bool,
    normal: Normal,
    state: State,
    limits: Limits,
    ready: Bool,
    expected: Float,
    lower: Float,
    upper: Float,
    score: Float,
    evidence: Float,
    anomalous: np.ndarray,
) -> None:
    """Score S series over T steps and learn their level; state and outputs are written in place.

    Parameters
    ----------
    values : float64[S, T]
        Samples; NaN says nothing.
    times, local : int64[T]
        Unix seconds of the steps, and what the clocks of the signal's time zone show.
    profile, boundary : int
        Seconds of the profile grid; unix seconds of the boundary the fit belongs to.
    memory : int
        Steps that the longest window of a channel looks back.
    taught, muted : bool[S, T]
        Whether a sample is learnt from; whether nothing is to be said of it.
    normal, state, limits
        See `detector.channels`.
    ready : bool[S]
        Series that are scored; the others are left out.
    expected, lower, upper, score : float64[S, T]
        Outputs, NaN on entry.
    evidence : float64[S, T, C]
        Output: each channel's share of the score while in an episode; NaN on entry.
    anomalous : int8[S, T]
        Output: 1 while in an episode; 0 on entry.

    Notes
    -----
    O(1) a step and series but for `novelty`, which compares the window with 200 references in
    one vector pass. Arrays are series-major: the state of one series (some 30 KiB with its
    table and references) stays in the cache for all its steps.
    """
    width = normal.windows.shape[1]
    shaped = normal.courses.shape[1] > 1
    magnitudes = np.empty(CHANNELS)
    far_edges = np.empty((2, 2))
    found = np.zeros(CHANNELS)
    window = np.empty(width)
    distances = np.empty(normal.windows.shape[2], np.float32)
    cells = local // profile
    parts = (local - cells * profile) / profile
    slots = cells % normal.table.shape[1]
    after = (cells + 1) % normal.table.shape[1]
    before = (cells - 1) % normal.table.shape[1]
    days = cells % normal.widths.shape[1]
    taking = (times % profile == 0) & (times >= boundary)
    positions = (times - boundary) // profile
    ends = (positions + 1) % state.hour.shape[2] == 0
    for s in range(values.shape[0]):
        if not ready[s]:
            continue
        table = normal.table[s]
        slope = normal.slope[s]
        slack = normal.scale[s] if shaped else np.inf
        trust = normal.trust[s]
        weights = normal.weights[s]
        flags = state.flags[s]
        for t in range(values.shape[1]):
            # A slot stands for the next time it comes: before the boundary the series was lower.
            k = positions[t]
            season, up, down = around(
                table[before[t]] - (slope if k < 1 else 0.0),
                table[slots[t]] - (slope if k < 0 else 0.0),
                table[after[t]] - (slope if k < -1 else 0.0),
                parts[t],
                slack,
            )
            x = values[s, t]
            width_now = normal.widths[s, days[t]]
            apart = kernels.widening(season + state.level[s, 0], normal.growth[s]) * width_now
            apart *= LEAVE * normal.scale[s] * normal.band[s].max()
            apart = max(apart, limits.floors[0])
            in_use = flags[4]
            level = level_of(x - season, state.level[s, 0], state.usual[s], apart, flags)
            centre = season + level
            centre = min(max(centre, limits.limits[0]), limits.limits[1])
            moved = abs(centre - state.centre[s])
            state.centre[s] = centre
            margin = max(limits.floors[0], limits.floors[1] * abs(centre), normal.grain[s])
            wider = kernels.widening(centre, normal.growth[s]) * width_now
            scale = normal.scale[s] * wider
            if flags[4] != in_use:
                # The last deviations were held to the other level.
                other = state.usual[s] if in_use == 1 else state.level[s, 0]
                state.recent[s] += (other - level) / scale
                state.lean[s] = 0.0
            usual = max(math.exp(normal.spread[s, 0]) - FLAT, 0.0) * scale
            moved -= STEPS_MOVED * usual
            edges(centre, usual, normal.reach[s], limits, far_edges)
            above = max(min(normal.band[s, 0] * scale, far_edges[0, 0] - centre), margin)
            below = max(min(normal.band[s, 1] * scale, centre - far_edges[1, 0]), margin)
            if centre == centre:
                expected[s, t] = centre
                shown = max(above, normal.crowd[s, 0])
                upper[s, t] = limits.limits[1]
                lower[s, t] = limits.limits[0]
                if limits.signs[0] == 1:
                    upper[s, t] = min(centre + up + shown, limits.limits[1])
                if limits.signs[1] == 1:
                    lower[s, t] = max(centre - down - below, limits.limits[0])
            r = unforeseen(x - centre, up, down)
            if math.isnan(r) or muted[s, t]:
                # What lies in muted time is not looked at: no step leads out of it, and no episode.
                if muted[s, t]:
                    state.last[s] = np.nan
                    state.run[s] = 0
                    state.lean[s] = 0.0
                    if flags[0] == EPISODE:
                        end(flags)
                elif x == x:
                    state.last[s] = x
                likely = predicted(state.recent[s], normal.memory[s])
                push(state.recent[s], likely)
                state.lean[s] = leant(state.lean[s], likely, normal.fade[s, 1])
                push(state.loud[s], 0.0)
                state.scores[s] = 0.0
                if taking[t]:
                    push(state.course[s], state.course[s, 0])
                    if taught[s, t]:
                        collect(x, x - season, state.hour[s], state.filled[s])
                    if ends[t]:
                        renew(state, s)
                continue
            z = min(max(r / scale, -Z_LIMIT), Z_LIMIT)
            still = x == state.last[s]
            state.run[s] = state.run[s] + 1 if still else 1
            # As with a flat line, standing still is a lack of something.
            stuck = min(state.run[s] / normal.patience[s], MOST) if limits.signs[1] == 1 else 0.0
            observe(z, x, wider, normal, state, s, magnitudes)
            foreign = np.inf if state.run[s] > ORDER else moved / scale / normal.surprise[s]
            magnitudes[JUMP] = own(magnitudes[JUMP], foreign)
            for c in (SPIKE, JUMP, SUSTAINED, SPREAD, UNREST):
                found[c] = tail_evidence(abs(magnitudes[c]), normal.tails[s, c], trust, PRIOR)
            lasting = leaning(magnitudes[SUSTAINED], state.lean[s]) / normal.lean[s, 4]
            lasting = tail_evidence(lasting, normal.lean[s], trust, PRIOR)
            if SPREAD_STEPS <= state.run[s] < normal.patience[s]:
                # As many equal samples are no surprise here: all of its steps are nothing yet.
                found[SPREAD] = 0.0
            if normal.known[s, 0] > 0:
                for i in range(width):
                    window[i] = state.recent[s, i]
                distance = neighbours.novelty(
                    window[:width], normal.windows[s], normal.known[s, 0], distances
                )
                found[NOVELTY] = tail_evidence(distance, normal.tails[s, NOVELTY], trust, PRIOR)
            else:
                found[NOVELTY] = 0.0
            if shaped and taking[t]:
                push(state.course[s], scaled(x, normal.middle[s]))
                state.shape[s] = course_evidence(
                    state.course[s], normal.courses[s], normal.known[s, 1],
                    normal.tails[s, SHAPE], trust, distances,
                )  # fmt: skip
            found[SHAPE] = state.shape[s]
            hush(found, state.loud[s], shaped)
            found[SUSTAINED] = max(found[SUSTAINED], lasting)
            for c in (SPIKE, JUMP, SUSTAINED, SPREAD):
                if not heard(magnitudes[c], limits.signs):
                    found[c] = 0.0
            if not heard(state.recent[s, :width].mean(), limits.signs):
                found[NOVELTY] = 0.0
                found[SHAPE] = 0.0
                found[UNREST] = 0.0
            level_mean = magnitudes[SUSTAINED] * scale
            # An episode goes on down to a share of the floors, as it does of the band.
            held = LEAVE if flags[0] == EPISODE else 1.0
            floor = held * margin
            trend = 0.0
            drifts = False
            if limits.trend:
                week = normal.reference[s, 0]
                move = state.level[s, 1] - week
                unit = max(normal.reference[s, 1], normal.scale[s])
                trend = trend_of(move, unit, state.blocks[s], limits.signs)
                least = held * max(limits.floors[0], limits.floors[1] * abs(week))
                drifts = passes(move, least, limits.signs)
            found[TREND] = trend
            broader = state.steps[s].mean() * wider - usual
            counts = drifts or (
                not alone(x, state.recent[s], state.steps[s], normal.crowd[s])
                and (
                    passes(r, floor, limits.signs)
                    or passes(level_mean, floor, limits.signs)
                    or (found[SPREAD] > normal.edge[s] and passes(broader, floor, limits.signs))
                )
            )
            edge2 = normal.edge[s] * normal.edge[s]
            power = combined(found, weights, CHANNELS) / edge2
            outside = beyond(x, far_edges)
            far = max(outside, stuck)
            value = max(math.sqrt(power + trend * trend), far)
            if shaped:
                value = smoothed(value, normal.newest[s], state.scores[s])
            if not counts:
                value = min(value, CAPPED)

            # Calm: well inside the band, and not on a line that has gone flat. After five such
            # steps the mean of five is calm as well.
            inside = -below <= r <= above
            well = -LEAVE * below <= r <= LEAVE * above
            narrow = magnitudes[SPREAD] < 0.0 and found[SPREAD] > normal.edge[s]
            flat = (still and narrow) or stuck >= 1.0
            rest = not flat and trend < LEAVE
            # A shift whose samples lie inside the band goes on where its last hour leans to.
            lately = state.recent[s].mean()
            leans = lasting > normal.edge[s] and z * lately > STAYS * lately * lately
            calm = rest and ((well and not leans) or not counts)
            loud = not (rest and (inside or not counts))
            # Windows that still hold the last incident have no say on the next.
            short = flags[2] >= max(width, SPREAD_STEPS)
            fresh = combined(found, weights, SHAPE if short else TREND)
            news = (fresh > edge2 and not inside) or trend > 1.0 or far > 1.0
            open_before = flags[0] == EPISODE
            value = follow(value, calm, loud, news, memory, flags)
            if open_before and flags[0] != EPISODE:
                # The next line that stands still, or leans, is another one.
                state.run[s] = 0
                state.lean[s] = 0.0
            score[s, t] = value
            if flags[0] == EPISODE:
                anomalous[s, t] = 1
                said = SPREAD if stuck > outside else SPIKE
                share(found, weights, trend, far, said, normal.edge[s], evidence[s, t])
            if taking[t]:
                if taught[s, t]:
                    collect(x, x - season, state.hour[s], state.filled[s])
                if ends[t]:
                    renew(state, s)
