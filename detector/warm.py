"""Compiles the kernels once per machine, so that no cycle has to: ``python -m detector.warm``."""

from __future__ import annotations

import numpy as np

from detector.census import Census
from detector.pipeline import replay
from detector.schedule import Schedule
from detector.series import SeriesMatrix, Signal

STEP, PROFILE = 60, 300
DAYS = 3


def warm() -> None:
    """Fit and score a made series; whatever has been compiled before is only loaded."""
    times = np.arange(0, DAYS * 86_400, STEP)
    values = np.sin(times / 10_000.0)[None]
    samples = SeriesMatrix(((),), times, values, np.zeros(values.shape, bool), STEP)
    grid = Schedule(STEP, PROFILE, 7 * 86_400, 86_400)
    for _ in replay(
        Signal("warm", "other", ()), grid, samples, DAYS * 86_400 - 3600, DAYS * 86_400
    ):
        pass
    Census(samples.every(PROFILE), DAYS * 86_400, "")


if __name__ == "__main__":
    warm()
