"""The charts of the page as Vega-Lite specifications. The page's script adds data and colours.

Each chart reads its values from the data set "points". Marks differ in shape and dashes as well as in colour. They have
no labels for screen readers (aria=False), since the page describes each chart in a sentence and lists its numbers in a
table.
"""

from typing import Any

import altair as alt

from leaderboard.stats.comparisons import BASELINE

KINDS = ("on the front", BASELINE, "other")
DATA = "points"

Chart = alt.LayerChart | alt.FacetChart  # the types that altair declares for layered charts


def chart_specs() -> dict[str, dict[str, Any]]:
    """The specification of each chart by the name that the page's script uses, ready for JSON."""
    charts = {
        "cost": cost_chart(),
        "distance": distance_chart(),
        "curve": curve_chart(),
        "reverse": reverse_chart(),
        "retention": retention_chart(),
    }
    return {name: _spec(chart) for name, chart in charts.items()}


def cost_chart() -> Chart:
    """Exact match against cost: a point for each row, the Pareto front as steps.

    Fields of a point: `cost`, `mean`, `low`, `high`, `label`, `text` (of the tooltip), `kind` (one of KINDS), `front`
    (whether the row is on the Pareto front), `named` (whether its name is shown) and `left` (whether the name stands to
    its left). Points with `reference` are the floor and the ceiling: they have no cost and are drawn as horizontal
    lines.
    """
    all_points = alt.Chart(alt.NamedData(DATA))
    reference_lines = (
        all_points.transform_filter(alt.datum.reference).mark_rule(strokeDash=[2, 4], aria=False).encode(y="mean:Q")
    )
    reference_names = (
        all_points.transform_filter(alt.datum.reference)
        .mark_text(align="left", x=4, dy=-6, aria=False)
        .encode(y="mean:Q", text="label:N")
    )
    base = all_points.transform_filter(~alt.datum.reference).encode(
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
            align={"expr": "datum.left ? 'right' : 'left'"},  # keeps names inside the chart
            dx={"expr": "datum.left ? -9 : 9"},
            dy=-9,
            limit=220,
            aria=False,
        )
        .encode(y="mean:Q", text="label:N")
    )
    return alt.layer(whiskers, front, points, named, reference_lines, reference_names).add_params(
        alt.param(name="accent", value="gray")
    )


def distance_chart() -> Chart:
    """Exact match by distance from name to fact, a line for each `series`.

    Fields of a point: `series`, `distance` (label of the bin), `place` (its order), `mean`, `low`, `high`, `text`.
    """
    order = alt.EncodingSortField("place", op="min")
    lines = _lines(
        alt.X("distance:O", title="Tokens from the name to the fact", axis=alt.Axis(labelAngle=0), sort=order)
    )
    # Side by side: overlapping whiskers would hide one another.
    return lines.encode(xOffset="series:N")


def curve_chart() -> Chart:
    """Exact match by training step, a line for each `series`. Fields of a point: `series`, `step`, `mean`, `text`."""
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


def reverse_chart() -> Chart:
    """Exact match of reverse questions against that of direct ones: a point for each row.

    Fields of a point: `direct`, `direct_low`, `direct_high`, `mean`, `low`, `high` (of reverse questions), `label`,
    `text`, `kind` (one of KINDS), `named` and `left` (as in `cost_chart`). Points with `diagonal` are the ends of the
    dashed line on which both are equal; they have `direct` and `mean` alone.
    """
    all_points = alt.Chart(alt.NamedData(DATA))
    x, y = (alt.X("direct:Q", title="Exact match, direct"), alt.Y("mean:Q", title="Exact match, reverse"))
    diagonal = all_points.transform_filter(alt.datum.diagonal).mark_line(strokeDash=[2, 4], aria=False).encode(x=x, y=y)
    base = all_points.transform_filter(~alt.datum.diagonal)
    kind = alt.Scale(domain=list(KINDS[1:]))
    colour = alt.Color("kind:N", title=None, scale=kind)
    upright = base.mark_rule(strokeWidth=1.5, opacity=0.4, aria=False).encode(x=x, y="low:Q", y2="high:Q", color=colour)
    across = base.mark_rule(strokeWidth=1.5, opacity=0.4, aria=False).encode(
        y=y, x="direct_low:Q", x2="direct_high:Q", color=colour
    )
    points = base.mark_point(filled=True, size=75, opacity=1, aria=False).encode(
        x=x, y=y, color=colour, shape=alt.Shape("kind:N", title=None, scale=kind), tooltip=["text:N"]
    )
    named = (
        base.transform_filter(alt.datum.named)
        .mark_text(
            align={"expr": "datum.left ? 'right' : 'left'"},
            dx={"expr": "datum.left ? -9 : 9"},
            dy=-9,
            limit=220,
            aria=False,
        )
        .encode(x=x, y=y, text="label:N")
    )
    return alt.layer(diagonal, upright, across, points, named)


def retention_chart() -> Chart:
    """What training cost on one held-out text or task, a line of the chart for each row.

    Fields of a point: `label`, `mean`, `low`, `high` (above 0 is a loss), `place` (order of the rows), `text`.
    """
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
