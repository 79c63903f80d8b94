"""The charts of Figures 1 to 3 as Vega-Lite, with their data. vl-convert draws them without browser or network."""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

Line = dict[str, Any]

FONT = "Liberation Sans"  # part of vl-convert, so text has the same width on every machine
METHODS = {  # colour of each method of Figure 1, in order
    "plain": "#8a939c",
    "plain_matched": "#1a1d21",
    "random_dropout": "#a84800",
    "attention_dropout": "#a0338a",
    "contrastive_dropout": "#0b5cad",
}
KIND_COLOURS = {  # name and relation words stand out; facts are shades of green, other tokens grey
    "name": "#0b5cad",
    "relation word": "#d1495b",
    "earlier relation word": "#edaeb6",
    "birth_date": "#3d6b35",
    "birth_city": "#64924b",
    "university": "#8fb56b",
    "major": "#b8d196",
    "company": "#dde9c8",
    "other": "#c9ced4",
}


def words(name: str) -> str:
    """An identifier as words."""
    return name.replace("_", " ")


def accuracy_chart(lines: Sequence[Line], suite: str) -> alt.VConcatChart:
    """Figure 1: a row of charts for each table, by field on the left and by distance on the right."""
    methods = [name for name in METHODS if any(line["method"] == name for line in lines)]
    top = math.ceil(5 * max(line["ci_high"] for line in lines)) / 5 or 1.0
    rows = []
    for table in dict.fromkeys(line["table"] for line in lines):
        table_lines = [line for line in lines if line["table"] == table]
        parts = [_accuracy_part(table_lines, by, methods, top) for by in ("field", "distance")]
        rows.append(alt.hconcat(*[part for part in parts if part]).properties(title=alt.Title(table, anchor="start")))
    seeds = sorted({line["seeds"] for line in lines})
    count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    over = "people (one seed)" if seeds == [1] else f"{count} seeds and people"
    title = alt.Title(
        f"Exact match by where a fact stands: suite {suite}",
        subtitle=[
            f"Test half; bars are 95% intervals over {over}.",
            "Where a method has several parameters: those that are best on the development half.",
        ],
        anchor="start",
    )
    return _configured(alt.vconcat(*rows, spacing=24).properties(title=title))


def _accuracy_part(lines: Sequence[Line], by: str, methods: list[str], top: float) -> alt.LayerChart | None:
    values = [{**line, "place": _position(line)} for line in lines if line["by"] == by]
    if not values:
        return None
    places = list(dict.fromkeys(line["place"] for line in sorted(values, key=lambda line: line["low"] or 0)))
    title = (
        "field, in the order of the text, and its mean distance from the name in tokens"
        if by == "field"
        else "distance from the name in tokens"
    )
    axis = alt.Axis(labelAngle=0, labelLimit=200, labelExpr="split(datum.label, '|')")
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("place:N", sort=places, title=title, axis=axis),
        xOffset=alt.XOffset("method:N", sort=methods),
        color=alt.Color(
            "method:N",
            sort=methods,
            title=None,
            scale=alt.Scale(domain=methods, range=[METHODS[name] for name in methods]),
        ),
    )
    y_scale = alt.Scale(domain=[0, top])
    points = base.mark_point(filled=True, size=46, opacity=1).encode(
        y=alt.Y("exact_match:Q", title="exact match", scale=y_scale),
        shape=alt.Shape("method:N", sort=methods, title=None, scale=alt.Scale(domain=methods)),
    )
    bars = base.mark_rule(strokeWidth=1.4).encode(y=alt.Y("ci_low:Q", scale=y_scale), y2="ci_high:Q")
    chart: alt.LayerChart = (bars + points).properties(width=440, height=170)
    return chart


def _position(line: Line) -> str:
    if line["by"] == "distance":
        return str(line["low"]) if line["low"] == line["high"] else f"{line['low']}–{line['high']}"
    return words(line["field"]) + ("" if line["tokens"] is None else f"|{line['tokens']:.0f}")


def attended_chart(lines: Sequence[Line], title: str, people: int) -> alt.VConcatChart:
    """Figures 2 and 3: a row for each model, a column for each fact; bars show the kinds of tokens of each rank."""
    kinds = [kind for kind in KIND_COLOURS if any(line["kind"] == kind for line in lines)]
    facts = list(dict.fromkeys(line["fact"] for line in lines))
    rows = []
    for of in dict.fromkeys(line["of"] for line in lines):
        cells = []
        for fact in facts:
            values = [
                {**line, "order": kinds.index(line["kind"])}
                for line in lines
                if (line["of"], line["fact"]) == (of, fact)
            ]
            cells.append(_attended_cell(values, fact, kinds, leftmost=fact == facts[0]))
        rows.append(alt.hconcat(*cells, spacing=14, bounds="flush").properties(title=alt.Title(of, anchor="start")))
    subtitle = (
        f"Share of {people} people, by rank of the attention paid by the last token before the fact, "
        "mean over layers and heads."
    )
    return _configured(
        alt.vconcat(*rows, spacing=18).properties(title=alt.Title(title, subtitle=subtitle, anchor="start"))
    )


def _attended_cell(values: list[Line], fact: str, kinds: list[str], leftmost: bool) -> alt.Chart:
    # Invisible labels take room, which keeps the titles of all cells at the same height.
    axis = alt.Axis(format="%", labelOpacity=float(leftmost), tickOpacity=float(leftmost), tickCount=4)
    colours = alt.Scale(domain=kinds, range=[KIND_COLOURS[kind] for kind in kinds])
    cell: alt.Chart = (
        alt.Chart(alt.Data(values=values))
        .mark_bar(stroke="white", strokeWidth=0.4)
        .encode(
            x=alt.X("rank:O", title="rank", axis=alt.Axis(labelAngle=0)),
            y=alt.Y(
                "share:Q", title="share of people" if leftmost else None, axis=axis, scale=alt.Scale(domain=[0, 1])
            ),
            color=alt.Color(
                "kind:N",
                title="the token is",
                sort=kinds,
                legend=alt.Legend(labelExpr="replace(datum.label, '_', ' ')", offset=24),
                scale=colours,
            ),
            order="order:Q",
        )
        .properties(width=150, height=150, title=alt.Title(f"before the {words(fact)}", fontWeight="normal"))
    )
    return cell


def _configured(chart: alt.VConcatChart) -> alt.VConcatChart:
    configured: alt.VConcatChart = (
        chart.configure(font=FONT, background="white", padding=12)
        .configure_view(stroke="#d8dde3")
        .configure_axis(gridColor="#eceff2", labelFontSize=11, titleFontSize=11, titleFontWeight="normal")
        .configure_title(fontSize=13, offset=10, subtitleFontSize=11, subtitleColor="#57606a")
        .configure_legend(labelFontSize=11, titleFontSize=11, labelLimit=260, symbolOpacity=1)
    )
    return configured
