// The sweep: how much is found for how many pages, at each sensitivity.
"use strict";

const Sweep = (() => {
  const { make, duration, ratio, rate, shape, table } = Parts;
  const { number } = Charts;
  const COUNT = 14;

  /** True replays when a budget was asked for; else the slider's estimate at each of its places. */
  function points(report, figures, scores) {
    if (report.budget)
      return report.budget.trials.map((one) => ({
        factor: one.sensitivity, pages: one.pages_per_week, recall: one.recall,
      }));
    const step = (scores.highest - scores.lowest) / (COUNT - 1);
    // The slider's own places are twentieths.
    const factors = new Set(Array.from({ length: COUNT }, (_, i) => Math.round((scores.lowest + i * step) * 20) / 20));
    return [...factors.add(1)].sort((a, b) => a - b).map((factor) => {
      const { pages_per_week, recall } = figures(factor);
      return { factor, pages: [pages_per_week], recall: [recall] };
    });
  }

  /** Recall against pages a week; the place of the slider, or what the budget chose, is ringed. */
  function draw(report, list, factor, place) {
    const { budget } = report;
    const width = Math.min(Math.max(place.clientWidth, 300), 620);
    const [height, left, bottom] = [270, 48, 42];
    const most = Math.max(1, ...list.flatMap((one) => one.pages.map(Number)), budget ? budget.pages_per_week : 0) * 1.08;
    const x = (pages) => left + (pages / most) * (width - left - 14);
    const y = (recall) => 12 + (1 - recall) * (height - bottom - 12);
    const svg = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Recall against pages a week at each sensitivity; the table below has the same." });
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      svg.append(shape("line", { x1: left, x2: width - 14, y1: y(share), y2: y(share), class: "grid" }));
      svg.append(shape("text", { x: left - 8, y: y(share) + 4, "text-anchor": "end" }, `${100 * share} %`));
    }
    const size = 10 ** Math.floor(Math.log10(most / 4));
    const every = [1, 2, 5, 10].map((n) => n * size).find((one) => most / one <= 7);
    for (let pages = 0; pages <= most; pages += every)
      svg.append(shape("text", { x: x(pages), y: height - bottom + 18, "text-anchor": "middle" }, number(pages)));
    svg.append(shape("text", { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, "pages a week"));
    svg.append(shape("text", { x: left + 6, y: 9, class: "name" }, "incidents found"));
    if (budget) {
      const at = x(budget.pages_per_week);
      svg.append(shape("line", { x1: at, x2: at, y1: 12, y2: height - bottom, class: "budget" }));
      svg.append(shape("text", { x: at + 5, y: 22, class: "name" }, "budget"));
    }
    // Where nothing was scored there are no pages to count.
    const known = (k) => list.filter((one) => one.recall[k] !== null && one.pages[k] !== null);
    const curves = budget ? [0, 1] : [0];
    for (const k of curves) {
      const some = known(k);
      if (!some.length) continue;
      const path = some.map((one, i) => `${i ? "L" : "M"}${x(one.pages[k])} ${y(one.recall[k])}`).join("");
      svg.append(shape("path", { d: path, class: `curve ${k ? "rest" : ""}` }));
    }
    const ring = budget ? budget.chosen : factor;
    let free = { x: -99, y: -99 };
    for (const one of known(0)) {
      const [cx, cy] = [x(one.pages[0]), y(one.recall[0])];
      const mark = shape("circle", { cx, cy, r: 3.5, class: "dot" });
      mark.append(shape("title", {}, `× ${number(one.factor)}: ${ratio(one.recall[0])} found, ${rate(one.pages[0])} pages a week`));
      svg.append(mark);
      if (one.factor === ring) svg.append(shape("circle", { cx, cy, r: 8, class: "ring" }));
      if (one.factor !== ring && Math.hypot(cx - free.x, cy - free.y) < 48) continue;
      svg.append(shape("text", { x: cx + (cx > width - 60 ? -8 : 8), y: cy > height - bottom - 20 ? cy - 8 : cy + 15, "text-anchor": cx > width - 60 ? "end" : "start" }, `× ${number(one.factor)}`));
      free = { x: cx, y: cy };
    }
    place.textContent = "";
    place.append(svg);
  }

  function tell(report, list, note, grid) {
    const { budget } = report;
    const choice = budget?.trials.find((one) => one.sensitivity === budget.chosen);
    const asked = budget && `at most ${number(budget.pages_per_week)} pages a week`;
    note.textContent = !budget
      ? "The slider's estimate at each of its places; --budget replays each sensitivity and chooses one."
      : (choice
          ? `Sensitivity × ${number(choice.sensitivity)} finds most, ${ratio(choice.recall[0])}, with ${asked} on the first part of the range (line); on the rest ` +
            (choice.pages_per_week[1] === null
              ? "(dashed) nothing was scored: not confirmed."
              : `(dashed) it had ${rate(choice.pages_per_week[1])}: ${choice.pages_per_week[1] <= budget.pages_per_week ? "confirmed" : "not confirmed"}.`)
          : `No sensitivity keeps to ${asked}.`) +
        ` Each point is a true replay, ${duration(budget.trials.reduce((sum, one) => sum + one.seconds, 0))} in all.`;
    const parts = budget ? [["", 0], [", rest", 1]] : [["", 0]];
    const columns = [
      { name: "Sensitivity", key: (r) => r.factor, show: (r) => `× ${number(r.factor)}${budget && r.factor === budget.chosen ? ", chosen" : ""}` },
      ...parts.flatMap(([name, k]) => [
        { name: `Recall${name}`, key: (r) => r.recall[k], show: (r) => ratio(r.recall[k]) },
        { name: `Pages/week${name}`, key: (r) => r.pages[k], show: (r) => rate(r.pages[k]) },
      ]),
    ];
    const box = make("details");
    const body = make("table");
    table(body, "Recall and pages a week at each sensitivity", columns, list);
    box.append(make("summary", "Values as a table"), body);
    grid.append(box);
  }

  return { points, draw, tell };
})();
