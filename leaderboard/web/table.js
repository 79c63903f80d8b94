// The table: its columns, head and rows, and the sheet that opens under a row.

const difference = (row, to) => row[to] && row[to].interval;

function columnsFor(visibleRows, all) {
  const has = (test) => visibleRows.some(test);
  const wide = Boolean(state.columns);
  const score = (metric) => (row) => row.scores[metric];
  const scored = (id, title, metric) => ({
    id, title, key: (row) => score(metric)(row)?.[0], cell: (row) => scoreCell(score(metric)(row)),
  });
  const differing = (id, title) => ({
    id, title, key: (row) => difference(row, id)?.[0],
    cell: (row) => [...scoreCell(difference(row, id), true, row[id]?.verdict), row[id] && seedsNote(row, row[id].seeds)],
  });
  const most = scaleEnd(visibleRows.map((row) => Math.max(row.headline[0], row.headline[2] ?? 0)));
  const base = all ? null : visibleRows[0]?.home.base;
  const columns = [
    {
      id: "rank", title: "Rank", key: (row) => row.rank, rising: true,
      cell: (row) => [String(row.rank), row.among_first && make("span", { class: "tag", "aria-hidden": "true" }, " ≈"),
        row.among_first && hidden(", not significantly different from the first")].filter(Boolean),
    },
    { id: "label", title: "Method", text: true, head: true, key: (row) => row.label },
    all && { id: "home", title: "Table", text: true, key: (row) => row.home.title, cell: (row) => [name(row.home.title)], kind: "wrap" },
    scored("exact_match", "Exact match", "exact_match"),
    { id: "shots", title: "Shots", key: (row) => row.shots, rising: true, cell: (row) => [String(row.shots)] },
    { id: "whisker", title: "", most, cell: (row) => [whisker(row.headline, most, base)], kind: "text" },
    has((row) => row.to_baseline) && differing("to_baseline", `Δ to ${data.baseline}`),
    has((row) => row.to_random) && differing("to_random", `Δ to ${data.random}`),
    wide && has(score("f1")) && scored("f1", "F1", "f1"),
    ...(wide && !all && visibleRows.length ? visibleRows[0].by_shots.map(([shots]) => ({
      id: `shots-${shots}`, title: `${shots} shots`, key: (row) => withShots(row, shots)?.[0], cell: (row) => scoreCell(withShots(row, shots)),
    })) : []),
    wide && has(score("answered")) && scored("answered", "Answered", "answered"),
    wide && has((row) => row.of_answered !== null) && { id: "of_answered", title: "Of answered", key: (row) => row.of_answered,
      cell: (row) => [row.of_answered === null ? "–" : number(row.of_answered)] },
    wide && has(score("acc")) && scored("acc", "Choice", "acc"),
    wide && has(score("cloze")) && scored("cloze", "Cloze", "cloze"),
    ...(wide && !all && visibleRows.length ? visibleRows[0].home.fields.map((field, index) => ({
      id: `field-${index}`, title: field, key: (row) => row.fields[index]?.[0], cell: (row) => scoreCell(row.fields[index]),
    })) : []),
    {
      id: "tokens", title: COSTS.tokens, key: (row) => row.tokens, rising: true,
      cell: (row) => [short(row.tokens), row.front.includes("tokens") && make("span", { class: "tag", "aria-hidden": "true" }, " ◆"),
        row.front.includes("tokens") && hidden(" on the Pareto front")].filter(Boolean),
    },
    wide && { id: "seconds", title: COSTS.seconds, key: (row) => row.seconds, rising: true, cell: (row) => [row.seconds === null ? "–" : count(row.seconds)] },
    wide && { id: "steps", title: "Steps", key: (row) => row.steps[1], rising: true, cell: (row) => [range(row.steps)] },
    wide && { id: "texts", title: "Texts", key: (row) => row.texts[1], rising: true, cell: (row) => [range(row.texts)] },
    {
      id: "seeds", title: "Seeds", key: (row) => row.seeds.length, kind: "seeds",
      cell: (row) => row.seeds.flatMap((seed, index) => [
        make("a", { href: row.records[index], "aria-label": `Record of seed ${seed}` }, String(seed)), " "]),
    },
  ];
  return columns.filter(Boolean);
}

const withShots = (row, shots) => row.by_shots.find(([number]) => number === shots)?.[1];

// A reference: the untouched model, without or with the document in the prompt. References stand below the rows and are not ranked.
function referenceLine(reference, columns) {
  const cells = columns.map((column) => {
    if (column.head) return make("th", { scope: "row", class: "reference" }, make("a", { href: reference.record }, name(reference.label)));
    const shown = { shots: [String(reference.shots)] }[column.id]
      || (column.id.startsWith("shots-") ? scoreCell(withShots(reference, Number(column.id.slice(6)))) : scoreCell(reference.scores[column.id]));
    const has = column.id === "shots" || column.id.startsWith("shots-") || reference.scores[column.id];
    return make("td", { class: column.kind || (column.text ? "text" : null) }, ...(has ? shown : [""]));
  });
  return make("tr", { class: "reference" }, ...cells);
}

const seedsNote = (row, seeds) =>
  seeds.length === row.seeds.length ? "" : make("span", { class: "tag" }, ` ${seeds.length} of ${row.seeds.length} seeds`);

function drawHead(columns, order) {
  const cells = columns.map((column) => {
    const kind = `${column.text || column.kind === "text" ? "text" : ""} ${column.head ? "label" : ""}`;
    if (!column.key) {
      return make("td", { class: kind }, make("span", { class: "scale", "aria-hidden": "true" },
        make("span", {}, "0"), make("span", {}, number(column.most, false, column.most < 0.1 ? 2 : 1))));
    }
    const isSorted = order.column === column;
    const button = make("button", { type: "button", id: `sort-${column.id}`, click: () => sortBy(column) }, column.title,
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
  if (table) lines.push(...table.references.map((reference) => referenceLine(reference, columns)));
  if (!lines.length) lines.push(make("tr", {}, make("td", { class: "text", colspan: columns.length }, "No row fits these filters.")));
  byId("body").replaceChildren(...lines);
}

function nameCell(row, width) {
  const open = opened.has(row.id);
  const tags = [row.tried && `best of ${row.tried}`, row.confirmed && "confirmed", row.pair && `pair ${row.pair}`].filter(Boolean);
  const button = make("button", { type: "button", "aria-expanded": String(open), "aria-controls": `sheet-${row.id}` },
    make("span", {}, name(row.label, row.rank === 1 ? "first" : ""), ...(tags.length ? [" ", name(tags.join(", "), "tag")] : [])));
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

function comparison(result) {
  if (!result) return [];
  const p = result.p_adjusted;
  const words = [interval(result.interval, true), result.verdict, p === null ? "" : p < 0.001 ? "p < .001" : `p = ${number(p)}`];
  return [[`Δ to ${result.other}`, words.filter(Boolean).join(", ")]];
}

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
    ...comparison(row.to_baseline), ...comparison(row.to_random),
  ]);
  const most = scaleEnd(row.fields.map((score) => (score ? Math.max(score[0], score[2] ?? 0) : 0)));
  const ways = Object.entries(row.also).map(([way, result]) => [way.replace("_", " "), ...comparison(result)[0].slice(1)]);
  const asked = row.by_shots.map(([shots, score]) => [`${shots} shots`, interval(score)]);
  const kept = row.facts ? [["answer whole", row.facts.answer], ["answer and name", row.facts.answer_and_name], ["tokens against the original", row.facts.tokens]]
    .filter(([, value]) => value !== null).map(([title, value]) => [title, number(value, title.startsWith("tokens"))]) : [];
  const others = [["f1", "F1"], ["answered", "Answered"], ["acc", "Choice"], ["cloze", "Cloze"]].flatMap(([metric, title]) => row.scores[metric]
    ? [[title, interval(row.scores[metric])]] : []);
  const fields = row.home.fields.flatMap((field, index) => row.fields[index]
    ? [[field, interval(row.fields[index]), whisker(row.fields[index], most)]] : []);
  const retention = (row.forgetting || []).flatMap((score, index) => score
    ? [[row.home.held_out[index].label, interval(score, true)]] : []);
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
