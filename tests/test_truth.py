"""Incidents from files, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools import serving

from detector.backtest.truth import Incident, incidents_of_silences, inside, read_incidents
from detector.errors import ConfigError, SourceError


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
        ("- {start: [", "no valid YAML"),
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


CONFIG = "route: {receiver: none}\nreceivers: [{name: none}]\n"


def test_silences_of_a_real_alertmanager(tmp_path: Path) -> None:
    (tmp_path / "am.yml").write_text(CONFIG)
    flags = (f"--config.file={tmp_path}/am.yml", f"--storage.path={tmp_path}/data")
    begin = 4_000_000_000
    with serving("alertmanager", tmp_path, *flags, "--cluster.listen-address=") as client:
        url = str(client.base_url)
        assert incidents_of_silences(url, 0, 2**33) == []
        matchers = [
            {"name": "job", "value": "a", "isRegex": False, "isEqual": True},
            {"name": "alertname", "value": "Down", "isRegex": False, "isEqual": True},
            {"name": "instance", "value": "x.*", "isRegex": True, "isEqual": True},
        ]
        stamps = {"startsAt": "2096-10-02T07:06:40Z", "endsAt": "2096-10-02T08:06:40Z"}
        body = {"matchers": matchers, **stamps, "createdBy": "me", "comment": "disk"}
        assert client.post("/api/v2/silences", json=body).status_code == 200
        wanted = Incident(begin, begin + 3600, "", (("job", "a"),), "disk", "silence", True)
        assert incidents_of_silences(url, begin - 60, begin + 60) == [wanted]
        assert incidents_of_silences(url, begin - 60, begin) == []
    with pytest.raises(SourceError, match="is --silences right"):
        incidents_of_silences(url, 0, 1)


def test_what_is_no_alertmanager(server: object) -> None:
    with pytest.raises(SourceError, match="--silences"):
        incidents_of_silences(server.url, 0, 1)  # type: ignore[attr-defined]
