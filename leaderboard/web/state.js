// The state of the view: filters, order and page. It is stored in the address after the #, so a view can be linked.

const data = JSON.parse(byId("data").textContent);
const { tables, rows } = data;
tables.forEach((table) => { table.records = 0; });
rows.forEach((row, index) => {
  row.id = index;
  row.home = tables[row.table];
  row.home.records += row.records.length;
  row.headline = row.exact_match;
  row.searchText = `${row.label}\n${row.home.title}\n${row.pair || ""}`.toLowerCase();
});

const PAGE = 50;
const CHOICES = ["task", "model", "suite", "method"];
const ALL = "*";
const DEFAULTS = { table: "", task: "", model: "", suite: "", method: "", search: "", columns: "", cost: "", sort: "", page: "1" };
let state = { ...DEFAULTS };
const opened = new Set();

function readAddress() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  state = { ...DEFAULTS };
  for (const key of Object.keys(DEFAULTS)) if (parameters.has(key)) state[key] = parameters.get(key);
}

function writeAddress() {
  const changed = Object.entries(state).filter(([key, value]) => value !== DEFAULTS[key]);
  const hash = new URLSearchParams(changed).toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

const fits = (table) =>
  (!state.task || table.task === state.task) &&
  (!state.model || table.model === state.model) &&
  (!state.suite || table.suites.includes(state.suite));

// The table that is shown: the chosen one, else the one with most records. Null if all tables are shown.
function shownTable() {
  const fitting = tables.filter(fits);
  if (state.table === ALL) return fitting.length === 1 ? fitting[0] : null;
  const most = Math.max(...fitting.map((table) => table.records));
  return fitting.find((table) => table.title === state.table) || fitting.find((table) => table.records === most) || null;
}

function shownRows() {
  const table = shownTable();
  const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
  const all = state.table === ALL;
  return rows.filter((row) =>
    (all ? fits(row.home) : row.home === table) &&
    (!state.method || row.method === state.method) &&
    words.every((word) => row.searchText.includes(word)));
}

// The rows, sorted by a column. Missing values come last in both directions; equal values keep the order of the board.
function sorted(unsorted, column, descending) {
  if (!column) return unsorted;
  // Digits are padded so that numbers in names compare by value; a collator would take ten times as long.
  const keyOf = column.text ? (row) => column.key(row).replace(/\d+/g, (digits) => digits.padStart(8, "0")) : column.key;
  const keyed = unsorted.map((row) => [keyOf(row), row]);
  const isMissing = (value) => value === null || value === undefined;
  const compare = column.text ? (a, b) => (a < b ? -1 : a > b ? 1 : 0) : (a, b) => a - b;
  keyed.sort(([a, first], [b, second]) => {
    if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b) || first.id - second.id;
    return (descending ? compare(b, a) : compare(a, b)) || first.id - second.id;
  });
  return keyed.map(([, row]) => row);
}
