"use strict";
{
  const find = (id) => document.getElementById(id);
  const { unit, pairs } = JSON.parse(find("data").textContent);
  const MEAN = -1; // in place of a head's number
  const state = { pair: 0, kind: 0, layer: 0, head: MEAN };
  let kept = { side: "queries", index: 0 }; // the token that was clicked or has the focus
  let pointed = null; // the token under the pointer

  const view = () => pairs[state.pair].kinds[state.kind];
  const otherSide = (side) => (side === "queries" ? "keys" : "queries");

  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children); // a string becomes text, never HTML
    return element;
  }

  // The weight from 0 to 1 that token `query` gives to token `key`.
  function weight(layer, head, query, key) {
    const heads = view().weights[layer];
    if (head !== MEAN) return heads[head][query][key] / unit;
    return heads.reduce((sum, weights) => sum + weights[query][key], 0) / heads.length / unit;
  }

  // How dark a weight is: the square root lets small weights be seen, and the scale is the same everywhere.
  const darkness = (value) => Math.sqrt(Math.min(value, 1));
  const percent = (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)}%`;
  const headName = (head) => (head === MEAN ? "mean of the heads" : `head ${head + 1}`);

  function fillSelect(id, names, value, first) {
    find(id).replaceChildren(...names.map((name, i) => make("option", { value: i + first, textContent: name })));
    find(id).value = value;
  }

  function fillTokens(side) {
    const { title, labels, direction } = view()[side];
    find(`${side}-title`).textContent = (side === "queries" ? "Who attends: " : "To whom: ") + title;
    find(side).dir = direction;
    find(side).replaceChildren(
      ...labels.map((label) => {
        const token = make("div", { className: "token", tabIndex: -1 });
        token.setAttribute("role", "option");
        token.append(make("span", { dir: "auto", textContent: label }), make("small"));
        return token;
      }),
    );
  }

  function showToken() {
    const { side, index } = pointed ?? kept;
    const values = view()[otherSide(side)].labels.map((_, i) =>
      side === "queries" ? weight(state.layer, state.head, index, i) : weight(state.layer, state.head, i, index),
    );
    for (const each of ["queries", "keys"]) {
      [...find(each).children].forEach((token, i) => {
        const value = each === side ? 0 : values[i];
        const isKept = each === kept.side && i === kept.index;
        token.style.setProperty("--weight", darkness(value).toFixed(3));
        token.lastChild.textContent = value >= 0.01 ? percent(value) : "\u00a0";
        token.classList.toggle("shown", each === side && i === index);
        token.setAttribute("aria-selected", isKept);
        token.tabIndex = isKept || (each !== kept.side && i === 0) ? 0 : -1;
      });
    }
    readOut(side, index, values);
  }

  // The five largest weights as a sentence.
  function readOut(side, index, values) {
    const quoted = (label) => make("span", {}, "“", make("bdi", { textContent: label }), "”");
    const largest = values.map((value, i) => [value, i]).sort((a, b) => b[0] - a[0] || a[1] - b[1]).slice(0, 5);
    const parts = largest.flatMap(([value, i], place) => [
      place ? ", " : "",
      quoted(view()[otherSide(side)].labels[i]),
      ` ${percent(value)}`,
    ]);
    const verb = side === "queries" ? " attends to " : " gets the attention of ";
    const where = ` (${view().name.toLowerCase()}, layer ${state.layer + 1}, ${headName(state.head)})`;
    find("readout").replaceChildren(quoted(view()[side].labels[index]), verb, ...parts, where);
  }

  function drawMap(canvas, layer, head) {
    const rows = view().queries.labels.length, columns = view().keys.labels.length;
    const color = getComputedStyle(document.documentElement).getPropertyValue("--map").trim().split(" ").map(Number);
    Object.assign(canvas, { width: columns, height: rows });
    canvas.classList.toggle("coarse", Math.max(rows, columns) <= 40); // more cells than that need smooth shrinking
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const alpha = Math.round(255 * darkness(weight(layer, head, row, column)));
        image.data.set([...color, alpha], 4 * (row * columns + column));
      }
    }
    context.putImageData(image, 0, 0);
  }

  function fillHeads() {
    const layers = view().weights;
    const heads = [MEAN, ...layers[0].keys()];
    const headings = heads.map((head) => make("th", { scope: "col", textContent: head === MEAN ? "mean" : head + 1 }));
    const rows = layers.map((_, layer) => {
      const cells = heads.map((head) => {
        const button = make("button", { type: "button" }, make("canvas"));
        button.setAttribute("aria-label", `layer ${layer + 1}, ${headName(head)}`);
        button.title = button.ariaLabel;
        Object.assign(button.dataset, { layer, head });
        drawMap(button.firstChild, layer, head);
        return make("td", {}, button);
      });
      return make("tr", {}, make("th", { scope: "row", textContent: `layer ${layer + 1}` }), ...cells);
    });
    const table = make("table", {}, make("thead", {}, make("tr", {}, make("td"), ...headings)), make("tbody", {}, ...rows));
    table.style.setProperty("--columns", heads.length);
    find("heads").replaceChildren(table);
  }

  function showHead() {
    find("layer").value = state.layer;
    find("head").value = state.head;
    for (const button of find("heads").querySelectorAll("button")) {
      const isChosen = Number(button.dataset.layer) === state.layer && Number(button.dataset.head) === state.head;
      button.setAttribute("aria-pressed", isChosen);
      button.tabIndex = isChosen ? 0 : -1;
    }
    showToken();
  }

  // After another pair or kind was chosen: everything anew. The layer, the head and the token stay if they exist.
  function showView() {
    const layers = view().weights;
    state.layer = Math.min(state.layer, layers.length - 1);
    state.head = Math.min(state.head, layers[0].length - 1);
    kept.index = Math.min(kept.index, view()[kept.side].labels.length - 1);
    pointed = null;
    fillSelect("layer", layers.map((_, i) => String(i + 1)), state.layer, 0);
    fillSelect("head", ["mean", ...layers[0].map((_, i) => String(i + 1))], state.head, MEAN);
    fillTokens("queries");
    fillTokens("keys");
    fillHeads();
    showHead();
  }

  function showPair() {
    const kinds = pairs[state.pair].kinds;
    state.kind = Math.min(state.kind, kinds.length - 1);
    find("kinds").replaceChildren(
      ...kinds.map(({ name }, i) => {
        const input = make("input", { type: "radio", name: "kind", value: i, checked: i === state.kind });
        return make("label", {}, input, ` ${name}`);
      }),
    );
    showView();
  }

  const tokenAt = (event) => {
    const token = event.target.closest(".token");
    return token && { side: token.parentNode.id, index: [...token.parentNode.children].indexOf(token) };
  };

  function keepToken(event) {
    kept = tokenAt(event) ?? kept;
    pointed = null;
    showToken();
  }

  function moveInTokens(event) {
    const { side, index } = tokenAt(event);
    const tokens = find(side).children, forward = find(side).dir === "rtl" ? "ArrowLeft" : "ArrowRight";
    const backward = forward === "ArrowLeft" ? "ArrowRight" : "ArrowLeft";
    const goal = {
      [forward]: tokens[index + 1],
      [backward]: tokens[index - 1],
      Home: tokens[0],
      End: tokens[tokens.length - 1],
      ArrowDown: side === "queries" && find("keys").querySelector("[tabindex='0']"),
      ArrowUp: side === "keys" && find("queries").querySelector("[tabindex='0']"),
    };
    if (!(event.key in goal)) return;
    event.preventDefault();
    if (goal[event.key]) goal[event.key].focus();
  }

  function moveInHeads(event) {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!step || !event.target.dataset.layer) return;
    event.preventDefault();
    const layer = Number(event.target.dataset.layer) + step[0], head = Number(event.target.dataset.head) + step[1];
    find("heads").querySelector(`[data-layer="${layer}"][data-head="${head}"]`)?.focus();
  }

  for (const side of ["queries", "keys"]) {
    find(side).addEventListener("pointerover", (event) => {
      pointed = tokenAt(event) ?? pointed;
      showToken();
    });
    find(side).addEventListener("pointerleave", () => {
      pointed = null;
      showToken();
    });
    find(side).addEventListener("focusin", keepToken);
    find(side).addEventListener("keydown", moveInTokens);
  }
  find("heads").addEventListener("keydown", moveInHeads);
  for (const type of ["focusin", "click"]) {
    find("heads").addEventListener(type, (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      Object.assign(state, { layer: Number(button.dataset.layer), head: Number(button.dataset.head) });
      showHead();
    });
  }
  find("controls").addEventListener("change", ({ target }) => {
    state[target.id || "kind"] = Number(target.value);
    if (target.id === "pair") showPair();
    else if (target.id) showHead();
    else showView();
  });
  find("controls").addEventListener("submit", (event) => event.preventDefault());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    fillHeads();
    showHead();
  });

  // Inside the output of a notebook, the frame is as high as the page.
  if (window.frameElement) {
    const fit = () => (window.frameElement.style.height = `${document.documentElement.offsetHeight}px`);
    new ResizeObserver(fit).observe(document.documentElement);
  }

  fillSelect("pair", pairs.map(({ title }, i) => `${i + 1}. ${title}`), 0, 0);
  find("pair-control").hidden = pairs.length === 1;
  const first = pairs[0].kinds;
  state.kind = first.length - 1; // the last kind is cross-attention
  state.layer = first[state.kind].weights.length - 1;
  showPair();
}
