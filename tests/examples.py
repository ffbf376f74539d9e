"""How many examples Hypothesis tries: few in the suite, 2,000 with HYPOTHESIS_PROFILE=thorough."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


def examples(few: int, many: int = 2000) -> settings:
    """Return settings for one test; no deadline, since the first example compiles."""
    return settings(
        max_examples=many if THOROUGH else few,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
