"""What the dashboards are put together from: queries, panels, variables and links."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import common as build
from grafana_foundation_sdk.builders import dashboard, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common, units
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as prometheus_models

# Every query names the variable, so that one dashboard serves any number of Prometheus servers.
SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")

OVERVIEW, EXPLORER, CHURN, HEALTH = (
    *("anomaly-overview", "anomaly-signal", "churn-model", "detector-health"),
)
TITLES = {
    OVERVIEW: "Anomaly overview",
    EXPLORER: "Signal explorer",
    CHURN: "Churn model",
    HEALTH: "Detector health",
}

# The words and colours of `anomaly_state`.
STATES = {
    0: ("ok", "green"),
    1: ("anomalous", "red"),
    2: ("warming up", "blue"),
    3: ("no data", "text"),
    4: ("masked", "purple"),
}
GOOD, WARN, BAD = "green", "orange", "red"
# Where a data link takes time range and data source along.
_CARRIED = "${datasource:queryparam}&${__url_time_range}"

# Every kind of panel.
Panel = Builder[models.Panel]
Steps = Sequence[tuple[float | None, str]]
Properties = list[models.DynamicConfigValue]


def query(
    expr: str, ref: str = "A", legend: str = "__auto", *, instant: bool = False, table: bool = False
) -> prometheus.Dataquery:
    """Return a query; an instant one gives the newest value, as a table if asked to."""
    made = prometheus.Dataquery().datasource(SOURCE).expr(expr).ref_id(ref)
    if table:
        made = made.format(prometheus_models.PromQueryFormat.TABLE)
    return made.instant() if instant else made.range().legend_format(legend)


def value(
    title: str,
    description: str,
    expr: str,
    *,
    span: int = 4,
    unit: str = units.Short,
    steps: Steps = ((None, "text"),),
    states: dict[int, tuple[str, str]] | None = None,
    name: str | None = None,
    none: str = "none",
) -> stat.Panel:
    """Return a panel of one number, coloured by `steps` or `states`, or of the label `name`."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(span)
        .height(4)
        .unit(unit)
        .no_value(none)
        .thresholds(thresholds(steps))
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(build.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    if states:
        panel = panel.mappings([mapping(states)])
    if name:
        named = prometheus.Dataquery().datasource(SOURCE).expr(expr).ref_id("A").instant()
        return panel.with_target(named.legend_format(f"{{{{{name}}}}}")).text_mode(
            common.BigValueTextMode.NAME
        )
    return panel.with_target(query(expr, instant=True))


def lines(
    title: str,
    description: str,
    *queries: prometheus.Dataquery,
    span: int = 12,
    height: int = 8,
    unit: str = units.Short,
    steps: Steps = (),
    stacked: bool = False,
    up_to: float | None = None,
) -> timeseries.Panel:
    """Return a panel of lines over time, with a legend and gaps where there is no data.

    `up_to` is what the axis shows at least, from 0 on: zeros alone would be drawn on 0 to 100.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(span)
        .height(height)
        .unit(unit)
        .targets(list(queries))
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
        .line_width(1)
        .fill_opacity(0)
        .show_points(common.VisibilityMode.NEVER)
        .span_nulls(False)
        .legend(legend())
        .tooltip(build.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
    )
    if steps:
        style = build.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(thresholds(steps)).thresholds_style(style)
    if up_to is not None:
        panel = panel.min(0).axis_soft_max(up_to)
    if stacked:
        stack = build.StackingConfig().mode(common.StackingMode.NORMAL)
        panel = panel.stacking(stack).fill_opacity(40).min(0)
    return panel


def process(of: str, cpu: str) -> tuple[Panel, Panel]:
    """Return CPU, described by `cpu`, and memory of the processes that the matchers `of` select."""
    return (
        lines(
            "CPU",
            cpu,
            query(
                f"rate(process_cpu_seconds_total{{{of}}}[$__rate_interval])", legend="{{instance}}"
            ),
            span=8,
        ),
        lines(
            "Memory",
            "Resident memory.",
            query(f"process_resident_memory_bytes{{{of}}}", legend="{{instance}}"),
            span=8,
            unit=units.BytesIEC,
        ),
    )


def timeline(
    title: str,
    description: str,
    asked: prometheus.Dataquery,
    texts: dict[int, tuple[str, str]],
    *,
    span: int = 12,
    height: int = 8,
    to: str | None = None,
) -> statetimeline.Panel:
    """Return a row a series, coloured by its state; `to` is where a row leads."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(span)
        .height(height)
        .mappings([mapping(texts)])
        .show_value(common.VisibilityMode.NEVER)
        .merge_values(True)
        .legend(legend())
        .with_target(asked)
    )
    return panel.data_links([dashboard.DashboardLink(TITLES[EXPLORER]).url(to)]) if to else panel


def legend() -> build.VizLegendOptions:
    """Return a legend that is shown, below the picture."""
    shown = build.VizLegendOptions().show_legend(True)
    return shown.display_mode(common.LegendDisplayMode.LIST).placement(
        common.LegendPlacement.BOTTOM
    )


def thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    """Return absolute thresholds; the first value is None, for everything below."""
    made = [models.Threshold(value=start, color=color) for start, color in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)


def mapping(texts: dict[int, tuple[str, str]]) -> models.ValueMap:
    """Return words and colours for whole numbers."""
    return models.ValueMap(
        options={
            str(number): models.ValueMappingResult(text=text, color=color, index=order)
            for order, (number, (text, color)) in enumerate(texts.items())
        }
    )


def fixed(color: str) -> models.DynamicConfigValue:
    """Return the override to one colour."""
    return set_to("color", {"mode": "fixed", "fixedColor": color})


def set_to(name: str, setting: object) -> models.DynamicConfigValue:
    """Return the override of one property."""
    return models.DynamicConfigValue(id_val=name, value=setting)


def chosen(name: str, label: str, values: str) -> dashboard.QueryVariable:
    """Return a variable for exactly one of the values of a label."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"qryType": 1, "query": values, "refId": "variable"})
        .definition(values)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )


def some_of(name: str, label: str, values: str) -> dashboard.QueryVariable:
    """Return a variable for any number of the values of a label; all of them at first."""
    every = models.VariableOption(text="All", value="$__all", selected=True)
    return chosen(name, label, values).multi(True).include_all(True).current(every)


def any_of(name: str, label: str, values: str) -> dashboard.QueryVariable:
    """Return a variable for any number of values; all is also what does not have the label."""
    return some_of(name, label, values).all_value(".*")


def link(uid: str, **variables: str) -> str:
    """Return the address of a dashboard, with time range, data source and these variables."""
    given = "".join(f"var-{name}={text}&" for name, text in variables.items())
    return f"/d/{uid}?{given}{_CARRIED}"


def board(uid: str, description: str) -> dashboard.Dashboard:
    """Return an empty dashboard with links to the others and the variable for the data source."""
    made = (
        dashboard.Dashboard(TITLES[uid])
        .uid(uid)
        .description(description)
        .tags(["anomaly"])
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .timezone("utc")
        .refresh("1m")
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
    )
    for other, title in TITLES.items():
        if other != uid:
            made = made.link(
                dashboard.DashboardLink(title)
                .type(models.DashboardLinkType.LINK)
                .url(f"/d/{other}")
                .icon("dashboard")
                .include_vars(True)
                .keep_time(True)
            )
    return made


def annotation(
    name: str, expr: str, color: str, title: str, text: str
) -> dashboard.AnnotationQuery:
    """Return marks in all panels over the times at which an expression has a result."""
    made = dashboard.AnnotationQuery().name(name).datasource(SOURCE).expr(expr).enable(True)
    return made.icon_color(color).title_format(title).text_format(text)
