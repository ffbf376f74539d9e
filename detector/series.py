"""The data every layer shares: labels, a signal, its samples on a grid, and the scores of a run.

Letters: S series, T times.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from detector import names
from detector.policy import Policy

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Labels = tuple[tuple[str, str], ...]

Bool = npt.NDArray[np.bool_]
Model = Literal["seasonal", "zscore", "stl", "auto"]


@dataclass(frozen=True)
class Span:
    """The times from `start` up to, but not including, `end`; unix seconds."""

    start: int
    end: int


@dataclass(frozen=True)
class Weekly:
    """A time of the day on some days of the week.

    Parameters
    ----------
    days : frozenset of int
        Days on which it begins, 0 is Monday.
    start, end : int
        Seconds since midnight; `end` is not included. With ``end <= start`` it ends the next day.
    timezone : str
        IANA name of the zone whose clock and calendar count; empty for UTC.
    """

    days: frozenset[int]
    start: int
    end: int
    timezone: str = ""


@dataclass(frozen=True)
class Condition:
    """When samples of a signal are set apart, and what that means for them.

    Parameters
    ----------
    setting : str
        The key it comes from, for messages (``when``, ``masks.train.0``).
    bits : names.Mask
        Not learnt from, not alerted on, or both.
    test : str or Span or Weekly
        A PromQL expression, true for the series whose labels agree with those of a result
        (see `masks.masked`); or a range of time, true for all series.
    gate : bool
        The samples are set apart where the test is *not* true.
    match : Labels
        Only series that have these labels; all when empty.
    """

    setting: str
    bits: names.Mask
    test: str | Span | Weekly
    gate: bool = False
    match: Labels = ()


@dataclass(frozen=True)
class Signal:
    """One named set of PromQL expressions whose series are scored alike.

    Parameters
    ----------
    name, kind : str
        Name and canonical kind (see `names.KINDS`).
    queries : tuple of (str, Labels)
        Expressions with the labels their rule adds; several rules of one name are a union.
    policy : Policy
        Direction, floors, limits and what absence means.
    source : str
        Where it was defined, for messages (``rules`` or ``detector.yml``).
    model : {"seasonal", "zscore", "stl", "auto"}
        What learns the expected value.
    conditions : tuple of Condition
        Its gate, and the masks that apply to it.
    """

    name: str
    kind: str
    queries: tuple[tuple[str, Labels], ...]
    policy: Policy = field(default_factory=Policy)
    source: str = "detector.yml"
    model: Model = "seasonal"
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Group:
    """Signals that are judged together: one joint score for each set of labels they share.

    Parameters
    ----------
    name : str
        Name under which the joint score is written; no signal has it.
    model : str
        What judges them; only ``forest``.
    signals : tuple of str
        Names of the members, at least two.
    by : tuple of str
        Labels that tell one joint series from another; empty for one over everything.
    """

    name: str
    model: str
    signals: tuple[str, ...]
    by: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeriesMatrix:
    """S series on one regular grid of T times.

    Parameters
    ----------
    labels : tuple of Labels
        S label sets, sorted by name, unique (see `check_unique`).
    times : int64[T]
        Unix seconds, ascending; multiples of `step` apart.
    values : float64[S, T]
        NaN where there is no sample or the sample says nothing. An infinite one is taken for NaN
        where samples come in (see `bounded`).
    absent : bool[S, T]
        True where the source had no sample at all (a NaN sample is present but says nothing).
    step : int
        Seconds between times.
    mask : uint8[S, T], optional
        Bits of `names.Mask`: samples not to be learnt from, not to be alerted on.

    Raises
    ------
    ValueError
        When shapes do not fit or times are no ascending integers.
    """

    labels: tuple[Labels, ...]
    times: Int
    values: Float
    absent: Bool
    step: int
    mask: npt.NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.labels), len(self.times))
        if self.values.shape != shape or self.absent.shape != shape:
            raise ValueError(f"values {self.values.shape} do not fit labels x times {shape}")
        if self.mask is not None and self.mask.shape != shape:
            raise ValueError(f"mask {self.mask.shape} does not fit labels x times {shape}")
        ordered = len(self.times) < 2 or (self.times[1:] > self.times[:-1]).all()
        if self.times.dtype.kind != "i" or not ordered:
            raise ValueError("times must be integers, unix seconds, ascending and each once")

    def check_unique(self) -> None:
        """Check the labels; apart, since it takes longer than the rest of a matrix.

        Raises
        ------
        ValueError
            When two rows have the same labels.
        """
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("two rows have the same labels; each series may be given once")

    def bounded(self, largest: float = sys.float_info.max) -> SeriesMatrix:
        """Return the samples with NaN for those farther from zero than `largest`, and infinite
        ones; the same matrix where there are none."""
        # Reductions need no copy of the samples, which may be most of the memory in use.
        low = np.fmin.reduce(self.values, None, initial=0.0)
        high = np.fmax.reduce(self.values, None, initial=0.0)
        if low >= -largest and high <= largest:
            return self
        return replace(self, values=np.where(np.abs(self.values) <= largest, self.values, np.nan))

    def marked(self, bit: int) -> Bool:
        """Return where a bit of `mask` is set, bool[S, T]."""
        if self.mask is None:
            return np.zeros(self.values.shape, bool)
        marked: npt.NDArray[np.bool_] = (self.mask & bit) != 0
        return marked

    def between(self, start: int, end: int) -> SeriesMatrix:
        """Return the columns with ``start <= time < end`` (a view)."""
        a, b = np.searchsorted(self.times, [start, end])
        return replace(
            self,
            times=self.times[a:b],
            values=self.values[:, a:b],
            absent=self.absent[:, a:b],
            mask=None if self.mask is None else self.mask[:, a:b],
        )

    def every(self, step: int) -> SeriesMatrix:
        """Return the columns whose time is a multiple of `step`, as a coarser grid."""
        keep = self.times % step == 0
        return replace(
            self,
            times=self.times[keep],
            values=self.values[:, keep],
            absent=self.absent[:, keep],
            step=step,
            mask=None if self.mask is None else self.mask[:, keep],
        )

    def aligned(self, labels: tuple[Labels, ...]) -> SeriesMatrix:
        """Return the same times with rows for exactly `labels`; new rows are absent.

        It is the same matrix, not a copy, when it has these rows already.
        """
        if labels == self.labels:
            return self
        row = {key: i for i, key in enumerate(self.labels)}
        if len(row) < len(self.labels):
            self.check_unique()
        values = np.full((len(labels), len(self.times)), np.nan)
        absent = np.ones(values.shape, bool)
        mask = None if self.mask is None else np.zeros(values.shape, np.uint8)
        for i, key in enumerate(labels):
            if key in row:
                values[i] = self.values[row[key]]
                absent[i] = self.absent[row[key]]
                if mask is not None and self.mask is not None:
                    mask[i] = self.mask[row[key]]
        return replace(self, labels=labels, values=values, absent=absent, mask=mask)


def empty_matrix(step: int) -> SeriesMatrix:
    """Return a matrix with no series and no times."""
    return SeriesMatrix((), np.empty(0, np.int64), np.empty((0, 0)), np.empty((0, 0), bool), step)


@dataclass(frozen=True)
class Scores:
    """The result of scoring S series at T times; all arrays are [S, T] unless said.

    `score`, `expected`, `lower` and `upper` are NaN where there is nothing to say;
    `evidence` is [S, T, C] with C = `names.CHANNELS`, shares that sum to one where state is 1
    and NaN elsewhere; `state` holds `names.State` values.
    """

    labels: tuple[Labels, ...]
    times: Int
    observed: Float
    expected: Float
    lower: Float
    upper: Float
    score: Float
    evidence: Float
    state: npt.NDArray[np.int8]
