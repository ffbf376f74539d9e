"""Anomaly overview: what is abnormal now, since when, by job and kind, and how bad it is."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, dashboard, statetimeline, statushistory, table
from grafana_foundation_sdk.builders import common as build
from grafana_foundation_sdk.models import common, units
from grafana_foundation_sdk.models import dashboard as models

from boards.parts import (
    BAD,
    EXPLORER,
    GOOD,
    OVERVIEW,
    SOURCE,
    STATES,
    TITLES,
    WARN,
    Panel,
    annotation,
    any_of,
    board,
    legend,
    lines,
    link,
    query,
    set_to,
    thresholds,
    timeline,
    value,
)

_SOME = 'job=~"$job",kind=~"$kind",signal=~"$signal"'
_ALERTS = 'ALERTS{alertstate="firing",category="anomaly",job=~"$job",signal=~"$signal"}'
# The score is 1 at the edge of normal; it says little more above 2.
_HEAT = 2.0
_MOST_ROWS = 30
# Where a row of a picture leads.
_ROW = link(EXPLORER, job="${__field.labels.job}", signal="${__field.labels.signal}")


def overview() -> dashboard.Dashboard:
    """Return the dashboard."""
    made = (
        board(OVERVIEW, "What is not as it usually is, in all watched signals.")
        .with_variable(any_of("job", "Job", "label_values(anomaly_state, job)"))
        .with_variable(any_of("kind", "Kind", 'label_values(anomaly_state{job=~"$job"}, kind)'))
        .with_variable(
            any_of(
                "signal",
                "Signal",
                'label_values(anomaly_state{job=~"$job",kind=~"$kind"}, signal)',
            )
        )
        .annotation(annotation("Alerts", _ALERTS, "red", "{{alertname}}", "{{signal}} of {{job}}"))
    )
    for panel in _numbers():
        made = made.with_panel(panel)
    return (
        made.with_panel(_abnormal_now())
        .with_panel(_by_job_and_kind())
        .with_panel(
            lines(
                "Abnormal series by kind",
                "Series in state 1. Kinds that rise together usually have one cause.",
                query(f"sum by (kind) (anomaly_state{{{_SOME}}} == bool 1)", legend="{{kind}}"),
                height=9,
                stacked=True,
            )
        )
        .with_panel(_states())
        .with_panel(_heat())
    )


def _numbers() -> list[Panel]:
    abnormal = f"sum(anomaly_state{{{_SOME}}} == bool 1)"
    return [
        value(
            "Abnormal now",
            "Series in state 1.",
            abnormal,
            steps=((None, GOOD), (1, BAD)),
        ),
        value(
            "Alerts firing",
            "Anomaly alerts that Prometheus has sent; an anomaly alerts once it lasts.",
            f"count({_ALERTS}) or vector(0)",
            steps=((None, GOOD), (1, BAD)),
        ),
        value(
            "Series watched",
            "Series with a state, those without a score included.",
            f"count(anomaly_state{{{_SOME}}})",
        ),
        value(
            "Without a score",
            "Warming up, without data or masked: nothing is said of these.",
            f"sum(anomaly_state{{{_SOME}}} >= bool 2)",
            steps=((None, "text"), (1, WARN)),
        ),
        value(
            "Signals failing",
            "Signals whose last evaluation failed; see Detector health.",
            "sum(detector_signal_up == bool 0)",
            steps=((None, GOOD), (1, BAD)),
        ),
        value(
            "Age of the scores",
            "Age of the newest evaluated step when the last cycle ended.",
            "max(detector_cycle_lag_seconds)",
            unit=units.Seconds,
        ),
    ]


def _abnormal_now() -> table.Panel:
    """The abnormal series as rows, worst first, each a link to what it looks like."""
    abnormal = f"and anomaly_state{{{_SOME}}} == 1"
    names = {f"Value #{ref}": name for ref, name in zip("ABC", _COLUMNS, strict=True)}
    there = link(EXPLORER, job="${__data.fields.job}", signal="${__data.fields.signal}")
    return (
        table.Panel()
        .title("Abnormal now")
        .description("The series in state 1, worst first. A signal leads to its picture.")
        .datasource(SOURCE)
        .span(16)
        .height(9)
        .no_value("All series are as they usually are.")
        .with_target(query(f"anomaly_score{{{_SOME}}} {abnormal}", "A", instant=True, table=True))
        .with_target(
            query(f"anomaly_observed{{{_SOME}}} {abnormal}", "B", instant=True, table=True)
        )
        .with_target(
            query(f"anomaly_expected{{{_SOME}}} {abnormal}", "C", instant=True, table=True)
        )
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True, "__name__": True},
                    "renameByName": names,
                },
            )
        )
        .sort_by([build.TableSortByFieldState().display_name("score").desc(True)])
        .override_by_name("signal", [set_to("links", [{"title": "Signal explorer", "url": there}])])
        .override_by_name("score", [set_to("decimals", 2)])
    )


_COLUMNS = ("score", "observed", "expected")


def _by_job_and_kind() -> bargauge.Panel:
    """One bar a job and kind."""
    return (
        bargauge.Panel()
        .title("Abnormal share by job and kind")
        .description("Share of the series in state 1.")
        .datasource(SOURCE)
        .span(8)
        .height(9)
        .unit(units.PercentUnit)
        .min(0)
        .max(1)
        .thresholds(thresholds(((None, GOOD), (0.001, BAD))))
        .orientation(common.VizOrientation.HORIZONTAL)
        .reduce_options(build.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(
            query(
                f"avg by (job, kind) (anomaly_state{{{_SOME}}} == bool 1)",
                legend="{{job}} {{kind}}",
                instant=True,
            ).legend_format("{{job}} {{kind}}")
        )
    )


def _states() -> statetimeline.Panel:
    """One row a signal: anomalous if one of its series is, else the state of its best one."""
    state = f"anomaly_state{{{_SOME}}}"
    worst = f"max by (job, signal) ({state} == 1) or min by (job, signal) ({state})"
    return timeline(
        "State of each signal",
        "Red while one series of the signal is anomalous. A row leads to its picture.",
        query(worst, legend="{{job}} {{signal}}"),
        STATES,
        height=11,
        to=_ROW,
    )


def _heat() -> statushistory.Panel:
    """One row a signal, coloured by its highest score."""
    worst = (
        f"topk({_MOST_ROWS}, max by (job, signal) "
        f"(max_over_time(anomaly_score{{{_SOME}}}[$__range] @ end())))"
    )
    return (
        statushistory.Panel()
        .title("Score of each signal")
        .description(
            f"The highest score of its series; red is 1 and more. The {_MOST_ROWS} worst signals."
        )
        .datasource(SOURCE)
        .span(12)
        .height(11)
        # More columns than this are not drawn.
        .max_data_points(120)
        .unit(units.Short)
        .decimals(1)
        .min(0)
        .max(_HEAT)
        .thresholds(thresholds(((None, "green"), (0.65, "yellow"), (1, "red"), (1.5, "dark-red"))))
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .show_value(common.VisibilityMode.NEVER)
        .legend(legend())
        .data_links([dashboard.DashboardLink(TITLES[EXPLORER]).url(_ROW)])
        .with_target(
            query(
                f"max by (job, signal) (max_over_time(anomaly_score{{{_SOME}}}[$__interval])) "
                f"and {worst}",
                legend="{{job}} {{signal}}",
            )
        )
    )
