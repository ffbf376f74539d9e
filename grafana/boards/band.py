"""The panel of one series with what is normal for it; Grafana finds the band by constant names."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries

from boards.parts import Panel, Properties, fixed, lines, query, set_to


def band(
    title: str,
    description: str,
    selector: str,
    *,
    observed: str | None = None,
    span: int = 12,
    height: int = 8,
    unit: str = "short",
) -> timeseries.Panel:
    """Return a panel of one series: observed, expected, the band, and what is anomalous in red.

    Parameters
    ----------
    title, description : str
    selector : str
        PromQL matchers that leave one series of a signal. Several would all be filled down to the
        last lower bound, as Grafana fills by name.
    observed : str, optional
        Another expression of the same series, for a panel that has one already.
    span, height : int
        Of 24 columns; of 30 pixels.
    unit : str
    """
    inside = f"{{{selector}}}"
    red = f"anomaly_observed{inside} and anomaly_state{inside} == 1"
    panel = lines(
        title,
        description,
        query(observed or f"anomaly_observed{inside}", "A", "observed"),
        query(f"anomaly_expected{inside}", "B", "expected"),
        query(f"anomaly_lower{inside}", "C", "lower"),
        query(f"anomaly_upper{inside}", "D", "upper"),
        query(red, "E", "anomalous"),
        span=span,
        height=height,
        unit=unit,
    )
    return (
        panel.override_by_query("A", [fixed("text"), set_to("custom.lineWidth", 2)])
        .override_by_query("B", [fixed("blue"), *_DASHED])
        .override_by_query("C", _EDGE)
        .override_by_query(
            "D",
            [*_EDGE, set_to("custom.fillBelowTo", "lower"), set_to("custom.fillOpacity", 20)],
        )
        .override_by_query("E", [fixed("red"), *_POINTS])
    )


def of_job(title: str, signal: str, unit: str) -> Panel:
    """Return a signal of the job with its band."""
    return band(
        title,
        f"Signal {signal}: a value outside the band for five steps is anomalous.",
        f'job="$job",signal="{signal}"',
        unit=unit,
    )


_DASHED: Properties = [set_to("custom.lineStyle", {"fill": "dash", "dash": [6, 4]})]
_EDGE: Properties = [
    fixed("blue"),
    set_to("custom.lineWidth", 0),
    set_to("custom.hideFrom", {"legend": True, "tooltip": False, "viz": False}),
]
_POINTS: Properties = [
    set_to("custom.drawStyle", "points"),
    set_to("custom.showPoints", "always"),
    set_to("custom.pointSize", 6),
]
