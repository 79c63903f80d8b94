// The token view: renderTokenViews(element, views) shows the token views of leaderboard/tokens in an element.
//
// Offsets count code points, as in Python, so texts are split into arrays of code points. `limits` gives, for each
// quantity of a view, the amount at which its colour is strongest.

function renderTokenViews(element, views) {
  const QUANTITIES = {
    difference: "difference, large − small",
    large: "score in the large model",
    small: "score in the small model",
    keep: "probability that a copy keeps it",
  };
  const threeDigits = (value) => value.toPrecision(3).replace("-", "−");
  const shown = (view) => Object.keys(QUANTITIES).filter((key) => Object.hasOwn(view.limits, key));
  const shades = (view, quantity) =>
    view.tokens.map((token) => Math.max(-1, Math.min(1, token[quantity] / view.limits[quantity])));

  function paint(node, strength) {
    node.classList.add(strength < 0 ? "tokens-low" : "tokens-high");
    node.style.setProperty("--level", `${Math.round(Math.abs(strength) * 100)}%`);
  }

  function describe(view, index) {
    return shown(view).map((key) => `${key} ${threeDigits(view.tokens[index][key])}`).join(", ");
  }

  // The text as nodes: what `perToken` makes of each token, and the text between tokens.
  function textNodes(view, perToken) {
    const letters = Array.from(view.text);
    const nodes = [];
    let end = 0;
    view.tokens.forEach((token, index) => {
      if (token.start > end) nodes.push(letters.slice(end, token.start).join(""));
      nodes.push(perToken(letters.slice(token.start, token.end).join(""), index));
      end = token.end;
    });
    if (end < letters.length) nodes.push(letters.slice(end).join(""));
    return nodes;
  }

  function scale(view, quantity) {
    const steps = view.tokens.some((token) => token[quantity] < 0) ? [-1, -0.5, 0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1];
    const node = make("p", { class: "tokens-scale" }, `${QUANTITIES[quantity]}: `);
    for (const step of steps) {
      const beyond = quantity === "keep" || Math.abs(step) < 1 ? "" : step < 0 ? "≤ " : "≥ ";
      const box = make("span", { class: "tokens-token" }, beyond + threeDigits(step * view.limits[quantity]));
      paint(box, step);
      node.append(box, " ");
    }
    return node;
  }

  function original(view, quantity, description) {
    const strengths = shades(view, quantity);
    const spans = [];
    const text = make("p", { class: "tokens-text", role: "group", "aria-label": "the text, token by token" });
    const showNumbers = (index) => {
      description.textContent = `“${spans[index].textContent}”: ${describe(view, index)}`;
    };
    const nodes = textNodes(view, (letters, index) => {
      // The Tab key reaches one token; the arrow keys move from there.
      const span = make("span", { class: "tokens-token", tabindex: index ? "-1" : "0", title: describe(view, index) }, letters);
      span.setAttribute("aria-label", `${letters}: ${describe(view, index)}`);
      span.setAttribute("role", "img");
      paint(span, strengths[index]);
      span.addEventListener("focus", () => showNumbers(index));
      span.addEventListener("pointerenter", () => showNumbers(index));
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
        ? textNodes(view, (letters, index) => (kept[index] ? letters : make("del", {}, letters)))
        : [copy.text];
      list.append(make("li", {}, ...nodes));
    }
    return list;
  }

  function numbers(view) {
    const letters = Array.from(view.text);
    const keys = shown(view);
    const lines = view.tokens.map((token) =>
      [letters.slice(token.start, token.end).join(""), ...keys.map((key) => threeDigits(token[key]))]);
    const table = grid(["token", ...keys], lines);
    const region = make("div", { class: "tokens-numbers", role: "region", "aria-label": "numbers", tabindex: "0" }, table);
    return make("details", {}, make("summary", {}, "The numbers"), region);
  }

  function field(label, options) {
    const select = make("select");
    for (const [value, text] of options) select.append(make("option", { value }, text));
    return [select, make("label", {}, label, select)];
  }

  element.replaceChildren();
  if (!views.length) return;
  const [textSelect, textLabel] = field("Text", views.map((view, index) => [
    String(index), `${view.pair}: ${view.source} ${view.id}`.replace(/ +/g, " ").trim(),
  ]));
  const [quantitySelect, quantityLabel] = field("Colour", []);
  const about = make("p", { class: "tokens-about" });
  const description = make("p", { class: "tokens-description", role: "status" });
  const body = make("div");
  const draw = () => {
    const view = views[Number(textSelect.value)];
    const previous = quantitySelect.value;
    quantitySelect.replaceChildren(...shown(view).map((key) => make("option", { value: key }, QUANTITIES[key])));
    if (shown(view).includes(previous)) quantitySelect.value = previous;
    const models = view.small === null ? view.large : `${view.large} − ${view.small}`;
    about.textContent = `${models}, ${view.method}, copies of seed ${view.seed}`;
    description.textContent = "Point at a token, or move with Tab and the arrow keys, to read its numbers.";
    body.replaceChildren(scale(view, quantitySelect.value), original(view, quantitySelect.value, description), description);
    if (view.copies.length) body.append(make("h3", {}, "Copies, with removed tokens struck out"), copies(view));
    body.append(numbers(view));
  };
  textSelect.addEventListener("change", draw);
  quantitySelect.addEventListener("change", draw);
  element.append(make("div", { class: "tokens-choice" }, textLabel, quantityLabel), about, body);
  draw();
}
