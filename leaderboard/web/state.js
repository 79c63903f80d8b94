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

// Whether a row has the chosen method and all words of the search.
function rowFilter() {
  const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
  return (row) => (!state.method || row.method === state.method) && words.every((word) => row.searchText.includes(word));
}

// The table that is shown: the chosen one, else, of those with a row to show, the one with most records. Null if all are shown.
function shownTable() {
  const fitting = tables.filter(fits);
  if (state.table === ALL) return fitting.length === 1 ? fitting[0] : null;
  const chosen = fitting.find((table) => table.title === state.table);
  if (chosen || !fitting.length) return chosen || null;
  const withRows = new Set(rows.filter(rowFilter()).map((row) => row.home));
  const candidates = fitting.some((table) => withRows.has(table)) ? fitting.filter((table) => withRows.has(table)) : fitting;
  return candidates.reduce((most, table) => (table.records > most.records ? table : most));
}

function shownRows() {
  const table = shownTable();
  const isShown = rowFilter();
  return rows.filter((row) => (state.table === ALL ? fits(row.home) : row.home === table) && isShown(row));
}

// The rows, sorted by a column. Missing values come last in both directions; equal values keep the order of the board.
function sorted(unsorted, column, descending) {
  if (!column) return unsorted;
  // Whole numbers in names are padded so that they compare by value, decimals do so as they are; a collator would take ten
  // times as long.
  const padded = (key) => (typeof key === "string" ? key.replace(/(?<![\d.])\d+/g, (digits) => digits.padStart(8, "0")) : key);
  const keyed = unsorted.map((row) => [padded(column.key(row)), row]);
  const isMissing = (value) => value === null || value === undefined;
  const compare = (a, b) => (typeof a === "string" ? (a < b ? -1 : a > b ? 1 : 0) : a - b);
  keyed.sort(([a, first], [b, second]) => {
    if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b) || first.id - second.id;
    return (descending ? compare(b, a) : compare(a, b)) || first.id - second.id;
  });
  return keyed.map(([, row]) => row);
}
