// Event handlers and drawing of the whole page: filters, order, pages of the table, colours.

let drawnCharts = ""; // the table, rows and cost of the charts on the page

function setOptions(select, values, chosen, first) {
  const others = values.map((value) => [value, value]);
  select.replaceChildren(...[...first, ...others].map(([value, text]) => make("option", { value }, text)));
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
    setOptions(byId(key), known, state[key], [["", "all"]]);
  }
  const fitting = tables.filter(fits);
  const table = state.table === ALL ? null : shownTable();
  setOptions(byId("table"), fitting.map(({ title }) => title), table ? table.title : ALL, [[ALL, `all tables (${fitting.length})`]]);
  byId("search").value = state.search;
  byId("columns").checked = Boolean(state.columns);
}

function order(columns) {
  const [id, direction] = state.sort.split(".");
  const column = columns.find((candidate) => candidate.key && candidate.id === id);
  return column ? { column, descending: direction === "down" } : { column: null, descending: false };
}

// The first press puts the greatest value first, for names and costs the smallest; the second press reverses the order.
function sortBy(column) {
  const descendingFirst = !(column.rising || column.text);
  const [id, direction] = state.sort.split(".");
  const down = id === column.id ? direction !== "down" : descendingFirst;
  change({ sort: `${column.id}.${down ? "down" : "up"}` });
  byId(`sort-${column.id}`).focus();
}

function change(changes) {
  state = { ...state, page: "1", ...changes };
  draw();
}

function draw() {
  const fittingRows = shownRows();
  const table = shownTable();
  const all = state.table === ALL && !table;
  const columns = columnsFor(fittingRows, all);
  const sorting = order(columns);
  const pages = Math.max(1, Math.ceil(fittingRows.length / PAGE));
  const page = Math.min(Math.max(1, Number.parseInt(state.page, 10) || 1), pages);
  state.page = String(page);
  const shown = sorted(fittingRows, sorting.column, sorting.descending).slice((page - 1) * PAGE, page * PAGE);
  drawHead(columns, sorting);
  drawBody(columns, shown);
  drawPager(fittingRows.length, page, pages);
  byId("heading").textContent = table ? table.title : all && tables.some(fits) ? "All tables" : "No table";
  byId("summary").textContent = table ? table.summary : "Ranks and differences hold within a table; rows of different tables cannot be compared.";
  byId("status").textContent = `${plural(fittingRows.length, "row")}${sorting.column ? `, sorted by ${sorting.column.title}, ${sorting.descending ? "descending" : "ascending"}` : ""}`;
  writeAddress();
  drawFilters();
  const chartRows = `${table ? table.title : ""}\n${state.cost}\n${fittingRows.map((row) => row.id).join()}`;
  if (chartRows === drawnCharts) return;
  drawnCharts = chartRows;
  drawConditions(all ? null : table);
  if (window.vegaEmbed) drawCharts(fittingRows);
}

function drawPager(total, page, pages) {
  byId("previous").disabled = page === 1;
  byId("next").disabled = page === pages;
  document.querySelector(".pager").classList.toggle("single", pages === 1);
  const from = (page - 1) * PAGE + 1;
  byId("count").textContent = pages === 1 ? plural(total, "row")
    : `rows ${count(from)} to ${count(Math.min(total, page * PAGE))} of ${count(total)}, page ${page} of ${pages}`;
}

function drawConditions(table) {
  byId("alike").hidden = !table;
  if (!table) return;
  byId("alike-note").textContent = `${plural(table.questions, "question")} about ${plural(table.subjects, "subject")} of the test half. ` +
    `Suites: ${table.suites.join(", ")}.`;
  facts(byId("conditions"), table.conditions);
}

function turnPage(by) {
  state.page = String(Number(state.page) + by);
  draw();
  byId("scroll").scrollTop = 0;
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

// Reads or stores the chosen colours. Without storage (some browsers give none to a page from disk) the choice lasts as long as the page.
function storedTheme(value) {
  try {
    if (value === undefined) return localStorage.getItem("board-theme") || "";
    localStorage.setItem("board-theme", value);
  } catch { /* no storage */ }
  return "";
}

const redrawCharts = () => window.vegaEmbed && drawCharts(shownRows());

// Terms and explanations; text between backticks is code.
function drawNotes() {
  const words = (text) => text.split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));
  byId("notes").replaceChildren(...data.notes.map(([term, explanation]) =>
    make("li", {}, make("strong", {}, term), ": ", ...words(explanation))));
}

function start() {
  byId("theme").value = storedTheme();
  setTheme(byId("theme").value);
  byId("theme").addEventListener("change", (event) => {
    storedTheme(event.target.value);
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
    drawnCharts = "";
    change({ ...DEFAULTS });
  });
  byId("previous").addEventListener("click", () => turnPage(-1));
  byId("next").addEventListener("click", () => turnPage(1));
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("main").focus();
  });
  addEventListener("hashchange", () => {
    readAddress();
    draw();
  });
  addEventListener("DOMContentLoaded", redrawCharts);
  drawNotes();
  byId("tokens").hidden = !data.views.length;
  renderTokenViews(byId("views"), data.views);
  addEventListener("resize", fitSheets);
  fitSheets();
  readAddress();
  draw();
}

start();
