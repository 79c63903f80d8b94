// What brings the page to life: the filters, the order, the colours.

let charted = "";

function options(select, values, chosen, words) {
  const known = values.map((value) => [value, value]);
  select.replaceChildren(...[...words, ...known].map(([value, text]) => make("option", { value }, text)));
  select.value = chosen;
}

function drawFilters() {
  const methods = new Set(rows.filter((row) => fits(row.home)).map((row) => row.method));
  const values = {
    task: tables.map((table) => table.task), model: tables.map((table) => table.model),
    suite: tables.flatMap((table) => table.suites), method: [...methods],
  };
  for (const key of CHOICES) {
    const known = [...new Set([...values[key], ...(state[key] ? [state[key]] : [])])].sort();
    options(byId(key), known, state[key], [["", "all"]]);
  }
  const fitting = tables.filter(fits);
  const one = state.table === ALL ? null : shownTable();
  options(byId("table"), fitting.map((table) => table.title), one ? one.title : ALL, [[ALL, `all tables (${fitting.length})`]]);
  byId("search").value = state.search;
  byId("columns").checked = Boolean(state.columns);
}

function order(columns) {
  const [id, direction] = state.sort.split(".");
  const column = columns.find((one) => one.key && one.id === id);
  return column ? { column, descending: direction === "down" } : { column: null, descending: false };
}

// A first press sorts with the better or greater first, names and costs from the least; a second turns it round.
function sortBy(column) {
  const falling = !(column.rising || column.text);
  const [id, direction] = state.sort.split(".");
  const down = id === column.id ? direction !== "down" : falling;
  change({ sort: `${column.id}.${down ? "down" : "up"}` });
  byId(`sort-${column.id}`).focus();
}

function change(what) {
  state = { ...state, page: "1", ...what };
  draw();
}

function draw() {
  const some = shownRows();
  const one = shownTable();
  const all = state.table === ALL && !one;
  const columns = columnsFor(some, all);
  const how = order(columns);
  const pages = Math.max(1, Math.ceil(some.length / PAGE));
  const page = Math.min(Math.max(1, Number.parseInt(state.page, 10) || 1), pages);
  state.page = String(page);
  const shown = sorted(some, how.column, how.descending).slice((page - 1) * PAGE, page * PAGE);
  drawHead(columns, how);
  drawBody(columns, shown);
  drawPager(some.length, page, pages);
  byId("heading").textContent = all || !one ? "All tables" : one.title;
  byId("summary").textContent = all || !one ? "Ranks and differences hold within a table; rows of different tables cannot be compared." : one.summary;
  byId("status").textContent = `${plural(some.length, "row")}${how.column ? `, sorted by ${how.column.title}, ${how.descending ? "descending" : "ascending"}` : ""}`;
  writeAddress();
  const chartable = `${one ? one.title : ""}\n${some.map((row) => row.id).join()}`;
  if (chartable === charted) return;
  charted = chartable;
  drawFilters();
  drawAlike(all ? null : one);
  if (window.vegaEmbed) drawCharts(some);
}

function drawPager(total, page, pages) {
  byId("previous").disabled = page === 1;
  byId("next").disabled = page === pages;
  document.querySelector(".pager").classList.toggle("single", pages === 1);
  const from = (page - 1) * PAGE + 1;
  byId("count").textContent = pages === 1 ? plural(total, "row")
    : `rows ${count(from)} to ${count(Math.min(total, page * PAGE))} of ${count(total)}, page ${page} of ${pages}`;
}

function drawAlike(one) {
  byId("alike").hidden = !one;
  if (!one) return;
  byId("alike-note").textContent = `${plural(one.questions, "question")} about ${plural(one.subjects, "subject")} of the test half. ` +
    `Suites: ${one.suites.join(", ")}.`;
  facts(byId("conditions"), one.conditions);
}

function turn(by) {
  state.page = String(Number(state.page) + by);
  draw();
  byId("scroll").scrollTop = 0;
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

// Where a browser gives a page from disk no storage, the choice lasts as long as the page.
function stored(value) {
  try {
    if (value === undefined) return localStorage.getItem("board-theme") || "";
    localStorage.setItem("board-theme", value);
  } catch { /* nothing to keep it in */ }
  return "";
}

const redrawCharts = () => window.vegaEmbed && drawCharts(shownRows());

function start() {
  for (const table of tables) table.base = null;
  for (const row of rows) if (row.method === data.baseline && !row.home.base) row.home.base = row.headline;
  byId("theme").value = stored();
  setTheme(byId("theme").value);
  byId("theme").addEventListener("change", (event) => {
    stored(event.target.value);
    setTheme(event.target.value);
    redrawCharts();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawCharts);
  for (const key of ["table", ...CHOICES]) byId(key).addEventListener("change", (event) => change({ [key]: event.target.value }));
  byId("search").addEventListener("input", (event) => change({ search: event.target.value }));
  byId("columns").addEventListener("change", (event) => change({ columns: event.target.checked ? "1" : "" }));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", (event) => {
    event.preventDefault();
    charted = "";
    change({ ...DEFAULTS });
  });
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("main").focus();
  });
  addEventListener("hashchange", () => {
    readAddress();
    draw();
  });
  addEventListener("DOMContentLoaded", redrawCharts);
  byId("tokens").hidden = !data.views.length;
  renderTokenViews(byId("views"), data.views);
  addEventListener("resize", fitSheets);
  fitSheets();
  readAddress();
  draw();
}

start();
