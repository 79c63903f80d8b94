// The charts. Vega-Lite draws them from the rows that are shown; each has a sentence and a table with the same content.

const MAX_LINES = 6; // at most so many lines in a chart
const RETENTION_ROWS = 40; // at most so many rows in a retention chart
const views = new Map();

function colour(variable) {
  const probe = byId("tip");
  probe.style.color = `var(--${variable})`;
  const value = getComputedStyle(probe).color;
  probe.style.color = "";
  return value;
}

function chartConfig(palette, width) {
  const [ink, quiet, line] = ["ink", "quiet", "line"].map(colour);
  const font = getComputedStyle(document.body).fontFamily;
  return {
    background: null, font,
    view: { stroke: null },
    axis: { labelColor: quiet, titleColor: ink, gridColor: line, domainColor: quiet, tickColor: line, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" },
    axisYQuantitative: { format: "~r", tickCount: 6 },
    legend: { labelColor: ink, orient: "top", columns: Math.max(1, Math.floor((width - 60) / 200)), labelFontSize: 12, labelLimit: 170, symbolStrokeWidth: 2, symbolOpacity: 1 },
    text: { color: ink, fontSize: 12 },
    rule: { color: quiet },
    range: { category: palette, symbol: ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right"] },
  };
}

function showTooltip(_, event, __, value) {
  const box = byId("tip");
  box.hidden = !value;
  if (!value) return;
  box.textContent = typeof value === "object" ? String(value.text ?? "") : String(value);
  box.style.left = `${Math.min(event.clientX + 12, innerWidth - box.offsetWidth - 8)}px`;
  box.style.top = `${Math.max(8, event.clientY - box.offsetHeight - 10)}px`;
}

const tooltipText = (row, more) => [row.label, `exact match ${interval(row.headline)}`, ...more].join("\n");

function costChart(visibleRows) {
  const isKnown = (key) => visibleRows.some((row) => (row[key] ?? null) !== null);
  const cost = Object.hasOwn(COSTS, state.cost) && isKnown(state.cost) ? state.cost : "tokens";
  const known = visibleRows.filter((row) => (row[cost] ?? null) !== null);
  const front = known.filter((row) => row.front.includes(cost)).sort((a, b) => a[cost] - b[cost]);
  const most = known.reduce((a, row) => Math.max(a, row[cost]), 0);
  const references = known.length ? known[0].home.references : [];
  const points = known.map((row) => {
    const onFront = row.front.includes(cost);
    const baseline = row.method === data.baseline;
    return {
      label: row.label, cost: row[cost], mean: row.headline[0], low: row.headline[1], high: row.headline[2], front: onFront, left: row[cost] > most / 2,
      named: (onFront && front.length <= 8) || baseline, kind: baseline ? data.baseline : onFront ? "on the front" : "other",
      text: tooltipText(row, [`${COSTS[cost].toLowerCase()}: ${count(row[cost])}`, onFront ? "on the Pareto front" : ""].filter(Boolean)),
    };
  });
  points.push(...references.map(({ label, scores }) => ({
    label, reference: true, mean: scores.exact_match[0], text: `${label}: exact match ${interval(scores.exact_match)}` })));
  const choice = make("label", {}, "Cost", make("select", { id: "cost" },
    ...Object.entries(COSTS).filter(([value]) => isKnown(value)).map(([value, text]) => make("option", { value, selected: value === cost }, text))));
  choice.lastChild.addEventListener("change", (event) => {
    state.cost = event.target.value;
    draw();
    byId("cost").focus();
  });
  const names = front.map((row) => `${row.label} (${number(row.headline[0])} at ${short(row[cost])})`);
  return {
    id: "cost", title: "Exact match against cost", control: choice, points, spec: "cost",
    palette: ["series-1", "series-2", "series-6"], xTitle: COSTS[cost],
    caption: `On the Pareto front, where no row is at least as good in both and better in one: ${names.join(", ") || "none"}.` +
      references.map(({ label, scores }) => ` ${label} (horizontal line): ${interval(scores.exact_match)}.`).join(""),
    table: ["Method", "Exact match", COSTS[cost], "On the front"],
    lines: () => known.map((row) => [row.label, interval(row.headline), count(row[cost]), row.front.includes(cost) ? "yes" : "no"]),
  };
}

// The rows drawn as lines: the first ones and plain_matched.
function lineRows(known) {
  const first = known.slice(0, MAX_LINES);
  return [...first, ...known.filter((row) => row.method === data.baseline && !first.includes(row)).slice(0, 1)];
}

function linesCaption(chosen, known) {
  const baseline = chosen.length > MAX_LINES ? ` and ${data.baseline}` : "";
  return chosen.length < known.length ? `The first ${plural(MAX_LINES, "row")} of ${known.length}${baseline}; filter the table for others.` : "";
}

function distanceChart(visibleRows) {
  const known = visibleRows.filter((row) => row.by_distance);
  const chosen = lineRows(known);
  const binLabel = ([low, high]) => (high < 0 ? "before it" : low === high ? String(low) : `${low}–${high}`);
  const binWords = (bin) => (bin[1] < 0 ? "answer before the name" : `${binLabel(bin)} tokens`);
  return known.length && {
    id: "distance", series: chosen.map((row) => row.label), title: "Exact match by distance from name to fact", spec: "distance",
    points: chosen.flatMap((row) => row.by_distance.map((bin) => {
      const [low, , score, questions] = bin;
      return { series: row.label, distance: binLabel(bin), place: low, mean: score[0], low: score[1], high: score[2],
        text: tooltipText(row, [`${binWords(bin)}: ${interval(score)}`, plural(questions, "question")]) };
    })),
    caption: `Distance of the answer from the last mention of the name before it, in tokens of the trained model. ${linesCaption(chosen, known)}`,
    table: ["Method", ...known[0].by_distance.map((bin) => `${binWords(bin)} (${plural(bin[3], "question")})`)],
    lines: () => known.map((row) => [row.label, ...row.by_distance.map(([, , score]) => interval(score))]),
  };
}

function curveChart(visibleRows) {
  const known = visibleRows.filter((row) => row.curve);
  const chosen = lineRows(known);
  const steps = [...new Set(known.flatMap((row) => row.curve.map(([step]) => step)))].sort((a, b) => a - b);
  return known.length && {
    id: "curve", series: chosen.map((row) => row.label), title: "Exact match by training step", spec: "curve",
    points: chosen.flatMap((row) => row.curve.map(([step, mean]) => ({
      series: row.label, step, mean, text: tooltipText(row, [`after ${count(step)} steps: ${number(mean)}`]) }))),
    caption: `Checkpoints of one run, whose learning-rate schedule ends at the last step. ${linesCaption(chosen, known)}`,
    table: ["Method", ...steps.map(count)],
    lines: () => known.map((row) => [row.label, ...steps.map((step) => number(row.curve.find(([other]) => other === step)?.[1]))]),
  };
}

function reverseChart(visibleRows) {
  const known = visibleRows.filter((row) => row.reverse);
  const most = known.reduce((a, row) => Math.max(a, row.headline[2] ?? row.headline[0], row.reverse[2] ?? row.reverse[0]), 0);
  const points = known.map((row) => ({
    label: row.label, kind: row.method === data.baseline ? data.baseline : "other", named: known.length <= 12, left: row.headline[0] > most / 2,
    direct: row.headline[0], direct_low: row.headline[1], direct_high: row.headline[2],
    mean: row.reverse[0], low: row.reverse[1], high: row.reverse[2], text: tooltipText(row, [`reverse ${interval(row.reverse)}`]),
  }));
  points.push(...[0, most].map((end) => ({ diagonal: true, direct: end, mean: end })));
  return known.length && {
    id: "reverse", title: "Reverse against direct questions", spec: "reverse", palette: ["series-2", "series-6"], points,
    caption: "Exact match of questions from two facts to the name, against that of the direct questions. On the dashed line both are equal.",
    table: ["Method", "Direct", "Reverse"],
    lines: () => known.map((row) => [row.label, interval(row.headline), interval(row.reverse)]),
  };
}

function retentionCharts(visibleRows) {
  const heldOut = visibleRows.length ? visibleRows[0].home.held_out : [];
  return heldOut.map(({ label, metric, before }, index) => {
    const known = visibleRows.filter((row) => row.retention && row.retention[index]);
    const chosen = known.slice(0, RETENTION_ROWS);
    return known.length && {
      id: `retention-${index}`, title: `Retention: ${label}`, spec: "retention", height: 60 + 24 * chosen.length,
      points: chosen.map((row, order) => {
        const [mean, low, high] = row.retention[index];
        return { label: row.label, place: order, mean, low, high, text: tooltipText(row, [`change for the worse ${interval([mean, low, high], true)}`]) };
      }),
      caption: `${metric}, ${number(before)} before training; values right of 0 are a loss.` +
        (chosen.length < known.length ? ` The first ${RETENTION_ROWS} of ${known.length} rows; filter the table for others.` : ""),
      table: ["Method", `Change of ${metric} for the worse`],
      lines: () => known.map((row) => [row.label, interval(row.retention[index], true)]),
    };
  });
}

function drawCharts(visibleRows) {
  const note = !visibleRows.length ? "No row fits these filters."
    : state.table === ALL && !shownTable() ? "Choose one table to see its charts: rows of different tables cannot be compared." : "";
  byId("charts-note").textContent = note;
  byId("charts-note").hidden = !note;
  for (const view of views.values()) view.finalize();
  views.clear();
  const inOrder = [...visibleRows].sort((a, b) => a.id - b.id);
  const charts = note ? [] : [costChart(inOrder), reverseChart(inOrder), distanceChart(inOrder), ...retentionCharts(inOrder), curveChart(inOrder)].filter(Boolean);
  byId("figures").replaceChildren(...charts.map(figure));
  for (const chart of charts) embed(chart);
}

function figure(chart) {
  const { id, title, caption, control, table, lines } = chart;
  const details = make("details", {}, make("summary", {}, "Its numbers"));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) {
      details.append(make("div", { class: "scroll", role: "region", tabindex: "0", "aria-labelledby": `title-${id}` }, grid(table, lines())));
    }
  });
  return make("figure", { id: `figure-${id}`, "aria-labelledby": `title-${id}` },
    make("div", { class: "title" }, make("h3", { id: `title-${id}`, class: "name" }, title), control || ""),
    make("div", { class: "chart", id: `chart-${id}` }),
    make("figcaption", {}, caption), details);
}

async function embed({ id, title, caption, spec: specName, points, palette, height, xTitle, series }) {
  const spec = structuredClone(data.charts[specName]);
  const names = palette || [1, 2, 3, 4, 5, 6, 7].map((n) => `series-${n}`);
  spec.description = `${title}. ${caption}`;
  spec.datasets = { points };
  if (height) spec.height = height;
  for (const parameter of spec.params || []) parameter.value = colour("accent");
  if (xTitle) for (const layer of spec.layer) if (layer.encoding.x) layer.encoding.x.title = xTitle;
  // One domain for all channels, so one legend shows colour and shape, in the order of the rows.
  for (const { encoding } of spec.layer) {
    for (const channel of ["color", "shape", "strokeDash"]) {
      if (series && encoding[channel]) encoding[channel].scale = { domain: series };
    }
  }
  const container = byId(`chart-${id}`);
  const view = await window.vegaEmbed(container, spec, {
    mode: "vega-lite", renderer: points.length > 500 ? "canvas" : "svg", config: chartConfig(names.map(colour), container.clientWidth),
    ast: true, actions: false, defaultStyle: false, tooltip: showTooltip,
    logLevel: 1, // errors alone: a layer without points is normal
  });
  if (container.isConnected) views.set(id, view);
  else view.finalize();
}
