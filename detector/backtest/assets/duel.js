// The duel: others beside the detector, on the same data and incidents.
"use strict";

const Duels = (() => {
  const { make, plain, duration, ratio, rate, shape, table } = Parts;
  const { moment } = Charts;

  /** How the detector did, as detector/backtest/duel.py says it; null: the incident concerns nobody. */
  function word(now, duel, i) {
    if (duel.incidents[i].word === null) return null;
    const [ours, theirs] = [now.delays[i], duel.incidents[i].delay];
    if (ours === null || theirs === null) return ours === theirs ? "neither" : ours === null ? "missed" : "alone";
    return ours === theirs ? "same" : ours < theirs ? "earlier" : "later";
  }

  const MARKS = {
    earlier: ["first", "we were earlier, or alone"],
    alone: ["first", ""],
    later: ["second", "the other was earlier"],
    missed: ["beaten", "only the other found it"],
  };
  const PATHS = { first: "M-5 4 L5 4 L0 -5 Z", second: "M-5 -4 L5 -4 L0 5 Z", beaten: "M-4 -4 H4 V4 H-4 Z" };

  const told = (delay) => (delay === null ? "missed" : delay === 0 ? "at once" : duration(delay));

  /** The alerts of a rival along the timeline, and a mark where one of us was first. */
  function lane(report, now, duel, x, y, height) {
    const found = [];
    for (const one of duel.alerts) {
      const wide = Math.max(x(Math.min(one.end, report.end)) - x(one.start), 3);
      const kind = !report.incidents.length || one.incidents.length ? "right" : "wrong";
      found.push(shape("rect", { x: x(one.start), y: y + 7, width: wide, height: height - 14, rx: 1, class: kind }));
    }
    report.incidents.forEach((one, i) => {
      const [kind] = MARKS[word(now, duel, i)] ?? [];
      if (!kind) return;
      const mark = shape("path", { d: PATHS[kind], transform: `translate(${x(one.start)} ${y + height / 2})`, class: `mark ${kind}` });
      mark.append(shape("title", {}, `${moment(one.start)}: detector ${told(now.delays[i])}, ${plain(duel.name, 60)} ${told(duel.incidents[i].delay)}`));
      found.push(mark);
    });
    return found;
  }

  function legend() {
    return Object.values(MARKS).filter(([, text]) => text).map(([kind, text]) => {
      const item = make("span");
      const svg = shape("svg", { width: 12, height: 12, viewBox: "-6 -6 12 12", "aria-hidden": "true" });
      svg.append(shape("path", { d: PATHS[kind], class: `mark ${kind}` }));
      item.append(svg, text);
      return item;
    });
  }

  /** Who found how much at which noise, and each incident: when each of us said it. */
  function tables(report, now, whole, single) {
    if (!report.duels.length) return;
    const { incidents } = report;
    const ours = { name: "detector", figures: now.figures, own: true };
    const count = (r, ...words) => (r.own ? null : incidents.filter((_, i) => words.includes(word(now, r, i))).length);
    const counted = (name, ...words) => ({
      name, key: (r) => count(r, ...words), show: (r) => (r.own ? "" : String(count(r, ...words))),
    });
    const figure = (name, key, show) => ({ name, key: (r) => r.figures[key], show: (r) => show(r.figures[key]) });
    const columns = [
      { name: "Beside us", text: true, key: (r) => r.name, show: (r) => plain(r.name, 60) },
      { name: "Found", key: (r) => r.figures.found, show: (r) => `${r.figures.found}/${r.figures.incidents}` },
      figure("Delay", "delay_median_seconds", duration),
      figure("Precision", "precision", ratio),
      figure("False/week", "false_alerts_per_week", rate),
      figure("Pages/week", "pages_per_week", rate),
      ...(incidents.length
        ? [counted("We: earlier", "earlier"), counted("same", "same"), counted("later", "later"), counted("missed", "missed"), counted("alone", "alone")]
        : []),
    ];
    table(whole, "The detector and others on the same data and incidents", columns, [ours, ...report.duels]);
    if (!incidents.length) return;
    const rows = incidents.map((one, i) => ({ ...one, i })).filter((r) => report.duels[0].incidents[r.i].word !== null);
    const said = (r, duel) => ({ earlier: ", we earlier", later: ", we later", same: ", same", alone: "" }[word(now, duel, r.i)] ?? "");
    const delays = [
      { name: "Onset (UTC)", text: true, key: (r) => r.start, show: (r) => moment(r.start) },
      { name: "Incident", text: true, key: (r) => r.note || r.signal, show: (r) => plain(r.note || r.signal || "incident", 120) },
      { name: "detector", key: (r) => now.delays[r.i], show: (r) => told(now.delays[r.i]) },
      ...report.duels.map((duel) => ({
        name: plain(duel.name, 40),
        key: (r) => duel.incidents[r.i].delay,
        show: (r) => told(duel.incidents[r.i].delay) + said(r, duel),
        kind: (r) => ({ earlier: "good", alone: "good", later: "bad", missed: "bad" })[word(now, duel, r.i)] ?? "",
      })),
    ];
    table(single, "Each incident: how long each took", delays, rows);
  }

  return { lane, legend, tables, word };
})();
