// The token view: renderTokenViews(element, views) fills an element with what files of leaderboard/tokens hold.
//
// The views are data that anybody may have made: all of it goes in as text, never as markup. Offsets count characters
// as Python does (code points), so texts are cut as arrays of them. Colour strengths are as leaderboard/tokens.py says.
"use strict";

function renderTokenViews(element, views) {
  const QUANTITIES = {
    difference: "difference, large − small",
    large: "score in the large model",
    small: "score in the small model",
    keep: "probability that a copy has it",
  };
  const CLIP = 0.9;
  // Characters that steer the direction of writing or cannot be seen; each becomes one replacement character.
  const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
  const clean = (text) => String(text).replace(HIDDEN, "\ufffd");

  const make = (name, attributes = {}, ...children) => {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children.map((child) => (typeof child === "string" ? clean(child) : child)));
    return node;
  };
  const number = (value) => (value === null ? "–" : Number(value).toPrecision(3).replace("-", "−"));
  const shown = (view) => Object.keys(QUANTITIES).filter((key) => view.tokens.every((token) => token[key] !== null));

  function shades(view, quantity) {
    const values = view.tokens.map((token) => token[quantity]);
    const amounts = values.map(Math.abs).sort((a, b) => a - b);
    const limit = quantity === "keep" ? 1 : amounts[Math.ceil(CLIP * amounts.length) - 1] || amounts.at(-1) || 1;
    return { limit, strengths: values.map((value) => Math.max(-1, Math.min(1, value / limit))) };
  }

  function colour(node, strength) {
    node.classList.add(strength < 0 ? "tokens-low" : "tokens-high");
    node.style.setProperty("--level", `${Math.round(Math.abs(strength) * 100)}%`);
  }

  function words(view, quantity) {
    return shown(view).map((key) => `${key} ${number(view.tokens[quantity][key])}`).join(", ");
  }

  // The text with one element per token, and what lies between them as it is.
  function laidOut(view, perToken) {
    const letters = Array.from(view.text);
    const nodes = [];
    let place = 0;
    view.tokens.forEach((token, index) => {
      if (token.start > place) nodes.push(clean(letters.slice(place, token.start).join("")));
      nodes.push(perToken(clean(letters.slice(token.start, token.end).join("")), index));
      place = token.end;
    });
    if (place < letters.length) nodes.push(clean(letters.slice(place).join("")));
    return nodes;
  }

  function scale(view, quantity) {
    const { limit, strengths } = shades(view, quantity);
    const steps = strengths.some((strength) => strength < 0) ? [-1, -0.5, 0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1];
    const node = make("p", { class: "tokens-scale" }, `${QUANTITIES[quantity]}: `);
    for (const step of steps) {
      const beyond = quantity === "keep" || Math.abs(step) < 1 ? "" : step < 0 ? "≤ " : "≥ ";
      const box = make("span", { class: "tokens-token" }, beyond + number(step * limit));
      colour(box, step);
      node.append(box, " ");
    }
    return node;
  }

  function original(view, quantity, told) {
    const { strengths } = shades(view, quantity);
    const spans = [];
    const text = make("p", { class: "tokens-text", role: "group", "aria-label": "the text, token by token" });
    const tell = (index) => {
      told.textContent = `“${spans[index].textContent}”: ${words(view, index)}`;
    };
    const nodes = laidOut(view, (letters, index) => {
      // One token is a stop of the Tab key, the arrow keys go on from there.
      const span = make("span", { class: "tokens-token", tabindex: index ? "-1" : "0", title: words(view, index) }, letters);
      span.setAttribute("aria-label", `${letters}: ${words(view, index)}`);
      span.setAttribute("role", "img");
      colour(span, strengths[index]);
      span.addEventListener("focus", () => tell(index));
      span.addEventListener("pointerenter", () => tell(index));
      spans.push(span);
      return span;
    });
    text.append(...nodes);
    text.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
      const from = spans.indexOf(document.activeElement);
      if (!step || from < 0) return;
      event.preventDefault();
      const to = Math.max(0, Math.min(spans.length - 1, from + step));
      spans[from].tabIndex = -1;
      spans[to].tabIndex = 0;
      spans[to].focus();
    });
    return text;
  }

  function copies(view) {
    const list = make("ol", { class: "tokens-copies" });
    for (const copy of view.copies) {
      const kept = copy.kept;
      const nodes = kept
        ? laidOut(view, (letters, index) => (kept[index] ? letters : make("del", {}, letters)))
        : [copy.text];
      list.append(make("li", {}, ...nodes));
    }
    return list;
  }

  function numbers(view) {
    const head = make("tr", {}, make("th", { scope: "col" }, "token"));
    for (const key of shown(view)) head.append(make("th", { scope: "col" }, key));
    const body = make("tbody");
    const letters = Array.from(view.text);
    for (const token of view.tokens) {
      const row = make("tr", {}, make("th", { scope: "row" }, letters.slice(token.start, token.end).join("")));
      for (const key of shown(view)) row.append(make("td", {}, number(token[key])));
      body.append(row);
    }
    const table = make("table", {}, make("thead", {}, head), body);
    const region = make("div", { class: "tokens-numbers", role: "region", "aria-label": "numbers", tabindex: "0" }, table);
    return make("details", {}, make("summary", {}, "The same in numbers"), region);
  }

  function field(label, options) {
    const select = make("select");
    for (const [value, text] of options) select.append(make("option", { value }, text));
    return [select, make("label", {}, label, select)];
  }

  element.replaceChildren();
  if (!views.length) return;
  const [which, whichLabel] = field("Text", views.map((view, index) => [
    String(index), `${view.pair}: ${view.source} ${view.id}`.replace(/ +/g, " ").trim(),
  ]));
  const [what, whatLabel] = field("Colour", []);
  const about = make("p", { class: "tokens-about" });
  const told = make("p", { class: "tokens-told", role: "status" });
  const body = make("div");
  const draw = () => {
    const view = views[Number(which.value)];
    const before = what.value;
    what.replaceChildren(...shown(view).map((key) => make("option", { value: key }, QUANTITIES[key])));
    if (shown(view).includes(before)) what.value = before;
    const models = view.small === null ? view.large : `${view.large} − ${view.small}`;
    about.textContent = clean(`${models}, ${view.method}, copies of seed ${view.seed}`);
    told.textContent = "Point at a token, or move with Tab and the arrow keys, to read its numbers.";
    body.replaceChildren(scale(view, what.value), original(view, what.value, told), told);
    if (view.copies.length) body.append(make("h3", {}, "Copies, what they lack struck out"), copies(view));
    body.append(numbers(view));
  };
  which.addEventListener("change", draw);
  what.addEventListener("change", draw);
  element.append(make("div", { class: "tokens-choice" }, whichLabel, whatLabel), about, body);
  draw();
}
