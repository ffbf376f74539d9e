"""What `detector check` finds about groups: whether their members share the `by` labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from detector.finding import Finding
from detector.groups import key_of
from detector.series import Group, Labels, SeriesMatrix


def check_groups(groups: Iterable[Group], newest: Mapping[str, SeriesMatrix]) -> list[Finding]:
    """Look for what keeps a group from having joint series.

    Parameters
    ----------
    groups : iterable of Group
    newest : mapping from str to SeriesMatrix
        [S, 1] the newest step of each signal by name; members without series are not looked at.

    Returns
    -------
    list of Finding
        Warnings for labels that no series has, for each member without them, and where no two
        members meet; else one with the number of joint series.
    """
    findings: list[Finding] = []
    for group in groups:
        series = {m: newest[m].labels for m in group.signals if m in newest and newest[m].labels}
        said = _without_labels(group, series) if series else []
        members = Counter(
            key for labels in series.values() for key in {key_of(one, group.by) for one in labels}
        )
        joint = sum(count > 1 for key, count in members.items() if key is not None)
        if not joint and not said and len(series) > 1:
            said = [
                f"no two of its signals have series with the same {' and '.join(group.by)}, so it "
                "has no joint series; give by: labels whose values they share"
            ]
        subject = f"group {group.name}"
        findings += [Finding("warning", subject, text) for text in said]
        if not said:
            findings.append(Finding("ok", subject, f"{group.model}, {joint} joint series"))
    return findings


def _without_labels(group: Group, series: Mapping[str, tuple[Labels, ...]]) -> list[str]:
    known = {m: {name for one in labels for name, _ in one} for m, labels in series.items()}
    common = ", ".join(sorted(set.intersection(*known.values()))) or "none"
    said = []
    for name in group.by:
        lacking = [member for member in known if name not in known[member]]
        if len(lacking) == len(known):
            said.append(
                f"by: {name}: no series of its signals has this label, so it has no joint series; "
                f"labels they share: {common}"
            )
        elif lacking:
            said.append(
                f"by: {name}: no series of {', '.join(lacking)} has this label, so it has no say; "
                f"labels all signals share: {common}"
            )
    return said
