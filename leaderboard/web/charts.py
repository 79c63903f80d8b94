"""The charts of the page as Vega-Lite, without their data and colours: the page's script puts in both.

Values of a chart are the data set "points". Marks are told apart by shape and dashes as well as by colour, and carry no
labels of their own for screen readers: the page describes each chart in words and has its numbers in a table.
"""

from typing import Any

import altair as alt

from leaderboard.stats.comparisons import BASELINE

KINDS = ("on the front", BASELINE, "other")
DATA = "points"

Chart = alt.LayerChart | alt.FacetChart  # as altair types what it lays over each other


def chart_specs() -> dict[str, dict[str, Any]]:
    """Each chart of the page by name, ready for JSON."""
    charts = {
        "cost": cost_chart(),
        "distance": distance_chart(),
        "curve": curve_chart(),
        "forgetting": forgetting_chart(),
    }
    return {name: _spec(chart) for name, chart in charts.items()}


def cost_chart() -> Chart:
    """Exact match against cost: a point per row, the Pareto front as steps.

    Points have `cost`, `mean`, `low`, `high`, `label`, `text`, `kind` (one of KINDS), and say whether they are on the
    `front`, whether they are `named`, and whether to their `left`. Those that are a `reference`, the floor and the
    ceiling, have no cost and are lines across.
    """
    everything = alt.Chart(alt.NamedData(DATA))
    across = (
        everything.transform_filter(alt.datum.reference).mark_rule(strokeDash=[2, 4], aria=False).encode(y="mean:Q")
    )
    across_names = (
        everything.transform_filter(alt.datum.reference)
        .mark_text(align="left", x=4, dy=-6, aria=False)
        .encode(y="mean:Q", text="label:N")
    )
    base = everything.transform_filter(~alt.datum.reference).encode(
        x=alt.X("cost:Q", title=None, axis=alt.Axis(format="~s", tickCount=6), scale=alt.Scale(nice=True)),
    )
    kind = alt.Scale(domain=list(KINDS))
    colour = alt.Color("kind:N", title=None, scale=kind)
    whiskers = base.mark_rule(strokeWidth=1.5, opacity=0.55, aria=False).encode(
        y=alt.Y("low:Q", title="Exact match"), y2="high:Q", color=colour
    )
    front = (
        base.transform_filter(alt.datum.front)
        .mark_line(interpolate="step-after", strokeWidth=1.5, strokeDash=[4, 3], aria=False)
        .encode(y="mean:Q", order="cost:Q", color=alt.ColorValue({"expr": "accent"}))
    )
    points = base.mark_point(filled=True, size=75, opacity=1, aria=False).encode(
        y="mean:Q", color=colour, shape=alt.Shape("kind:N", title=None, scale=kind), tooltip=["text:N"]
    )
    named = (
        base.transform_filter(alt.datum.named)
        .mark_text(
            align={"expr": "datum.left ? 'right' : 'left'"},  # so that names stay inside
            dx={"expr": "datum.left ? -9 : 9"},
            dy=-9,
            limit=220,
            aria=False,
        )
        .encode(y="mean:Q", text="label:N")
    )
    return alt.layer(whiskers, front, points, named, across, across_names).add_params(
        alt.param(name="accent", value="gray")
    )


def distance_chart() -> Chart:
    """Exact match by bin of distance, a line per `series`: `distance`, `place`, `mean`, `low`, `high`, `text`."""
    order = alt.EncodingSortField("place", op="min")
    lines = _lines(
        alt.X("distance:O", title="Tokens from the name to the fact", axis=alt.Axis(labelAngle=0), sort=order)
    )
    # Side by side, so that no whisker hides another.
    return lines.encode(xOffset="series:N")


def curve_chart() -> Chart:
    """Exact match by `step`, a line per `series`: `mean`, `text`."""
    return _lines(alt.X("step:Q", title="Steps", axis=alt.Axis(format="~s", tickCount=6)), whiskers=False)


def _lines(x: alt.X, whiskers: bool = True) -> Chart:
    base = alt.Chart(alt.NamedData(DATA)).encode(x=x, color=alt.Color("series:N", title=None))
    rules = base.mark_rule(strokeWidth=1.5, opacity=0.55, aria=False).encode(
        y=alt.Y("low:Q", title="Exact match"), y2="high:Q"
    )
    lines = base.mark_line(strokeWidth=2, aria=False).encode(
        y=alt.Y("mean:Q", title="Exact match"), strokeDash=alt.StrokeDash("series:N", title=None)
    )
    points = base.mark_point(filled=True, size=60, opacity=1, aria=False).encode(
        y="mean:Q", shape=alt.Shape("series:N", title=None), tooltip=["text:N"]
    )
    return alt.layer(rules, lines, points) if whiskers else alt.layer(lines, points)


def forgetting_chart() -> Chart:
    """The change for the worse on one held-out text or task, a line per `label`: `mean`, `low`, `high`, `place`."""
    base = alt.Chart(alt.NamedData(DATA)).encode(
        y=alt.Y("label:N", title=None, sort=alt.EncodingSortField("place", op="min"), axis=alt.Axis(labelLimit=230)),
    )
    zero = alt.Chart(alt.Data(values=[{}])).mark_rule(strokeDash=[4, 3], aria=False).encode(x=alt.datum(0))
    whiskers = base.mark_rule(strokeWidth=2, aria=False).encode(
        x=alt.X("low:Q", title="Change for the worse", scale=alt.Scale(padding=8)),
        x2="high:Q",
        color=alt.value({"expr": "accent"}),
    )
    points = base.mark_point(filled=True, size=70, opacity=1, aria=False).encode(
        x="mean:Q", color=alt.value({"expr": "accent"}), tooltip=["text:N"]
    )
    return alt.layer(zero, whiskers, points).add_params(alt.param(name="accent", value="gray"))


def _spec(chart: Chart) -> dict[str, Any]:
    spec: dict[str, Any] = chart.properties(width="container", height=320).to_dict()
    return {key: value for key, value in spec.items() if key not in ("$schema", "config")}
