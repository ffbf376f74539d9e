"""Turns absence into zero where what a series is about was there to be counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from detector.names import IDENTITY_LABELS
from detector.series import Bool, Labels, SeriesMatrix

# What `up` says of a target at each time: 1 up, 0 down, UNKNOWN where it has no sample.
Presence = Mapping[Labels, npt.NDArray[np.int8]]
UNKNOWN = -1


def fill_zero(
    samples: SeriesMatrix,
    presence: Presence,
    siblings: Callable[[Labels], Bool] | None = None,
) -> SeriesMatrix:
    """Turn absence into zero where the target was up, or where only siblings can tell, they were.

    The targets of a series are those with its job and instance, as far as it has these labels.
    At a time when `up` knows one of them, it decides; else the other series with the same job and
    instance do, all series for one without either. So nothing is invented before a target was
    first seen, while it is down, or once it is gone, and each time is decided by itself: a window
    has the zeros that a longer one has there.

    Parameters
    ----------
    samples : SeriesMatrix
        [S, T] samples of a signal whose policy is ``missing="zero"``.
    presence : mapping from Labels to int8[T]
        What `up` says of each target, keyed by its (instance, job) labels.
    siblings : callable, optional
        Returns where any series of the signal that has these labels has a sample, bool[T]; needed
        when `samples` are not all of them.

    Returns
    -------
    SeriesMatrix
        A sample that is present but NaN stays NaN: a ratio of nothing to nothing is no zero.
    """
    siblings = siblings or _siblings_in(samples)
    targets, states = bearers(tuple(presence)), list(presence.values())
    known: dict[Labels, Bool] = {}
    values, absent = samples.values.copy(), samples.absent.copy()
    for s, key in enumerate(samples.labels):
        identity = identity_of(key)
        if identity not in known:
            up = np.full(len(samples.times), UNKNOWN, np.int8)
            # Of several, one that is up is enough, and one that is known to be down says so.
            for r in targets(identity) if identity else ():
                np.maximum(up, states[r], out=up)
            untold = up == UNKNOWN
            known[identity] = (up == 1) | (untold & siblings(identity) if untold.any() else False)
        fill = samples.absent[s] & known[identity]
        values[s, fill] = 0.0
        absent[s, fill] = False
    return replace(samples, values=values, absent=absent)


def up_or_down(up: SeriesMatrix) -> dict[Labels, npt.NDArray[np.int8]]:
    """Return the samples of `up`, a row for each target, as `fill_zero` takes them."""
    states = np.where(up.absent, np.int8(UNKNOWN), (up.values == 1).astype(np.int8))
    return dict(zip(up.labels, states, strict=True))


def identity_of(key: Labels) -> Labels:
    """Return the labels of a series that name its target.

    Examples
    --------
    >>> identity_of((("code", "500"), ("job", "web")))
    (('job', 'web'),)
    """
    return tuple(pair for pair in key if pair[0] in IDENTITY_LABELS)


def bearers(labels: Sequence[Labels]) -> Callable[[Labels], Sequence[int]]:
    """Return a function that finds the label sets which contain all labels of an identity.

    Each combination of names is looked through once: O(S) for all identities of it together.
    """
    tables: dict[tuple[str, ...], dict[Labels, list[int]]] = {}

    def find(identity: Labels) -> Sequence[int]:
        asked = tuple(name for name, _ in identity)
        if asked not in tables:
            table = tables[asked] = {}
            for s, key in enumerate(labels):
                own = tuple(pair for pair in key if pair[0] in asked)
                if len(own) == len(asked):
                    table.setdefault(own, []).append(s)
        return tables[asked].get(identity, ())

    return find


def _siblings_in(samples: SeriesMatrix) -> Callable[[Labels], Bool]:
    alike = bearers(samples.labels)

    def there(identity: Labels) -> Bool:
        some: Bool = np.any(~samples.absent[list(alike(identity))], axis=0)
        return some

    return there
