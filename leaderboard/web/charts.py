"""The charts of the page as Vega-Lite, without their data and colours: the page's script puts in both.

Values of a chart are the data set "points". Marks are told apart by shape and dashes as well as by colour, and carry no
labels of their own for screen readers: the page describes each chart in words and has its numbers in a table.
"""

from typing import Any

import altair as alt

KINDS = ("on the front", "plain_matched", "other")
ON_FRONT, BASELINE, OTHER = KINDS
DATA = "points"


def chart_specs() -> dict[str, dict[str, Any]]:
    """Each chart of the page by name, ready for JSON."""
    charts = {
        "cost": cost_chart(),
        "distance": lines_chart("distance:O", "Tokens from the name to the fact"),
        "curve": lines_chart("step:Q", "Steps"),
        "forgetting": forgetting_chart(),
    }
    return {name: _spec(chart) for name, chart in charts.items()}


def cost_chart() -> alt.LayerChart:
    """Exact match against cost: `cost`, `mean`, `low`, `high`, `label`, `kind` (one of KINDS); the front as steps."""
    base = alt.Chart(alt.NamedData(DATA)).encode(
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
        .mark_text(align="right", dx=-9, dy=-9, limit=220, aria=False)
        .encode(y="mean:Q", text="label:N")
    )
    return alt.layer(whiskers, front, points, named).add_params(alt.param(name="accent", value="gray"))


def lines_chart(x: str, title: str) -> alt.LayerChart:
    """Exact match by `x`, a line per `series`: `mean`, `low`, `high` (the last two may be absent), `place` orders x."""
    quantitative = x.endswith(":Q")
    axis = alt.Axis(labelAngle=0, format="~s") if quantitative else alt.Axis(labelAngle=0)
    sort = alt.Undefined if quantitative else alt.EncodingSortField("place", op="min")
    base = alt.Chart(alt.NamedData(DATA)).encode(
        x=alt.X(x, title=title, axis=axis, sort=sort),
        color=alt.Color("series:N", title=None, sort=None),
    )
    whiskers = base.mark_rule(strokeWidth=1.5, opacity=0.55, aria=False).encode(
        y=alt.Y("low:Q", title="Exact match"), y2="high:Q"
    )
    lines = base.mark_line(strokeWidth=2, aria=False).encode(
        y="mean:Q", strokeDash=alt.StrokeDash("series:N", title=None, sort=None)
    )
    points = base.mark_point(filled=True, size=60, opacity=1, aria=False).encode(
        y="mean:Q", shape=alt.Shape("series:N", title=None, sort=None), tooltip=["text:N"]
    )
    return alt.layer(whiskers, lines, points)


def forgetting_chart() -> alt.LayerChart:
    """The change for the worse on one held-out text or task, a line per `label`: `mean`, `low`, `high`, `place`."""
    base = alt.Chart(alt.NamedData(DATA)).encode(
        y=alt.Y("label:N", title=None, sort=alt.EncodingSortField("place", op="min"), axis=alt.Axis(labelLimit=230)),
    )
    zero = base.mark_rule(strokeDash=[4, 3], aria=False).encode(x=alt.datum(0))
    whiskers = base.mark_rule(strokeWidth=2, aria=False).encode(
        x=alt.X("low:Q", title="Change for the worse"), x2="high:Q", color=alt.value({"expr": "accent"})
    )
    points = base.mark_point(filled=True, size=70, opacity=1, aria=False).encode(
        x="mean:Q", color=alt.value({"expr": "accent"}), tooltip=["text:N"]
    )
    return alt.layer(zero, whiskers, points).add_params(alt.param(name="accent", value="gray"))


def _spec(chart: alt.LayerChart) -> dict[str, Any]:
    spec: dict[str, Any] = chart.properties(width="container", height=320).to_dict()
    return {key: value for key, value in spec.items() if key not in ("$schema", "config")}
