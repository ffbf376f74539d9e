"""Samples set aside on disk come back as they were; a full disk is one clear line."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from detector.backtest import spool as spool_module
from detector.backtest.spool import Spool
from detector.errors import ConfigError
from detector.labels import label_set
from detector.series import Labels, SeriesMatrix

KEYS = tuple(label_set({"job": name}) for name in "abcd")


def chunk(labels: tuple[Labels, ...], first: int, count: int, step: int) -> SeriesMatrix:
    rng = np.random.default_rng(first)
    absent = rng.random((len(labels), count)) < 0.2
    values = np.where(absent | (rng.random(absent.shape) < 0.1), np.nan, rng.random(absent.shape))
    return SeriesMatrix(labels, first + step * np.arange(count), values, absent, step)


@pytest.mark.parametrize("in_memory", [1 << 20, 1])
def test_series_come_back_as_they_were(in_memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "IN_MEMORY", in_memory)
    # Series come and go from chunk to chunk; one grid follows another.
    grids = [
        [chunk(KEYS[:2], 0, 7, 300), chunk((KEYS[0], KEYS[2]), 2100, 5, 300)],
        [chunk(KEYS[1:3], 3600, 9, 60), chunk((), 4140, 3, 60), chunk(KEYS, 4320, 4, 60)],
    ]
    spool = Spool()
    for parts in grids:
        spool.begin(parts[0].step)
        for part in parts:
            spool.add(part)
    assert spool.labels == KEYS
    for number, parts in enumerate(grids):
        for labels in (KEYS, KEYS[1:3], ()):
            wanted = [part.aligned(labels) for part in parts]
            found = spool.part(number, labels)
            assert found.labels == labels
            assert found.step == parts[0].step
            np.testing.assert_array_equal(found.times, np.concatenate([m.times for m in wanted]))
            for name in ("values", "absent"):
                whole = np.concatenate([getattr(m, name) for m in wanted], axis=1)
                np.testing.assert_array_equal(getattr(found, name), whole)
        for labels in (KEYS, KEYS[1:3], ()):
            some = ~np.concatenate([part.aligned(labels).absent for part in parts], axis=1)
            np.testing.assert_array_equal(spool.some(number, labels), some.any(axis=0))
    for key in KEYS:
        own = [spool.part(number, (key,)) for number in range(spool.grids)]
        stamps = np.concatenate([one.times[~one.absent[0]] for one in own])
        assert spool.born[key] == stamps[0]
    spool.close()


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow beyond 4 KiB, as a full disk would; pytest's own report is a file too."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "IN_MEMORY", 1)
    spool = Spool(tmp_path)
    spool.begin(60)
    refused = pytest.raises(ConfigError, match="cannot be set aside.*TMPDIR or --cache")
    with full_disk(), refused:
        spool.add(chunk(KEYS, 0, 1000, 60))
    spool.close()
