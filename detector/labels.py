"""The labels of a series: from a query's result, and under which its scores are written."""

from __future__ import annotations

from collections.abc import Mapping

from detector import names
from detector.series import Labels


def label_set(mapping: Mapping[str, str]) -> Labels:
    """Return `mapping` as a canonical label set: sorted, without empty values."""
    return tuple(sorted((k, v) for k, v in mapping.items() if v != ""))


def result_labels(result: Mapping[str, str], rule: Labels) -> Labels:
    """Return a query result's labels as Prometheus would record them under a rule.

    The rule's labels win; the metric name and the `anomaly_*` markers are not part of the
    identity of a series. A label named like one of ours has its name in the output already:
    series that would be written alike are one series.

    Examples
    --------
    >>> result_labels({"job": "a", "team": "x"}, (("anomaly_name", "rps"), ("team", "y")))
    (('job', 'a'), ('team', 'y'))
    """
    merged = {**result, **dict(rule)}
    own = label_set(
        {
            k: v
            for k, v in merged.items()
            if k != "__name__" and not k.startswith(names.RULE_LABEL_PREFIX)
        }
    )
    return label_set(_without_reserved(own))


def output_labels(labels: Labels, signal: str, kind: str) -> dict[str, str]:
    """Return the labels under which a series' scores are written.

    A source label named like one of ours is kept under ``exported_<name>``, repeated until
    the name is free; an absent `job` or `instance` is written empty.

    Examples
    --------
    >>> output_labels((("kind", "x"), ("exported_kind", "y")), "rps", "traffic")["exported_kind"]
    'y'
    >>> output_labels((("kind", "x"),), "rps", "traffic")["exported_kind"]
    'x'
    """
    out = _without_reserved(labels)
    for name in names.IDENTITY_LABELS:
        out.setdefault(name, "")
    out[names.SIGNAL] = signal
    out[names.KIND] = kind
    return out


def _without_reserved(labels: Labels) -> dict[str, str]:
    own = dict(labels)
    out = {k: v for k, v in own.items() if k not in names.RESERVED_LABELS}
    for name in sorted(names.RESERVED_LABELS & own.keys()):
        free = names.EXPORTED_PREFIX + name
        while free in out:
            free = names.EXPORTED_PREFIX + free
        out[free] = own[name]
    return out
