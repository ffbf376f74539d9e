"""The exposition: golden text, and nothing that is no longer true."""

from __future__ import annotations

from dataclasses import replace

import goldens
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from detector.census import Attendance
from detector.export import Exposition, Published
from detector.labels import output_labels
from detector.names import CHANNELS, State
from detector.score import GONE
from detector.series import Scores, Signal

NOW = 1_760_000_000
NAN = np.nan


def scores(*rows: tuple[dict[str, str], float, float, float, float, float, int]) -> Scores:
    """Return one step of (labels, observed, expected, lower, upper, score, state) rows."""
    table = np.array([row[1:6] for row in rows], float).reshape(len(rows), 5)
    state = np.array([[row[6]] for row in rows], np.int8).reshape(len(rows), 1)
    evidence = np.full((len(rows), 1, len(CHANNELS)), NAN)
    evidence[state == State.ANOMALOUS] = (0.25, 0.75, *[0.0] * (len(CHANNELS) - 2))
    columns = (table[:, [i]] for i in range(5))
    labels = tuple(tuple(sorted(row[0].items())) for row in rows)
    return Scores(labels, np.array([NOW]), *columns, evidence, state)


SIGNAL = Signal("rps", "traffic", ())
ROWS = scores(
    ({"job": "a", "instance": "i:1"}, 10.0, 20.0, 15.0, 25.0, 1.75, State.ANOMALOUS),
    ({"job": "b"}, 20.5, 20.0, 15.0, NAN, 0.125, State.OK),
    ({"zone": 'q"\\\nü', "kind": "own"}, 1e-9, NAN, NAN, NAN, NAN, State.WARMING_UP),
    ({"job": "c"}, NAN, 3.0, 2.0, 4.0, NAN, State.NO_DATA),
    ({"job": "d"}, NAN, NAN, NAN, NAN, NAN, GONE),
)


class Exposed:
    def __init__(self) -> None:
        self.now = NOW + 30.0
        self.exposition = Exposition(270, lambda: self.now)

    @property
    def text(self) -> str:
        return self.exposition.text().decode()

    def read(self, name: str) -> list[Sample]:
        """Return the samples of a metric as the client library reads them."""
        families = {one.name: one for one in text_string_to_metric_families(self.text)}
        return list(families[name].samples)


def test_golden_text() -> None:
    exposed = Exposed()
    other = Signal("errors", "errors", ())
    quiet = scores(({"job": "a"}, 0.0, 0.0, 0.0, 0.02, 0.0, State.OK))
    here = Attendance(((("job", "a"),),), np.array([[2]]), np.array([[3.0]]))
    exposed.exposition.publish(
        {
            "rps": Published(SIGNAL, ROWS, NOW, attendance=here),
            "errors": Published(other, quiet, NOW),
        }
    )
    goldens.check("metrics.txt", exposed.text)
    assert exposed.exposition.states() == {0: 2, 1: 1, 2: 1, 3: 1}


def test_jobs_are_counted_where_something_is_usual() -> None:
    exposed = Exposed()
    jobs = ((("job", 'a"\\\n'),), (), (("job", "new"),), (("job", "gone"),))
    seen, usual = np.array([[0, 1], [0, 0], [2, 2], [0, 0]]), np.array([3, 1, NAN, 0.0])
    attendance = Attendance(jobs, seen, np.stack([usual * 0, usual], axis=1))
    for _ in range(2):
        exposed.exposition.publish({"rps": Published(SIGNAL, ROWS, NOW, attendance=attendance)})
        for name, numbers in (("present", [1, 0]), ("usual", [3, 1])):
            found = exposed.read(f"anomaly_series_{name}")
            assert [one.value for one in found] == numbers
            own = {"signal": "rps", "kind": "traffic", "instance": ""}
            assert [one.labels for one in found] == [
                {**own, "job": 'a"\\\n'},
                {**own, "job": ""},
            ]


def test_there_are_no_timestamps_and_no_nan() -> None:
    exposed = Exposed()
    exposed.exposition.publish({"rps": Published(SIGNAL, ROWS, NOW)})
    samples = [line for line in exposed.text.splitlines() if not line.startswith("#")]
    assert samples
    assert str(NOW) not in exposed.text
    assert not any("NaN" in line or "Inf" in line for line in samples)


def test_only_the_newest_step_counts() -> None:
    exposed = Exposed()
    older = scores(({"job": "a"}, 1.0, 1.0, 1.0, 1.0, 0.5, State.ANOMALOUS))
    newer = scores(({"job": "a"}, 2.0, 1.0, 1.0, 3.0, 0.25, State.OK))
    both = replace(
        newer,
        times=np.array([NOW - 60, NOW]),
        **{
            name: np.concatenate([getattr(older, name), getattr(newer, name)], axis=1)
            for name in ("observed", "expected", "lower", "upper", "score", "evidence", "state")
        },
    )
    exposed.exposition.publish({"rps": Published(SIGNAL, both, NOW)})
    assert 'anomaly_observed{instance="",job="a",kind="traffic",signal="rps"} 2.0' in exposed.text
    assert 'channel="' not in exposed.text


def test_scores_too_old_or_of_the_future_are_withdrawn() -> None:
    exposed = Exposed()
    exposed.exposition.publish({"rps": Published(SIGNAL, ROWS, NOW)})
    for age, shown in ((30, True), (270, True), (271, False), (-270, True), (-271, False)):
        exposed.now = NOW + age
        assert ("anomaly_score{" in exposed.text) == shown, age
        assert (exposed.exposition.states() != {}) == shown


def test_what_is_published_replaces_everything() -> None:
    exposed = Exposed()
    exposed.exposition.publish({"rps": Published(SIGNAL, ROWS, NOW)})
    exposed.exposition.publish({})
    assert "anomaly_score{" not in exposed.text
    assert "# TYPE anomaly_score gauge" in exposed.text


@given(
    st.lists(
        st.dictionaries(
            st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True), st.text(max_size=8), max_size=4
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda labels: tuple(sorted(labels.items())),
    ),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=4),
)
def test_a_reader_gets_back_what_was_published(
    sets: list[dict[str, str]], values: list[float]
) -> None:
    """Any label value, any number: the client library reads the text as it was meant."""
    exposed = Exposed()
    made = scores(
        *(
            (own, value, 1.0, 0.0, 2.0, 0.5, State.OK)
            for own, value in zip(sets, values, strict=False)
        )
    )
    exposed.exposition.publish({"rps": Published(SIGNAL, made, NOW)})
    read = [(sample.labels, sample.value) for sample in exposed.read("anomaly_observed")]
    wanted = [output_labels(key, "rps", "traffic") for key in made.labels]
    assert read == list(zip(wanted, values, strict=False))


def test_labels_follow_the_series() -> None:
    """Texts are kept from scrape to scrape: not for other series, another kind, or a new signal."""
    exposed = Exposed()

    def shown(job: str, signal: Signal = SIGNAL) -> bool:
        one = scores(({"job": job}, 1.0, 1.0, 0.0, 2.0, 0.5, State.OK))
        exposed.exposition.publish({signal.name: Published(signal, one, NOW)})
        (state,) = exposed.read("anomaly_state")
        own = {"job": job, "instance": "", "kind": signal.kind, "signal": signal.name}
        return bool(state.labels == own)

    assert shown("a")
    assert shown("b")
    assert shown("b", replace(SIGNAL, kind="errors"))
    exposed.exposition.publish({})
    assert shown("b")


def test_the_channels_of_a_group_may_have_any_name() -> None:
    exposed = Exposed()
    one = scores(({"job": "a"}, 1.0, 1.0, 0.0, 2.0, 1.5, State.ANOMALOUS))
    one = replace(one, evidence=np.array([[[0.5, 0.5]]]))
    exposed.exposition.publish({"g": Published(SIGNAL, one, NOW, ('"quoted"', "back\\slash"))})
    channels = [sample.labels["channel"] for sample in exposed.read("anomaly_evidence")]
    assert channels == ['"quoted"', "back\\slash"]
