"""Made inputs of the whole-cost run: any minute of any series, always the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MINUTE, HOUR, DAY = 60, 3600, 86_400
# Share of the series that pass the adaptive strategy's filter for large deviations.
BURSTY = 0.2
# The series are spread over this many signals.
SIGNALS = 4


@dataclass
class Inputs:
    """Made requests a second.

    Day and week season with 8 % noise; the first `bursty` series are log-normal instead.
    """

    series: int

    def __post_init__(self) -> None:
        self.bursty = round(BURSTY * self.series)
        self._phases = np.random.default_rng(0).random((self.series, 1))
        self._scale = 100 * 10 ** np.random.default_rng(1).random((self.series, 1))

    def labels(self, name: str, i: int) -> dict[str, str]:
        """Return the labels of a series of one metric."""
        return {
            "__name__": name,
            "anomaly_name": f"bench_{i % SIGNALS}",
            "anomaly_type": "requests",
            "job": "bench",
            "instance": f"10.0.{i // 250}.{i % 250}:8080",
        }

    def values(self, times: np.ndarray) -> np.ndarray:
        """Return [S, T] for minutes that follow on each other."""
        hours = np.arange(times[0] // HOUR, times[-1] // HOUR + 1)
        noise = np.concatenate([self._noise(int(hour)) for hour in hours], axis=1)
        first = (times[0] - hours[0] * HOUR) // MINUTE
        noise = noise[:, first : first + len(times)]
        day = 1 + 0.5 * np.sin(2 * np.pi * (times % DAY / DAY + self._phases))
        week = np.where(times // DAY % 7 < 2, 0.7, 1.0)
        calm = self._scale * day * week * (1 + 0.08 * noise)
        calm[: self.bursty] = self._scale[: self.bursty] * np.exp(0.83 * noise[: self.bursty])
        return np.maximum(calm, 0.01)

    def _noise(self, hour: int) -> np.ndarray:
        return np.random.default_rng([2, hour]).standard_normal((self.series, HOUR // MINUTE))
