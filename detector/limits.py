"""Samples outside the limits of their signal, and where those limits were set."""

from __future__ import annotations

import numpy as np

from detector.policy import Policy
from detector.series import Bool, Float, Signal
from detector.settings import RATIO_SUFFIX, Settings, known_kind

# A share that is computed may pass 1 by what the division rounds.
ROUNDING = 1e-9


def outside(values: Float, policy: Policy) -> Bool:
    """Return where samples lie outside the limits by more than rounding; NaN does not.

    Parameters
    ----------
    values : float64[...]
    policy : Policy

    Returns
    -------
    bool[...]
    """
    low = policy.lower - ROUNDING * max(1.0, abs(policy.lower))
    high = policy.upper + ROUNDING * max(1.0, abs(policy.upper))
    found: Bool = (values < low) | (values > high)
    return found


def described(signal: Signal, settings: Settings) -> str:
    """Return the limits of a signal, where they come from, and how to change them."""
    policy = signal.policy
    low, high = (f"{x:g}" if np.isfinite(x) else "null" for x in (policy.lower, policy.upper))
    place, key = _origin(signal, settings)
    return (
        f"its limits [{low}, {high}] ({place}); nothing beyond them is ever expected, so such "
        f"samples may alert all the time: set {key} to what is possible, [lower, upper], null for "
        "none"
    )


def _origin(signal: Signal, settings: Settings) -> tuple[str, str]:
    """Return what set the limits, and the key that overrides it; as `settings.policy_of` does."""
    own = next((s for s in settings.signals if s.name == signal.name), None)
    if own is not None and own.limits is not None:
        return "its own", f"limits of the signal {signal.name}"
    named = settings.policies.get(signal.name)
    key = f"policies.{signal.name}.limits"
    if named is not None and named.limits is not None:
        return f"from {key}", key
    for word, policy in settings.policies.items():
        if known_kind(word) == signal.kind and policy.limits is not None:
            return f"from policies.{word}.limits", key
    if signal.name.endswith(RATIO_SUFFIX):
        return f"its name ends in {RATIO_SUFFIX}: a share of one", key
    return f"those of its kind, {signal.kind}", key
