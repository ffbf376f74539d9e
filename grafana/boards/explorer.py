"""Signal explorer: one series, what was expected of it, and why it is, or is not, anomalous."""

from __future__ import annotations

from grafana_foundation_sdk.builders import common as build
from grafana_foundation_sdk.builders import dashboard, statetimeline, text, timeseries
from grafana_foundation_sdk.models import common, units
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import text as text_models

from boards.band import band
from boards.parts import (
    BAD,
    EXPLORER,
    GOOD,
    STATES,
    Panel,
    annotation,
    any_of,
    board,
    chosen,
    fixed,
    lines,
    query,
    set_to,
    timeline,
    value,
)

_SIGNAL = 'job=~"$job",signal="$signal"'
# The variable's value is the series' own labels as matchers; `raw` puts them in as they are.
_SERIES = "${series:raw}"
_MOST_SERIES = 200

_WORDS = """\
**Score**: 0 is as expected, 1 the edge of normal, above 1 anomalous, for every signal alike. It is
the root mean square of what the channels found, so several weak signs count together.

| channel | it found |
|---|---|
| spike | this value is far off |
| jump | it moved away at once, from what the last minutes led to expect |
| sustained | it has stayed away for five steps, or the last hour leans to one side |
| trend | the level of the day has left that of the weeks |
| spread | it moves more, or less, from sample to sample than it does |
| novelty, shape | the last minutes, or hours, look like none before |
| unrest | it has been off by more than usual for hours |

**The band** is as wide as a deviation that, held for five steps, brings the score to 1. It does not
move within an episode. A value outside it for one step need not be anomalous, one inside it can be:
then look at sustained, spread, novelty, shape and unrest.

**States**: ok, anomalous, warming up (less than a day of history), no data, masked (by a mask, or
its `when` gate is closed).

The signal's own query: `detector signals`. To mute or teach it: the runbook of the alert."""


def explorer() -> dashboard.Dashboard:
    """Return the dashboard."""
    made = (
        board(EXPLORER, "One series: observed, expected, normal range, score and evidence.")
        .with_variable(any_of("job", "Job", "label_values(anomaly_state, job)"))
        .with_variable(
            chosen("signal", "Signal", 'label_values(anomaly_state{job=~"$job"}, signal)')
        )
        .with_variable(_series())
        .annotation(
            annotation(
                "Alerts",
                f'ALERTS{{alertstate="firing",category="anomaly",{_SIGNAL}}}',
                "red",
                "{{alertname}}",
                "{{signal}} of {{job}}",
            )
        )
        .annotation(
            annotation(
                "Injected faults", "simulator_fault_active == 1", "orange", "{{fault}}", "{{job}}"
            )
        )
    )
    for panel in _numbers():
        made = made.with_panel(panel)
    return (
        made.with_panel(
            band(
                "$signal: observed and expected",
                "The series chosen above; at first the one with the highest score in the time "
                "range. The band is what counts as normal.",
                _SERIES,
                span=24,
                height=11,
            )
        )
        .with_panel(_score())
        .with_panel(_state())
        .with_panel(_evidence())
        .with_row(dashboard.Row("Why: the band step by step"))
        .with_panel(_distance())
        .with_panel(_share())
        .with_panel(_before())
        .with_panel(
            text.Panel()
            .title("How to read this")
            .description("What score, band, channels and states mean.")
            .span(12)
            .height(12)
            .mode(text_models.TextMode.MARKDOWN)
            .content(_WORDS)
        )
        .with_row(dashboard.Row("The other series of $signal"))
        .with_panel(
            lines(
                "Score of each series",
                "0 as expected, 1 the edge of normal; the twenty worst of the time range.",
                query(
                    f"anomaly_score{{{_SIGNAL}}} and "
                    f"topk(20, max_over_time(anomaly_score{{{_SIGNAL}}}[$__range] @ end()))"
                ),
                span=24,
                steps=((None, "transparent"), (1, BAD)),
            )
        )
        .with_panel(
            lines(
                "Series there now, and those usually there",
                "Less than half of the usual ones for ten minutes is AnomalyNoData.",
                query(f"anomaly_series_present{{{_SIGNAL}}}", legend="{{job}} now"),
                query(f"anomaly_series_usual{{{_SIGNAL}}}", "B", legend="{{job}} usually"),
                span=24,
                height=6,
            ).min(0)
        )
    )


def _series() -> dashboard.QueryVariable:
    """The series of the signal, worst first; one without a score has 0."""
    every = (
        f"query_result(topk({_MOST_SERIES}, max_over_time(anomaly_score{{{_SIGNAL}}}[$__range]) "
        f"or 0 * max_over_time(anomaly_state{{{_SIGNAL}}}[$__range])))"
    )
    return (
        chosen("series", "Series", every)
        .query({"qryType": 3, "query": every, "refId": "variable"})
        # A result reads {label="value",...} value time.
        .regex(r"/^\{(.*)\} \S+ \S+$/")
        .sort(models.VariableSort.DISABLED)
    )


def _numbers() -> list[Panel]:
    def number(name: str, description: str) -> Panel:
        return value(name.capitalize(), description, f"anomaly_{name}{{{_SERIES}}}")

    return [
        value(
            "State",
            "Of the newest step.",
            f"anomaly_state{{{_SERIES}}}",
            states=STATES,
        ),
        value(
            "Score",
            "0 as expected, 1 the edge of normal.",
            f"anomaly_score{{{_SERIES}}}",
            steps=((None, GOOD), (1, BAD)),
        ),
        number("observed", "In the signal's own unit."),
        number("expected", "What was expected, before the value was seen."),
        number("lower", "Lower edge of normal; none where there is no such bound."),
        number("upper", "Upper edge of normal; none where there is no such bound."),
    ]


def _score() -> timeseries.Panel:
    return (
        lines(
            "Score",
            "0 as expected, 1 the edge of normal; it leaves an episode below about 0.65.",
            query(f"anomaly_score{{{_SERIES}}}", legend="score"),
            span=24,
            height=5,
            steps=((None, "transparent"), (1, BAD)),
        )
        .min(0)
        .axis_soft_max(2)
        .legend(build.VizLegendOptions().show_legend(False))
    )


def _state() -> statetimeline.Panel:
    return timeline(
        "State",
        "Alerts fire on state 1, once it has lasted as long as their rule says.",
        query(f"anomaly_state{{{_SERIES}}}", legend="state"),
        STATES,
        span=24,
        height=4,
    )


def _evidence() -> timeseries.Panel:
    return (
        lines(
            "Evidence: which channels speak",
            "Each channel's share of the score, only while the series is anomalous.",
            query(f"anomaly_evidence{{{_SERIES}}}", legend="{{channel}}"),
            span=24,
            height=7,
            unit=units.PercentUnit,
            stacked=True,
        )
        .draw_style(common.GraphDrawStyle.BARS)
        .min(0)
        .max(1)
    )


def _distance() -> timeseries.Panel:
    """Observed, band and floor with what was expected taken away."""
    return (
        lines(
            "1. How far from expected, and how far is normal",
            "Everything less the expected value: the line is the deviation, the band is normal.",
            query(
                f"anomaly_observed{{{_SERIES}}} - anomaly_expected{{{_SERIES}}}", "A", "deviation"
            ),
            query(
                f"anomaly_lower{{{_SERIES}}} - anomaly_expected{{{_SERIES}}}", "B", "normal from"
            ),
            query(f"anomaly_upper{{{_SERIES}}} - anomaly_expected{{{_SERIES}}}", "C", "normal to"),
        )
        .override_by_query("A", [fixed("text")])
        .override_by_query("B", [fixed("blue"), set_to("custom.lineWidth", 0)])
        .override_by_query(
            "C",
            [
                fixed("blue"),
                set_to("custom.lineWidth", 0),
                set_to("custom.fillBelowTo", "normal from"),
                set_to("custom.fillOpacity", 20),
            ],
        )
    )


def _share() -> timeseries.Panel:
    """The deviation in half widths of the band, beside the score that came of it."""
    half = f"((anomaly_upper{{{_SERIES}}} - anomaly_lower{{{_SERIES}}}) / 2)"
    return lines(
        "2. Deviation in half widths of the band, and the score",
        "Above 1 the value is outside. The score above it: it stays outside, or other channels "
        "speak; the score below it: it has just moved, or a floor or the direction holds it back.",
        query(
            f"abs(anomaly_observed{{{_SERIES}}} - anomaly_expected{{{_SERIES}}}) / {half}",
            "A",
            "half widths",
        ),
        query(f"anomaly_score{{{_SERIES}}}", "B", "score"),
        steps=((None, "transparent"), (1, BAD)),
    ).min(0)


def _before() -> timeseries.Panel:
    """The season with one's own eyes."""
    panel = lines(
        "3. The same hours a day and a week ago",
        "The past that the expected value is made of, as far as it was observed.",
        query(f"anomaly_observed{{{_SERIES}}}", "A", "now"),
        query(f"anomaly_observed{{{_SERIES}}} offset 1d", "B", "a day ago"),
        query(f"anomaly_observed{{{_SERIES}}} offset 1w", "C", "a week ago"),
        height=12,
    )
    return panel.override_by_query("A", [fixed("text"), set_to("custom.lineWidth", 2)])
