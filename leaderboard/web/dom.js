// Makes elements and formats numbers. Text is inserted as text; no function here parses markup.

const byId = (id) => document.getElementById(id);

function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "class") element.className = value;
    else if (key === "click") element.addEventListener("click", value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function makeSvg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// A name that may wrap after each underscore.
const name = (text, more = "") => make("span", { class: `name ${more}` },
  ...text.split(/(?<=_)/).flatMap((part, index) => (index ? [make("wbr"), part] : [part])));
const hidden = (text) => make("span", { class: "hidden" }, text);

// A value exactly between two decimals, rounded to the even one, as Python does it and toFixed does not; others as they are.
function halfToEven(value, digits) {
  const [scaled, isExact] = [Math.abs(value) * 10 ** digits, Number.isInteger(value * 2 ** (digits + 1))];
  if (!isExact || scaled % 1 !== 0.5) return value;
  const whole = Math.floor(scaled);
  return (Math.sign(value) * (whole + (whole % 2))) / 10 ** digits;
}

// Numbers as .392 and -.050, as in the Markdown board.
function number(value, sign = false, digits = 3) {
  if (value === null || value === undefined) return "–";
  const text = (Math.abs(value) < 0.5 * 10 ** -digits ? 0 : halfToEven(value, digits)).toFixed(digits).replace(/^(-?)0\./, "$1.");
  return sign && !text.startsWith("-") ? `+${text}` : text;
}

const bounds = (score, sign = false) => (score[1] === null ? "" : `[${number(score[1], sign)}, ${number(score[2], sign)}]`);
const interval = (score, sign = false) => (score ? `${number(score[0], sign)} ${bounds(score, sign)}`.trim() : "–");
const count = (value) => Math.round(value).toLocaleString("en-US");
const range = ([low, high]) => (low === high ? count(low) : `${count(low)}–${count(high)}`);
const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

function short(value) {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= 0.9995 * size) return `${(value / size).toPrecision(3)} ${unit}`;
  }
  return count(value);
}

const COSTS = { tokens: "Training tokens", seconds: "Seconds of training", seconds_with_writing: "Seconds of training and writing" };
const VERDICTS = { above: " ▲", below: " ▼" };

function scoreCell(score, sign = false, verdict = null) {
  if (!score) return ["–"];
  const mark = VERDICTS[verdict] || "";
  const tone = { above: "up", below: "down" }[verdict] || "";
  return [
    make("span", { class: tone }, number(score[0], sign)),
    " ",
    make("span", { class: "ends" }, bounds(score, sign)),
    mark && make("span", { class: tone, "aria-hidden": "true" }, mark),
    mark && hidden(` ${verdict}`),
  ];
}

// A mean and its interval on a scale from 0 to `most`. Screen readers skip it: the numbers are in the cell beside it.
function whisker(score, most, base) {
  const [width, middle, edge] = [190, 9, 5];
  const at = (value) => (edge + (Math.min(Math.max(value, 0), most) / most) * (width - 2 * edge)).toFixed(1);
  const path = (d, kind) => makeSvg("path", { d, class: kind });
  const parts = [path(`M${edge} ${middle}H${width - edge}`, "rail")];
  if (base) parts.push(path(`M${at(base[0])} 0V18`, "base"));
  if (score[1] !== null) {
    const [low, high] = [at(score[1]), at(score[2])];
    parts.push(path(`M${low} 5V13M${low} ${middle}H${high}M${high} 5V13`, "ends"));
  }
  parts.push(path(`M${at(score[0])} ${middle}h0`, "mean"));
  return makeSvg("svg", { class: "whisker", viewBox: `0 0 ${width} 18`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...parts);
}

// The smallest of these ends of a scale that no value exceeds.
function scaleEnd(values) {
  const most = values.reduce((a, b) => Math.max(a, b), 0.01);
  for (const end of [0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8]) if (most <= end) return end;
  return Math.max(1, most);
}

function facts(list, pairs) {
  list.replaceChildren(...pairs.flatMap(([key, value]) => [make("dt", {}, key), make("dd", {}, value)]));
  return list;
}

function grid(headings, lines) {
  const head = make("tr", {}, ...headings.map((text) => make("th", { scope: "col" }, text)));
  const body = lines.map(([first, ...rest]) =>
    make("tr", {}, make("th", { scope: "row" }, first), ...rest.map((cell) => make("td", {}, cell))));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
}
