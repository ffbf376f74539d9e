// Pieces of the page: text, numbers as words, tables that sort, shapes. Text is only ever set as text.
"use strict";

const Parts = (() => {
  const WORDS = 400;

  /** An element with text; long or odd text is shortened and shown as one line. */
  function make(tag, text, className) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  }

  function plain(text, most = WORDS) {
    const line = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (c) => (c === "\n" ? "⏎" : "·"));
    return line.length > most ? `${line.slice(0, most)}… (${text.length} characters)` : line;
  }

  function labelled(labels) {
    const pairs = Object.entries(labels).map(([name, value]) => `${name}="${plain(value, 80)}"`);
    return pairs.length ? `{${pairs.join(", ")}}` : "";
  }

  function duration(seconds) {
    if (seconds === null) return "–";
    const units = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
    let rest = Math.round(seconds);
    const parts = [];
    for (const [unit, size] of units) {
      const count = Math.floor(rest / size);
      rest -= count * size;
      if (count) parts.push(`${count}${unit}`);
    }
    return parts.slice(0, 2).join(" ") || "0s";
  }

  const ratio = (value) => (value === null ? "–" : `${Math.round(100 * value)} %`);
  const share = (value) => (value === null ? "–" : `${(100 * value).toFixed(2)} %`);
  const rate = (value) => (value === null ? "–" : value === 0 ? "0" : value.toFixed(value < 9.95 ? 1 : 0));
  const many = (count, one) => `${count} ${one}${count === 1 ? "" : "s"}`;

  const SVG = "http://www.w3.org/2000/svg";

  function shape(tag, attributes, text) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  // Tables that sort

  function table(element, caption, columns, rows, press) {
    const order = element.order ?? null;
    element.textContent = "";
    element.append(make("caption", caption, "unseen"));
    const head = element.createTHead().insertRow();
    columns.forEach((column, k) => {
      const cell = make("th", undefined, column.text ? "" : "number");
      cell.scope = "col";
      const sorted = order && order.k === k ? (order.up ? "ascending" : "descending") : "none";
      cell.setAttribute("aria-sort", sorted);
      const button = make("button", column.name);
      button.type = "button";
      button.addEventListener("click", () => {
        element.order = { k, up: order && order.k === k ? !order.up : Boolean(column.text) };
        table(element, caption, columns, rows, press);
        element.querySelectorAll("th button")[k].focus();
      });
      cell.append(button);
      head.append(cell);
    });
    const sorted = [...rows];
    if (order) {
      const key = columns[order.k].key;
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        const sign = typeof x === "string" ? x.localeCompare(y) : x - y;
        return order.up ? sign : -sign;
      };
      sorted.sort(compare);
    }
    const body = element.createTBody();
    for (const one of sorted) {
      const row = body.insertRow();
      columns.forEach((column, k) => {
        const cell = k === 0 ? make("th") : make("td");
        if (k === 0) cell.scope = "row";
        if (!column.text) cell.className = "number";
        if (column.kind) cell.className += ` ${column.kind(one)}`;
        const text = column.show(one);
        if (text.length > 40) cell.className += " long";
        if (k === 0 && press?.(one)) {
          const button = make("button", text, "link");
          button.type = "button";
          button.addEventListener("click", press(one));
          cell.append(button);
        } else cell.append(make("bdi", text));
        row.append(cell);
      });
    }
  }

  return { make, plain, labelled, duration, ratio, share, rate, many, shape, table };
})();
