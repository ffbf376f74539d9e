// Fills the page from report.json and the packed scores. Text from data is only ever set as text.
"use strict";

(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const report = read("report");
  const scores = read("scores");
  const $ = (id) => document.getElementById(id);
  const { number, moment } = Charts;
  const { make, plain, labelled, duration, ratio, share, rate, many, shape, table } = Parts;
  const named = (incident) => plain(incident.note || incident.signal || "incident", 120);
  const same = (a, b) => a.signal === b.signal && JSON.stringify(a.labels) === JSON.stringify(b.labels);
  const true_ = report.incidents.length > 0;

  /** What happened to the series of a curve: the incidents that concern it, and its alerts. */
  function around(curve) {
    const alerts = report.alerts.filter((one) => same(one, curve));
    const incidents = report.incidents.filter(
      (one) =>
        (!one.signal || one.signal === curve.signal) &&
        Object.entries(one.labels).every(([k, v]) => !Object.hasOwn(curve.labels, k) || curve.labels[k] === v),
    );
    return { alerts, incidents };
  }

  const watched = new Set(Object.values(scores.watched).flat());

  /** Found, missed, or of no series that was read: those are not counted. */
  function outcome(i, delay) {
    if (delay !== null) return "found";
    return watched.has(i) ? "missed" : "not watched";
  }

  // Headline

  function headline(now) {
    const f = now.figures;
    const title = $("headline");
    title.textContent = "";
    if (f.pages_per_week === null) {
      title.textContent = "Nothing was scored: all series were warming up throughout";
      return;
    }
    const pages = `${many(f.pages, "page")}, ${rate(f.pages_per_week)} a week`;
    title.textContent = true_
      ? `${f.found} of ${many(f.incidents, "incident")} found with ${pages}`
      : `You would have had ${pages}`;
  }

  const TILES = [
    ["Found", (f) => (true_ ? `${f.found} / ${f.incidents}` : "–"), (f) => (true_ ? `${f.missed} missed` : "no incidents given")],
    ["Delay", (f) => duration(f.delay_median_seconds), () => "median, onset to alert"],
    ["Pages a week", (f) => rate(f.pages_per_week), (f) => (true_ ? f.false_pages_per_week ? `${rate(f.false_pages_per_week)} of them false` : "none of them false" : `${f.pages} in all`)],
    ["False alarms", (f) => (true_ ? String(f.false_alerts) : "–"), (f) => (true_ ? `of ${many(f.alerts, "alert")}` : "nobody said what is true")],
  ];

  function tiles(now) {
    const list = $("tiles");
    list.textContent = "";
    for (const [name, value, note] of TILES) {
      const box = make("div");
      box.append(make("dt", name), make("dd", value(now.figures), "figure"), make("dd", note(now.figures), "note"));
      list.append(box);
    }
  }

  // Timeline: a lane for the incidents and one for each signal

  const MOST_LANES = 30;

  function timeline(now) {
    const lanes = [...report.signals].sort(
      (a, b) => (now.signals[b.name]?.alerts ?? 0) - (now.signals[a.name]?.alerts ?? 0),
    ).slice(0, MOST_LANES);
    const place = $("timeline");
    const width = Math.max(place.clientWidth, 320);
    const left = width < 600 ? 90 : 190;
    const lane = 20;
    const top = true_ ? 24 : 6;
    const height = top + (lanes.length + report.duels.length) * lane + 24;
    const x = (time) => left + ((time - report.start) / (report.end - report.start)) * (width - left - 4);
    const svg = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img" });
    svg.setAttribute(
      "aria-label",
      `When incidents were and which signals alerted, ${moment(report.start)} to ${moment(report.end)} UTC. ` +
        "The tables below have the same.",
    );
    const days = Math.max((report.end - report.start) / 86400, 1 / 24);
    const every = [1 / 24, 0.25, 1, 2, 7, 14, 28, 91].find((one) => days / one <= (width - left) / 80) * 86400 || 182 * 86400;
    for (let t = Math.ceil(report.start / every) * every; t < report.end; t += every) {
      svg.append(shape("line", { x1: x(t), x2: x(t), y1: top - 4, y2: height - 22, class: "grid" }));
      const text = new Date(t * 1000).toLocaleString("en-GB", {
        timeZone: "UTC", ...(every < 86400 ? { hour: "2-digit", minute: "2-digit", hour12: false } : { day: "numeric", month: "short" }),
      });
      svg.append(shape("text", { x: x(t), y: height - 8, class: "tick", "text-anchor": "middle" }, text));
    }
    if (true_) svg.append(shape("text", { x: left - 10, y: 14, class: "name strong", "text-anchor": "end" }, "incidents"));
    report.incidents.forEach((one, i) => {
      const wide = Math.max(x(Math.min(one.end, report.end)) - x(one.start), 2);
      const result = outcome(i, now.delays[i]);
      const kind = { found: "found", missed: "lost" }[result] ?? "unwatched";
      svg.append(shape("rect", { x: x(one.start), y: 4, width: wide, height: height - 26, class: "during" }));
      const mark = shape("rect", { x: x(one.start), y: 4, width: Math.max(wide, 4), height: 13, rx: 1.5, class: kind });
      mark.append(shape("title", {}, `${named(one)}, ${moment(one.start)}: ${result === "found" ? `found after ${duration(now.delays[i])}` : result}`));
      svg.append(mark);
    });
    const names = [];
    lanes.forEach((signal, k) => {
      const y = top + k * lane;
      svg.append(shape("line", { x1: left, x2: width - 4, y1: y + lane / 2, y2: y + lane / 2, class: "grid" }));
      const name = shape("text", { x: left - 10, y: y + 14, class: "name", "text-anchor": "end" }, plain(signal.name, 60));
      svg.append(name);
      names.push(name);
      for (const one of now.alerts) {
        if (one.signal !== signal.name) continue;
        const wide = Math.max(x(Math.min(one.end, report.end)) - x(one.start), 3);
        const kind = !true_ || one.incidents.length ? "right" : "wrong";
        svg.append(shape("rect", { x: x(one.start), y: y + 4, width: wide, height: lane - 8, rx: 1, class: kind }));
      }
    });
    report.duels.forEach((duel, k) => {
      const y = top + (lanes.length + k) * lane;
      svg.append(shape("line", { x1: left, x2: width - 4, y1: y + lane / 2, y2: y + lane / 2, class: "grid" }));
      const name = shape("text", { x: left - 10, y: y + 14, class: "name other", "text-anchor": "end" }, plain(duel.name, 60));
      svg.append(name, ...Duels.lane(report, now, duel, x, y, lane));
      names.push(name);
    });
    place.textContent = "";
    place.append(svg);
    for (const name of names)
      for (let text = name.textContent; text && name.getComputedTextLength() > left - 14; name.textContent = `${text}…`)
        text = text.slice(0, -1);
    const legend = $("timeline-legend");
    legend.textContent = "";
    const marks = true_
      ? [["found", "incident found"], ["lost", "incident missed"], ["right", "alert of an incident"], ["wrong", "false alarm"]]
      : [["right", "alert"]];
    for (const [kind, text] of marks) {
      const item = make("span");
      item.append(make("i", "", `key ${kind}`), text);
      legend.append(item);
    }
    if (true_ && report.duels.length) legend.append(...Duels.legend());
    const more = report.signals.length - lanes.length;
    if (more > 0) legend.append(make("span", `${more} more signals are in the table`));
  }

  function signals(now, moved) {
    const rows = report.signals.map((one) => ({ ...one, now: now.signals[one.name] ?? one.figures }));
    const figure = (name, key, show = rate) => ({ name, key: (r) => r.now[key], show: (r) => show(r.now[key]) });
    const whole = (name, key, show) => ({ name, key: (r) => r.figures[key], show: (r) => (moved ? "–" : show(r.figures[key])) });
    const columns = [
      { name: "Signal", text: true, key: (r) => r.name, show: (r) => plain(r.name, 80) },
      { name: "Kind", text: true, key: (r) => r.kind, show: (r) => r.kind },
      { name: "Series", key: (r) => r.series, show: (r) => String(r.series) },
      ...(true_ ? [{ name: "Found", key: (r) => r.now.found, show: (r) => `${r.now.found}/${r.now.incidents}` }] : []),
      ...(true_ ? [figure("Delay", "delay_median_seconds", duration), figure("Precision", "precision", ratio)] : []),
      figure("Pages/week", "pages_per_week"),
      ...(true_ ? [figure("False/week", "false_alerts_per_week")] : []),
      whole("In alert", "time_in_alert_ratio", share),
      { name: "No data", key: (r) => r.figures.no_data_ratio, show: (r) => share(r.figures.no_data_ratio) },
      ...(true_ ? [whole("VUS-PR", "vus_pr", (v) => (v === null ? "–" : v.toFixed(2)))] : []),
    ];
    const press = (r) => report.series.some((one) => one.signal === r.name) && (() => explore(r.name));
    table($("signal-table"), "Figures of each signal", columns, rows, press);
  }

  function incidents(now) {
    if (!true_) {
      $("incident-table").replaceWith(make("p", "No incidents were given, so nothing can be found or missed; --incidents, --truth, --alerts or --silences give some.", "note"));
      return;
    }
    const rows = report.incidents.map((one, i) => ({ ...one, i, found: now.delays[i] }));
    const firsts = rows.map((r) => {
      const own = now.alerts.filter((one) => one.incidents.includes(r.i)).sort((a, b) => a.start - b.start);
      return own.length ? plain(own[0].signal, 60) : "";
    });
    const columns = [
      { name: "Onset (UTC)", text: true, key: (r) => r.start, show: (r) => moment(r.start) },
      { name: "Incident", text: true, key: (r) => named(r), show: (r) => named(r) + (r.weak ? " (weak label)" : "") },
      { name: "Length", key: (r) => r.end - r.start, show: (r) => duration(r.end - r.start) },
      { name: "Result", text: true, key: (r) => outcome(r.i, r.found), show: (r) => outcome(r.i, r.found), kind: (r) => ({ found: "good", missed: "bad" })[outcome(r.i, r.found)] ?? "" },
      { name: "Delay", key: (r) => r.found, show: (r) => (r.found === null ? "–" : r.found === 0 ? "at once" : duration(r.found)) },
      { name: "First alert, or why missed", text: true, key: (r) => firsts[r.i] || r.why || "", show: (r) => (r.found === null ? plain(r.why ?? "not at this sensitivity", 200) : firsts[r.i] || "an alert that was firing already") },
    ];
    const press = (r) => {
      const picture = report.pictures.find((one) => one.incident === r.i);
      return picture && (() => {
        const place = $("found-picture");
        place.textContent = "";
        place.append(card(picture));
        place.scrollIntoView({ block: "nearest" });
      });
    };
    table($("incident-table"), "Incidents, and when each was found", columns, rows, press);
  }

  // Pictures

  function card(picture) {
    const { curve } = picture;
    const incident = picture.incident === undefined ? null : report.incidents[picture.incident];
    const alert = picture.alert === undefined ? null : report.alerts[picture.alert];
    const article = make("article", undefined, "card");
    const title = make("h3");
    const side = make("p", undefined, "note");
    if (picture.about === "false") {
      title.append(make("bdi", plain(alert.signal, 80)));
      side.textContent = `${moment(alert.start)} UTC, fired for ${duration(alert.end - alert.start)}, score ${number(alert.peak)}${alert.channel ? `, ${alert.channel}` : ""}`;
    } else {
      title.append(make("bdi", named(incident)));
      const told = picture.about === "missed" ? `missed: ${plain(incident.why ?? "", 200)}` : `found after ${duration(incident.delay)}`;
      side.textContent = `${moment(incident.start)} UTC for ${duration(incident.end - incident.start)}; ${told}`;
    }
    const which = make("p", undefined, "labels");
    which.append(make("bdi", `${plain(curve.signal, 80)} ${labelled(curve.labels)}`));
    const figure = make("figure");
    article.append(title, side, which, figure);
    Charts.show({ curve, ...around(curve), height: 170, label: `${title.textContent}. ${side.textContent}.` }, figure);
    return article;
  }

  function gallery(about, id, none, total) {
    const own = report.pictures.filter((one) => one.about === about);
    const section = $(id);
    section.append(make("p", own.length ? (total > own.length ? `${own.length} of ${total}.` : "") : none, "note"));
    const grid = make("div", undefined, "cards");
    const first = 4;
    own.slice(0, first).forEach((one) => grid.append(card(one)));
    if (own.length) section.append(legend());
    section.append(grid);
    if (own.length > first) {
      const more = make("button", `Show ${own.length - first} more`, "screen more");
      more.type = "button";
      more.addEventListener("click", () => {
        const cards = own.slice(first).map(card);
        grid.append(...cards);
        more.remove();
        cards[0].querySelector(".chart").focus();
      });
      section.append(more);
    }
  }

  function legend() {
    const list = make("p", undefined, "legend");
    for (const [kind, text] of [["line", "observed"], ["dashed", "expected"], ["band", "normal"], ["dot", "anomalous"], ["incident", "incident"], ["right", "alert fires, rightly"], ["wrong", "alert fires, falsely"]]) {
      const item = make("span");
      item.append(make("i", "", `key ${kind}`), text);
      list.append(item);
    }
    return list;
  }

  // Any series

  const titles = report.series.map((one) => plain(`${one.signal} ${labelled(one.labels)}`, 160));

  function list(words) {
    const select = $("series");
    const before = select.value;
    select.textContent = "";
    titles.forEach((title, i) => {
      if (!words.every((word) => title.toLowerCase().includes(word))) return;
      const option = make("option", title);
      option.value = String(i);
      select.append(option);
    });
    if ([...select.options].some((one) => one.value === before)) select.value = before;
    draw();
  }

  let drawn = null;

  function draw() {
    const { value } = $("series");
    if (value === drawn) return;
    drawn = value;
    const place = $("explorer");
    place.textContent = "";
    if (value === "") return void place.append(make("p", "No series matches.", "note"));
    const curve = report.series[Number(value)];
    place.append(legend());
    Charts.show({ curve, ...around(curve), height: 260, label: `${titles[Number(value)]}.` }, place);
    $("series-note").textContent =
      (curve.bucket > report.step
        ? `Each point stands for ${duration(curve.bucket)} and is the step with the highest score in it; the pictures above have every step. `
        : "") + "Drag to zoom, double-click for all; with the keyboard: arrows, plus, minus and 0.";
  }

  function explore(signal) {
    $("filter").value = "";
    list([]);
    $("series").value = String(report.series.findIndex((one) => one.signal === signal));
    draw();
    $("h-series").scrollIntoView();
    $("series").focus({ preventScroll: true });
  }

  // Slider

  function recomputed(factor) {
    const now = Replay.at(report, scores, factor);
    if (factor !== 1) return now;
    const own = report.signals.map((one) => [one.name, one.figures]);
    return {
      ...now, alerts: report.alerts, delays: report.incidents.map((one) => one.delay),
      figures: report.figures, signals: Object.fromEntries(own),
    };
  }

  function slide(spoken) {
    const factor = Number($("factor").value);
    const now = recomputed(factor);
    $("factor-value").textContent = `× ${factor.toFixed(2)}`;
    $("factor-reset").disabled = factor === 1;
    headline(now);
    tiles(now);
    timeline(now);
    signals(now, factor !== 1);
    incidents(now);
    Duels.tables(report, now, $("duel-table"), $("duel-incidents"));
    if (true_) Sweep.draw(report, points, factor, $("sweep"));
    $("factor-note").textContent =
      factor === 1
        ? "As replayed. Move the slider to see what another sensitivity would have found and paged."
        : "An estimate: it moves the edge for the scores of this replay and does not learn again. In a true replay an episode changes " +
          "what is learnt after it, slow trends do not scale, and the band moves too. Pictures stay as replayed. " +
          "To be sure, multiply the sensitivity of each signal in detector.yml and run again, or use --budget.";
    if (spoken) $("spoken").textContent = `${$("headline").textContent}; ${many(now.figures.false_alerts, "false alarm")}.`;
  }

  function notes() {
    const place = $("notes");
    const lines = [...report.notes, ...(report.complete ? [] : ["This run was ended early: it holds what was done by then."])];
    const days = report.signals.flatMap((one) => one.history_days.map(([, length]) => length));
    if (days.length) lines.push(`History behind a day of the replay: ${Math.min(...days).toFixed(1)} to ${Math.max(...days).toFixed(1)} days.`);
    const total = report.signals.reduce((sum, one) => sum + one.series, 0);
    if (total > report.series.length) lines.push(`Curves of ${report.series.length} of ${total} series are in this file, those with the most alerts and then the highest scores; figures are of all.`);
    if (scores.highest < 2) lines.push(`The slider ends at × ${scores.highest}, to keep this file small.`);
    lines.push(`Steps of ${duration(report.step)}; a page is a message of Alertmanager that names something new as firing, or its reminder.`);
    const items = make("ul");
    for (const line of lines) items.append(make("li", plain(line)));
    place.append(items);
  }

  // Colours, paper

  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  function theme() {
    const chosen = document.querySelector("input[name=theme]:checked").value;
    root.dataset.theme = chosen === "auto" ? (system.matches ? "dark" : "light") : chosen;
    Charts.redraw();
  }

  addEventListener("beforeprint", () => {
    root.dataset.theme = "light";
    root.dataset.paper = "";
    timeline(recomputed(Number($("factor").value)));
    Charts.redraw(true);
  });
  addEventListener("afterprint", () => {
    delete root.dataset.paper;
    theme();
    timeline(recomputed(Number($("factor").value)));
  });
  system.addEventListener("change", theme);
  for (const one of document.querySelectorAll("input[name=theme]")) one.addEventListener("change", theme);

  let resizing = 0;
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(resizing);
    resizing = setTimeout(() => {
      slide(false);
      Charts.redraw();
    }, 100);
  });

  theme();
  $("range").textContent = `${moment(report.start)} to ${moment(report.end)} UTC, ${duration(report.end - report.start)}`;
  if (report.required.length) {
    $("gate").hidden = false;
    $("gate").className = report.failed.length ? "gate bad" : "gate good";
    $("gate").textContent = report.failed.length ? plain(report.failed.join("; ")) : "Every requirement holds.";
  }
  const slider = $("factor");
  slider.min = scores.lowest;
  slider.max = scores.highest;
  slider.value = 1;
  slider.addEventListener("input", () => slide(false));
  slider.addEventListener("change", () => slide(true));
  $("factor-reset").addEventListener("click", () => {
    slider.value = 1;
    slide(true);
    slider.focus();
  });
  if (!report.duels.length) $("duels").remove();
  const points = true_ ? Sweep.points(report, (factor) => recomputed(factor).figures, scores) : [];
  if (true_) Sweep.tell(report, points, $("sweep-note"), $("sweep-table"));
  else $("sweeping").remove();
  slide(false);
  if (true_) {
    gallery("missed", "missed", "Nothing was missed.", report.figures.missed);
    gallery("false", "false", "There was no false alarm.", report.figures.false_alerts);
  } else {
    $("missed").remove();
    $("h-false").textContent = "Highest alerts";
    gallery("false", "false", "Nothing fired.", report.figures.false_alerts);
  }
  $("filter").addEventListener("input", (event) => list(event.target.value.toLowerCase().split(/\s+/).filter(Boolean)));
  $("series").addEventListener("change", draw);
  list([]);
  notes();
  document.title = `Backtest: ${$("headline").textContent}`;
  root.dataset.ready = "";
})();
