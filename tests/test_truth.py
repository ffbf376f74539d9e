"""Incidents from files, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.backtest.truth import Incident, inside, read_incidents
from detector.errors import ConfigError


def read(tmp_path: Path, text: str, name: str = "i.yml") -> list[Incident]:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_incidents(path)


def test_yaml(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "incidents:\n"
        "- {start: 2025-10-06T00:00:00Z, end: '2025-10-06T02:30:00+02:00', signal: rps}\n"
        "- {start: 2025-10-06, end: 1759708860, labels: {job: a}, note: disk full}\n",
    )
    assert found == [
        Incident(1759708800, 1759710600, "rps"),
        Incident(1759708800, 1759708860, "", (("job", "a"),), "disk full"),
    ]
    assert read(tmp_path, "") == []


def test_csv(tmp_path: Path) -> None:
    text = 'start,end,signal,labels,note\n100,200,rps,"job=a,instance=b",x\n300,400,,,\n'
    assert read(tmp_path, text, "i.csv") == [
        Incident(100, 200, "rps", (("instance", "b"), ("job", "a")), "x"),
        Incident(300, 400),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- {start: 1}", "incident 1: must have start and end"),
        ("- {start: 1, end: 2}\n- {start: 2, end: 1}", "incident 2: end must be after start"),
        ("- {start: soon, end: 2}", "'soon' is no time"),
        ("- {start: 1, end: 1700000000000}", "not milliseconds"),
        ("- {start: 1, end: 2, until: 3}", "unknown 'until'"),
        ("- {start: 1, end: 2, labels: job}", "write job=a,instance=b"),
        ("- {start: 1, end: 2, labels: [a]}", "names and values"),
        ("- [1, 2]", "must have start and end"),
        ("start: 1", "must be a list"),
        ("- {start: [", "no list of incidents"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_incidents(tmp_path / "none.yml")


def test_whom_an_incident_concerns() -> None:
    job = Incident(0, 1, "", (("job", "a"), ("team", "x")))
    assert job.concerns("rps", (("instance", "i"), ("job", "a")))
    assert not job.concerns("rps", (("job", "b"),))
    assert not Incident(0, 1, "rps").concerns("latency", ())


def test_incidents_outside_the_range() -> None:
    early, within, late = Incident(0, 50), Incident(100, 500), Incident(200, 300)
    assert inside([late, within, early], 100, 200) == ((within,), [early, late])
