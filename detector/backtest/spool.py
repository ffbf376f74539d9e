"""Sets the samples of a signal aside as they are read, and gives some series of them back."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detector.errors import ConfigError
from detector.series import Bool, Int, Labels, SeriesMatrix

# So much stays in memory; beyond it a file without a name takes all, and goes with the process.
IN_MEMORY = 64 << 20
VALUE_BYTES = 8


@dataclass(frozen=True)
class _Chunk:
    """A matrix in the file: values row by row from `offset` on, then where they are absent."""

    rows: dict[Labels, int]
    times: Int
    offset: int


class Spool:
    """Samples of one signal, on one grid or several, in the order in which they were read.

    Parameters
    ----------
    folder : Path, optional
        Where the file is; the system's folder for temporary files (TMPDIR) without it.

    Attributes
    ----------
    born : dict from Labels to int
        Time of each series' first own sample.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        where = None if folder is None else str(folder)
        # Open for as long as the samples are wanted.
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=where)  # noqa: SIM115
        self._grids: list[tuple[int, list[_Chunk]]] = []
        self._end = 0
        self.born: dict[Labels, int] = {}

    @property
    def labels(self) -> tuple[Labels, ...]:
        """All series, sorted."""
        return tuple(
            sorted({key for _, chunks in self._grids for one in chunks for key in one.rows})
        )

    @property
    def grids(self) -> int:
        """How many grids there are."""
        return len(self._grids)

    def begin(self, step: int) -> None:
        """Begin another grid: what is added from now on is on it."""
        self._grids.append((step, []))

    def add(self, matrix: SeriesMatrix) -> None:
        """Set a matrix aside, whose times follow those before on the same grid.

        Raises
        ------
        ConfigError
            When there is no room for it.
        """
        rows = {key: s for s, key in enumerate(matrix.labels)}
        self._grids[-1][1].append(_Chunk(rows, matrix.times, self._end))
        there: Bool = ~matrix.absent
        first = matrix.times[there.argmax(axis=1)] if len(matrix.times) else there
        for s in np.flatnonzero(there.any(axis=1)):
            self.born.setdefault(matrix.labels[s], int(first[s]))
        try:
            self._file.seek(self._end)
            self._file.write(np.ascontiguousarray(matrix.values, np.float64).tobytes())
            self._file.write(np.ascontiguousarray(matrix.absent).tobytes())
        except OSError as error:
            folder = self._folder or tempfile.gettempdir()
            raise ConfigError(
                f"{folder}: samples cannot be set aside: {error.strerror}; make room, or set "
                "TMPDIR or --cache to a folder that has some"
            ) from None
        self._end += matrix.values.size * (VALUE_BYTES + 1)

    def some(self, grid: int, labels: Sequence[Labels]) -> Bool:
        """Return at which times of a grid any of these series has a sample, bool[T]."""
        found = []
        for one in self._grids[grid][1]:
            some = np.zeros(len(one.times), bool)
            for key in labels:
                if key in one.rows:
                    some |= ~self._absent(one, one.rows[key])
            found.append(some)
        return np.concatenate(found)

    def part(self, grid: int, labels: Sequence[Labels]) -> SeriesMatrix:
        """Return some series at all times of a grid."""
        step, chunks = self._grids[grid]
        times = np.concatenate([one.times for one in chunks])
        values = np.full((len(labels), len(times)), np.nan)
        absent = np.ones(values.shape, bool)
        a = 0
        for one in chunks:
            count = len(one.times)
            for s, key in enumerate(labels):
                row = one.rows.get(key)
                if row is None:
                    continue
                at = one.offset + row * count * VALUE_BYTES
                values[s, a : a + count] = np.frombuffer(self._read(at, count * VALUE_BYTES))
                absent[s, a : a + count] = self._absent(one, row)
            a += count
        return SeriesMatrix(tuple(labels), times, values, absent, step)

    def close(self) -> None:
        """Let the samples go."""
        self._file.close()

    def _absent(self, chunk: _Chunk, row: int) -> Bool:
        count = len(chunk.times)
        at = chunk.offset + len(chunk.rows) * count * VALUE_BYTES + row * count
        return np.frombuffer(self._read(at, count), bool)

    def _read(self, offset: int, count: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(count)
