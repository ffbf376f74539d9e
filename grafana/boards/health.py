"""Detector health: whether it sees everything, in time, and at what cost."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import units

from boards.parts import (
    BAD,
    GOOD,
    HEALTH,
    STATES,
    WARN,
    Panel,
    annotation,
    board,
    fixed,
    lines,
    process,
    query,
    some_of,
    timeline,
    value,
)

_OF = 'job=~"$job",instance=~"$instance"'
_ALERTS = 'ALERTS{alertstate="firing",category="meta"}'


def health() -> dashboard.Dashboard:
    """Return the dashboard."""
    made = (
        board(HEALTH, "The detector: what it sees, how late, what fails, what it costs.")
        .with_variable(some_of("job", "Job", "label_values(detector_step_seconds, job)"))
        .with_variable(
            some_of(
                "instance", "Instance", 'label_values(detector_step_seconds{job=~"$job"}, instance)'
            )
        )
        .annotation(annotation("Alerts", _ALERTS, "red", "{{alertname}}", "{{signal}} {{job}}"))
    )
    for panel in (*_numbers(), *_sight()):
        made = made.with_panel(panel)
    made = made.with_row(dashboard.Row("In time"))
    for panel in _time():
        made = made.with_panel(panel)
    made = made.with_row(dashboard.Row("Cost"))
    for panel in _cost():
        made = made.with_panel(panel)
    made = made.with_row(dashboard.Row("Messages of detector notify"))
    for panel in _messages():
        made = made.with_panel(panel)
    return made


def _numbers() -> list[Panel]:
    return [
        value(
            "Detectors up",
            "Processes that Prometheus reaches.",
            f"sum(up{{{_OF}}} and on (job, instance) detector_step_seconds)",
            span=3,
            steps=((None, BAD), (1, GOOD)),
            none="down",
        ),
        value(
            "Version",
            "Of the detector that runs.",
            f"detector_build_info{{{_OF}}} and on (job, instance) detector_step_seconds",
            span=3,
            name="version",
        ),
        value(
            "Step",
            "How often every series is scored.",
            f"max(detector_step_seconds{{{_OF}}})",
            span=3,
            unit=units.Seconds,
        ),
        value("Signals", "Signals known.", f"max(detector_signals{{{_OF}}})", span=3),
        value(
            "Series",
            "Series written, in any state.",
            f"sum(detector_series{{{_OF}}})",
            span=3,
        ),
        value(
            "Signals failing",
            "Signals whose last evaluation failed: the alert AnomalySignalFailing.",
            f"sum(detector_signal_up{{{_OF}}} == bool 0)",
            span=3,
            steps=((None, GOOD), (1, BAD)),
        ),
        value(
            "Series left out",
            "Above the limit, given twice, or native histograms: the alert AnomalySeriesDropped.",
            f"sum(detector_series_dropped{{{_OF}}}) or vector(0)",
            span=3,
            steps=((None, GOOD), (1, WARN)),
        ),
        value(
            "Rules",
            "Whether the last reading of the rules succeeded: the alert AnomalyRulesUnread.",
            f"min(detector_rules_read_success{{{_OF}}})",
            span=3,
            states={0: ("unread", BAD), 1: ("read", GOOD)},
            none="not read",
        ),
    ]


def _series_by_state() -> Panel:
    """One query a state, so that each has the colour it has everywhere."""
    panel = lines(
        "Series by state",
        "Warming up: less than a day of history. Masked: a mask, or a closed gate.",
        *(
            query(f'sum(detector_series{{{_OF},state="{words.replace(" ", "_")}"}})', ref, words)
            for ref, (words, _) in zip("ABCDE", STATES.values(), strict=True)
        ),
        stacked=True,
    )
    for ref, (_, color) in zip("ABCDE", STATES.values(), strict=True):
        panel = panel.override_by_query(ref, [fixed(color)])
    return panel


def _sight() -> list[Panel]:
    return [
        _series_by_state(),
        timeline(
            "Evaluation of each signal",
            "Whether the last evaluation of the signal succeeded.",
            query(f"min by (signal) (detector_signal_up{{{_OF}}})", legend="{{signal}}"),
            {0: ("failed", BAD), 1: ("good", GOOD)},
        ),
        lines(
            "Failures by reason",
            "Evaluations of a signal that failed, a minute.",
            query(
                "60 * sum by (signal, reason) "
                f"(rate(detector_signal_failures_total{{{_OF}}}[$__rate_interval]))",
                legend="{{signal}}: {{reason}}",
            ),
            unit="cpm",
        ),
        lines(
            "Queries by outcome",
            "Asked of Prometheus; anything but ok says where to look.",
            query(
                f"sum by (outcome) (rate(detector_queries_total{{{_OF}}}[$__rate_interval]))",
                legend="{{outcome}}",
            ),
            unit="cps",
            stacked=True,
        ),
    ]


def _time() -> list[Panel]:
    duration = (
        f"sum by (le) (rate(detector_cycle_duration_seconds_bucket{{{_OF}}}[$__rate_interval]))"
    )
    return [
        lines(
            "Age of the scores of each signal",
            "The newest step evaluated; six steps are the alert AnomalyScoresStale.",
            query(
                f"time() - detector_signal_evaluated_timestamp_seconds{{{_OF}}}",
                "A",
                "{{signal}}",
            ),
            query(f"6 * max(detector_step_seconds{{{_OF}}})", "B", "stale"),
            unit=units.Seconds,
        ),
        lines(
            "Time of a cycle",
            "All signals once. A cycle that takes longer than the step falls behind.",
            query(f"histogram_quantile(0.5, {duration})", "A", "half of them"),
            query(f"histogram_quantile(0.99, {duration})", "B", "99 %"),
            query(f"max(detector_step_seconds{{{_OF}}})", "C", "step"),
            unit=units.Seconds,
        ),
        lines(
            "Lag",
            "Age of the newest evaluated step when a cycle ended: the delay, and what is late.",
            query(f"detector_cycle_lag_seconds{{{_OF}}}", legend="{{instance}}"),
            unit=units.Seconds,
        ),
        lines(
            "Since the last cycle",
            "Grows beyond a step when the loop is stuck.",
            query(
                f"time() - detector_last_cycle_timestamp_seconds{{{_OF}}}", legend="{{instance}}"
            ),
            unit=units.Seconds,
        ),
    ]


def _cost() -> list[Panel]:
    return [
        *process(_OF, "Cores in use; once a day a signal is fitted anew."),
        lines(
            "Samples read",
            "From Prometheus, a second.",
            query(
                f"rate(detector_samples_read_total{{{_OF}}}[$__rate_interval])",
                legend="{{instance}}",
            ),
            span=8,
            unit="cps",
        ),
        lines(
            "Fits",
            "Signals fitted an hour.",
            query(
                f"3600 * rate(detector_fits_total{{{_OF}}}[$__rate_interval])",
                legend="{{instance}}",
            ),
        ),
        lines(
            "Time of a fit",
            "The mean time to read a signal's history and fit it; gaps where none was fitted.",
            query(
                f"rate(detector_fit_duration_seconds_sum{{{_OF}}}[$__rate_interval]) "
                f"/ rate(detector_fit_duration_seconds_count{{{_OF}}}[$__rate_interval])",
                legend="{{instance}}",
            ),
            unit=units.Seconds,
        ),
    ]


def _messages() -> list[Panel]:
    """A process of its own, so the variables do not choose it."""
    return [
        lines(
            "Waiting",
            "Groups of alerts to be told, by target; those that stay are AnomalyNotifyFailing.",
            query("sum by (target) (detector_notify_pending)", legend="{{target}}"),
        ),
        lines(
            "Age of the oldest",
            "How long it has waited; ten minutes without a failure are AnomalyNotifyBehind.",
            query("max by (target) (detector_notify_oldest_pending_seconds)", legend="{{target}}"),
            unit=units.Seconds,
        ),
        lines(
            "What became of messages",
            "A minute; dead ones were given up: the alert AnomalyNotifyDead.",
            query(
                "60 * sum by (target, outcome) "
                "(rate(detector_notify_deliveries_total[$__rate_interval]))",
                legend="{{target}}: {{outcome}}",
            ),
            unit="cpm",
        ),
        lines(
            "Failed attempts by reason",
            "A minute; each is tried again.",
            query(
                "60 * sum by (target, reason) "
                "(rate(detector_notify_failures_total[$__rate_interval]))",
                legend="{{target}}: {{reason}}",
            ),
            unit="cpm",
        ),
    ]
