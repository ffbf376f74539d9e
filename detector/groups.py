"""The joint judgement of a group's signals: their deviations by shared labels, its fold, its state.

Pure: who reads samples and when is the business of `group_runner`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from detector import names
from detector.episodes import LEAVE
from detector.kernels import NARROWEST, WIDEST
from detector.models import forest
from detector.models.baseline import Baseline
from detector.policy import Policy
from detector.series import Float, Group, Int, Labels, Scores


@dataclass(frozen=True)
class Unit:
    """The scale of one series: at the pivot of its growth, see `Baseline`."""

    scale: float
    exponent: float
    pivot: float


@dataclass
class Joint:
    """What is known of one joint series.

    Parameters
    ----------
    trees : Forest, optional
        None while there is too little history.
    recent : float64[M, R]
        The last deviations, so many that the next step can be scored.
    open : bool
        Whether an episode is in course.
    """

    trees: forest.Forest | None
    recent: Float
    open: bool = False


@dataclass(frozen=True)
class GroupFit:
    """A group since its last boundary.

    Parameters
    ----------
    group : Group
    every : int
        Steps per cell of the profile grid.
    units : mapping from (member, Labels) to Unit
    joint : dict from Labels to Joint
        By the values of the group's `by` labels.
    """

    group: Group
    every: int
    units: Mapping[tuple[str, Labels], Unit]
    joint: dict[Labels, Joint] = field(default_factory=dict)


def key_of(labels: Labels, by: tuple[str, ...]) -> Labels | None:
    """Return the values of the `by` labels; None where a series has not all of them."""
    key = tuple(pair for pair in labels if pair[0] in by)
    return key if len(key) == len(by) else None


def fit(
    group: Group,
    every: int,
    histories: Mapping[str, Float],
    baselines: Mapping[str, Baseline],
    policies: Mapping[str, Policy],
    before: GroupFit | None = None,
) -> GroupFit:
    """Learn how far the members are usually off together.

    Parameters
    ----------
    group : Group
    every : int
        Steps per cell of the profile grid.
    histories : mapping from member to float64[S, T]
        On one grid; NaN is not to be learnt from. Members without any series may be missing.
    baselines : mapping from member to Baseline
        Fitted to these histories.
    policies : mapping from member to Policy
        The direction of a member says which of its deviations count.
    before : GroupFit, optional
        The last fit; its episodes go on.
    """
    units: dict[tuple[str, Labels], Unit] = {}
    rows: list[tuple[int, Labels, Float]] = []
    for m, member in enumerate(group.signals):
        if member not in baselines:
            continue
        base = baselines[member]
        for s in np.flatnonzero(base.ready):
            unit = Unit(float(base.scale[s]), *map(float, base.growth[s]))
            units[member, base.labels[s]] = unit
            z = _deviations(
                histories[member][s], base.expected[s], unit, policies[member].direction
            )
            rows.append((m, base.labels[s], z))
    found = GroupFit(group, every, units)
    for key, z in _joined(group, rows).items():
        if np.isfinite(z).any(axis=1).sum() < 2:
            # There is nothing to be off together with, however long one waits.
            continue
        day = 86_400 // next(iter(baselines.values())).profile
        known = None if before is None else before.joint.get(key)
        empty = np.full((len(group.signals), forest.LEAD * every), np.nan)
        found.joint[key] = Joint(
            forest.fit(z, day),
            empty if known is None else known.recent,
            known is not None and known.open,
        )
    return found


def advance(
    fitted: GroupFit, times: Int, newest: Mapping[str, Scores], policies: Mapping[str, Policy]
) -> Scores:
    """Judge the next steps from the scores of the members.

    Parameters
    ----------
    fitted : GroupFit
        Its `joint` is advanced in place.
    times : int64[T]
        The steps, which follow those judged before.
    newest : mapping from member to Scores
        Steps that a member has no score for are no information.
    policies : mapping from member to Policy

    Returns
    -------
    Scores
        Rows by the `by` labels, without observed and expected value and without band; evidence is
        [S, T, M], by member.
    """
    group = fitted.group
    rows: list[tuple[int, Labels, Float]] = []
    for m, member in enumerate(group.signals):
        if member not in newest:
            continue
        scores = newest[member]
        common, to, at = np.intersect1d(times, scores.times, return_indices=True)
        for s, key in enumerate(scores.labels):
            if (member, key) not in fitted.units or not len(common):
                continue
            z = np.full(len(times), np.nan)
            seen = scores.state[s, at]
            said = (seen == names.State.OK) | (seen == names.State.ANOMALOUS)
            off = _deviations(
                scores.observed[s, at],
                scores.expected[s, at],
                fitted.units[member, key],
                policies[member].direction,
            )
            z[to] = np.where(said, off, np.nan)
            rows.append((m, key, z))
    judged = {
        key: _judged(fitted, key, z)
        for key, z in sorted(_joined(group, rows).items())
        if key in fitted.joint
    }
    return _scores(tuple(judged), times, list(judged.values()), len(group.signals))


def _deviations(observed: Float, expected: Float, unit: Unit, direction: str) -> Float:
    """Return deviations in scales; those on the side that does not count are none."""
    wider = np.clip(expected / unit.pivot, NARROWEST, WIDEST) ** unit.exponent
    z = np.clip((observed - expected) / (unit.scale * wider), -forest.Z_LIMIT, forest.Z_LIMIT)
    if direction == "up":
        z = np.maximum(z, 0.0)
    elif direction == "down":
        z = np.minimum(z, 0.0)
    result: Float = z
    return result


def _joined(group: Group, rows: Iterable[tuple[int, Labels, Float]]) -> dict[Labels, Float]:
    """Return deviations [M, T] by joint series; of several series of a member the one furthest
    off counts."""
    found: dict[Labels, Float] = {}
    for m, labels, z in rows:
        key = key_of(labels, group.by)
        if key is None:
            continue
        joint = found.setdefault(key, np.full((len(group.signals), len(z)), np.nan))
        further = np.isnan(joint[m]) | (np.abs(z) > np.abs(joint[m]))
        joint[m, further] = z[further]
    return found


def _judged(fitted: GroupFit, key: Labels, z: Float) -> tuple[Float, Float, Int]:
    """Return score [T], evidence [M, T] and state [T]; the joint series is advanced."""
    joint, every = fitted.joint[key], fitted.every
    steps = z.shape[1]
    known = np.concatenate([joint.recent, z], axis=1)
    joint.recent = known[:, steps:]
    score, evidence = np.full(steps, np.nan), np.full(z.shape, np.nan)
    if joint.trees is not None:
        # Steps a cell apart, so that a window holds what it held in the past.
        for phase in range(min(every, steps)):
            score[phase::every], evidence[:, phase::every] = joint.trees.score(
                known[:, phase::every]
            )
    state = np.empty(steps, np.int64)
    for t in range(steps):
        if joint.trees is None:
            state[t] = names.State.WARMING_UP
        elif np.isnan(score[t]):
            state[t] = names.State.NO_DATA
        else:
            joint.open = score[t] > 1.0 or (joint.open and score[t] >= LEAVE)
            state[t] = names.State.ANOMALOUS if joint.open else names.State.OK
    return score, evidence, state


def _scores(
    labels: tuple[Labels, ...],
    times: Int,
    judged: list[tuple[Float, Float, Int]],
    members: int,
) -> Scores:
    shape = (len(labels), len(times))
    score, evidence = np.full(shape, np.nan), np.full((*shape, members), np.nan)
    state = np.zeros(shape, np.int8)
    for s, (row, shares, states) in enumerate(judged):
        score[s], state[s] = row, states
        told = np.where(np.isnan(shares).any(axis=0), 1.0 / members, shares)
        evidence[s] = np.where(states == names.State.ANOMALOUS, told, np.nan).T
    nothing = np.full(shape, np.nan)
    return Scores(labels, times, nothing, nothing, nothing, nothing, score, evidence, state)
