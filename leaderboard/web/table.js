// The table: its columns, head and rows, and the sheet that opens under a row.

const seedsNote = (row, seeds) =>
  seeds.length === row.seeds.length ? "" : make("span", { class: "tag" }, ` ${seeds.length} of ${row.seeds.length} seeds`);

// How values are sorted and drawn, by the kind of their column (the formats of leaderboard/views/formats.py).
const KINDS = {
  text: { sortKey: (value) => value, draw: (value) => [value === null ? "–" : String(value)] },
  share: { sortKey: (value) => value, draw: (value) => [number(value)] },
  count: { sortKey: (value) => value, draw: (value) => [value === null ? "–" : count(value)] },
  span: { sortKey: (value) => value[1], draw: (value) => [range(value)] },
  score: { sortKey: (value) => value?.[0], draw: (value) => scoreCell(value) },
  difference: {
    sortKey: (value) => value?.interval[0],
    draw: (value, row) => value
      ? [...scoreCell(value.interval, true, value.verdict), seedsNote(row, value.seeds)] : scoreCell(null),
  },
};

const mark = (sign, words) => [make("span", { class: "tag", "aria-hidden": "true" }, ` ${sign}`), hidden(words)];

// Columns that are drawn in a way of their own.
const SPECIAL = {
  rank: { cell: (row) => [String(row.rank), ...(row.among_first ? mark("≈", ", not significantly different from the first") : [])] },
  label: { text: true, head: true },
  tokens: { cell: (row) => [short(row.tokens), ...(row.front.includes("tokens") ? mark("◆", " on the Pareto front") : [])] },
  seeds: {
    key: (row) => row.seeds.length, kind: "seeds",
    cell: (row) => row.seeds.flatMap((seed, index) => [
      make("a", { href: row.records[index], "aria-label": `Record of seed ${seed}` }, String(seed)), " "]),
  },
};

// A column as the table needs it, from its declaration in leaderboard/views/columns.py.
function columnOf({ key, heading, explanation, kind, rising }) {
  const { sortKey, draw } = KINDS[kind];
  return {
    id: key.replace(/\W+/g, "-"), value: key, title: heading, explanation: explanation.replaceAll("`", ""), rising,
    text: kind === "text" && !rising,
    key: (row) => sortKey(row[key]), cell: (row) => draw(row[key], row), drawValue: draw, ...SPECIAL[key],
  };
}

function columnsFor(visibleRows, all) {
  const wide = Boolean(state.columns);
  const declared = all || !visibleRows.length ? data.columns : visibleRows[0].home.columns;
  const isKnown = ({ key }) => !visibleRows.length || visibleRows.some((row) => (row[key] ?? null) !== null);
  const columns = declared.filter((column) => (wide || !column.wide) && isKnown(column)).map(columnOf);
  const insertAfter = (id, column) => columns.splice(columns.findIndex((other) => other.id === id) + 1, 0, column);
  if (all) insertAfter("label", { id: "home", title: "Table", text: true, key: (row) => row.home.title, cell: (row) => [name(row.home.title)], kind: "wrap" });
  const most = scaleEnd(visibleRows.map((row) => Math.max(row.headline[0], row.headline[2] ?? 0)));
  const base = (row) => (all ? null : baselineOf(row)?.headline);
  insertAfter("shots", { id: "whisker", title: "", most, cell: (row) => [whisker(row.headline, most, base(row))], kind: "text" });
  return columns;
}

// The row of the baseline that a row's difference is to: of several, the one that is most like it.
const baselineOf = (row) => rows.find((other) =>
  other.home === row.home && other.method === data.baseline && other.label === (row.to_baseline?.other ?? row.label));

// A reference: the untouched model, without or with the document in the prompt. References stand below the rows and are not ranked.
function referenceLine(reference, columns, table) {
  const cells = columns.map((column) => {
    if (column.head) return make("th", { scope: "row", class: "reference" }, make("a", { href: reference.record }, name(reference.label)),
      reference.questions < table.questions ? make("span", { class: "tag" }, ` ${count(reference.questions)} of ${plural(table.questions, "question")}`) : "");
    const score = reference.scores[column.value];
    const shown = column.id === "shots" ? [String(reference.shots)] : score ? column.drawValue(score) : [""];
    return make("td", { class: column.kind || (column.text ? "text" : null) }, ...shown);
  });
  return make("tr", { class: "reference" }, ...cells);
}

function drawHead(columns, order) {
  const cells = columns.map((column) => {
    const kind = `${column.text || column.kind === "text" ? "text" : ""} ${column.head ? "label" : ""}`;
    if (!column.key) {
      return make("td", { class: kind }, make("span", { class: "scale", "aria-hidden": "true" },
        make("span", {}, "0"), make("span", {}, number(column.most, false, column.most < 0.1 ? 2 : 1))));
    }
    const isSorted = order.column === column;
    const button = make("button", { type: "button", id: `sort-${column.id}`, title: column.explanation, click: () => sortBy(column) }, column.title,
      make("span", { class: "arrow", "aria-hidden": "true" }, isSorted ? (order.descending ? " ▾" : " ▴") : ""));
    return make("th", { scope: "col", class: kind, "aria-sort": isSorted ? (order.descending ? "descending" : "ascending") : "none" }, button);
  });
  byId("head").replaceChildren(make("tr", {}, ...cells));
}

function drawBody(columns, visibleRows) {
  const lines = visibleRows.flatMap((row) => {
    const line = make("tr", { class: "row" }, ...columns.map((column) => column.head
      ? nameCell(row, columns.length)
      : make("td", { class: column.kind || (column.text ? "text" : null) }, ...column.cell(row))));
    return opened.has(row.id) ? [line, sheet(row, columns.length)] : [line];
  });
  const table = visibleRows.length && shownTable();
  if (table) lines.push(...table.references.map((reference) => referenceLine(reference, columns, table)));
  if (!lines.length) lines.push(make("tr", {}, make("td", { class: "text", colspan: columns.length }, "No row fits these filters.")));
  byId("body").replaceChildren(...lines);
}

function nameCell(row, width) {
  const open = opened.has(row.id);
  const tags = [row.tried && `best of ${row.tried}`, row.confirmed && "confirmed", row.pair && `pair ${row.pair}`].filter(Boolean);
  const button = make("button", { type: "button", "aria-expanded": String(open), "aria-controls": `sheet-${row.id}` },
    make("span", {}, name(row.label, row.best ? "first" : ""), row.best ? hidden(", best") : "", ...(tags.length ? [" ", name(tags.join(", "), "tag")] : [])));
  button.addEventListener("click", () => {
    const line = button.closest("tr");
    if (opened.delete(row.id)) line.nextSibling.remove();
    else {
      opened.add(row.id);
      line.after(sheet(row, width));
    }
    button.setAttribute("aria-expanded", String(opened.has(row.id)));
  });
  return make("th", { scope: "row" }, button);
}

function comparison(row, result) {
  if (!result) return [];
  const p = result.p_adjusted;
  const words = [interval(result.interval, true), result.verdict, p === null ? "" : p < 0.001 ? "p (Holm) < .001" : `p (Holm) = ${number(p)}`];
  return [[`Δ to ${result.other}`, make("span", {}, words.filter(Boolean).join(", "), seedsNote(row, result.seeds))]];
}

// What a writer wrote for a row, and what that took.
const writing = (row) => [
  ["writer", `${row.writer} (${row.writer_model})`], ["written texts", count(row.written_texts)], ["texts left out", count(row.left_out)],
  ["tokens of prompts to the writer", count(row.written_prompt_tokens)], ["tokens that it wrote", count(row.written_tokens)],
  ["seconds of writing", row.writing_seconds === null ? "–" : count(row.writing_seconds)],
];

// A sheet is as wide as the visible part of the table, so it stays in view when the table is scrolled sideways.
const fitSheets = () => byId("scroll").style.setProperty("--sheet", `${byId("scroll").clientWidth}px`);

function sheet(row, width) {
  const link = (address, text, more) => make("a", { href: address, ...more }, text);
  const records = grid(["Seed", "Record", "Answers"], row.seeds.map((seed, index) => [
    String(seed), link(row.records[index], "record"), link(row.answers[index], "answers (Parquet)", { download: true })]));
  const treatment = facts(make("dl", { class: "facts" }), [
    ["method", row.method], ["pair", row.pair || "none"], ...row.parameters, ["copies", String(row.copies)], ...(row.chosen || []),
    ["texts", range(row.texts)], ["steps", range(row.steps)], ["training tokens", count(row.tokens)],
    ["tokens of the loss", row.loss_tokens === null ? "–" : count(row.loss_tokens)], ["passes", number(row.epochs, false, 1)],
    ["seconds", row.seconds === null ? "–" : count(row.seconds)],
    ...(row.writer ? writing(row) : []),
    ...comparison(row, row.to_baseline), ...comparison(row, row.to_random),
  ]);
  const columns = row.home.columns.filter(({ key, kind }) => kind === "score" && row[key]);
  const scoresOf = (part) => columns.filter((column) => column.part_of === part && column.key !== "exact_match");
  const most = scaleEnd(scoresOf("fields").map(({ key }) => Math.max(row[key][0], row[key][2] ?? 0)));
  const ways = Object.entries(row.also).map(([way, result]) => [way.replace("_", " "), ...comparison(row, result)[0].slice(1)]);
  const asked = scoresOf("by_shots").map(({ key, heading }) => [heading, interval(row[key])]);
  const kept = row.facts ? [["answer whole", row.facts.answer], ["answer and name", row.facts.answer_and_name], ["tokens against the original", row.facts.tokens], ["invented names and numbers", row.invented]]
    .filter(([, value]) => value !== null).map(([title, value]) => [title, number(value, title.startsWith("tokens"))]) : [];
  const others = [...scoresOf(""), ...scoresOf("other_questions")].map(({ key, heading }) => [heading, interval(row[key])]);
  const fields = scoresOf("fields").map(({ key, heading }) => [heading, interval(row[key]), whisker(row[key], most)]);
  const retention = (row.retention || []).flatMap((score, index) => score
    ? [[row.home.held_out[index].label, make("span", {}, interval(score, true), seedsNote(row, row.retention_seeds[index]))]] : []);
  const part = (title, body) => make("div", {}, make("h3", {}, title), body);
  const inside = make("div", { class: "sheet" },
    part("Records and answers", records),
    fields.length ? part("Exact match by field", grid(["Field", "Mean and interval", ""], fields)) : "",
    part("By number of examples", grid(["Examples", "Exact match"], asked)),
    ways.length ? part(`Asked in other ways, against ${data.baseline}`, grid(["Way", "Difference"], ways)) : "",
    kept.length ? part("Facts kept in the copies", grid(["Share of", ""], kept)) : "",
    others.length ? part("Over all fields", grid(["Metric", "Mean and interval"], others)) : "",
    retention.length ? part("Retention", grid(["Held out", "Change for the worse"], retention)) : "",
    part("Training", treatment));
  return make("tr", { class: "details", id: `sheet-${row.id}` }, make("td", { colspan: width }, inside));
}
