// Draws a series with its band, what fired and what was true: uPlot above, the score below.
"use strict";

const Charts = (() => {
  const drawn = new Set();
  const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /** A number as a person would write it. */
  function number(value) {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-4 || size >= 1e15)) return value.toExponential(2);
    return value.toLocaleString("en", { maximumSignificantDigits: 4 });
  }

  function moment(seconds) {
    return new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ");
  }

  const short = (value) => {
    const size = Math.abs(value);
    if (size >= 1e4) return value.toLocaleString("en", { notation: "compact", maximumFractionDigits: 1 });
    return value.toLocaleString("en", { maximumSignificantDigits: 4 });
  };

  /** Hours and minutes, and the date where a day begins. */
  function times(u, list, axis, space, seconds) {
    return list.map((time) => {
      const date = new Date(time * 1000);
      if (time % 86400 === 0) return date.toLocaleString("en-GB", { timeZone: "UTC", day: "numeric", month: "short" });
      return date.toISOString().slice(11, seconds < 60 ? 19 : 16);
    });
  }

  /** Shades spans of time behind the curves, and marks firing along the top edge. */
  function shading(view) {
    const across = (u, a, b) => {
      const left = Math.max(u.valToPos(a, "x", true), u.bbox.left);
      const right = Math.min(u.valToPos(b, "x", true), u.bbox.left + u.bbox.width);
      return [left, Math.max(right - left, devicePixelRatio)];
    };
    const visible = (u, one) => one.end > u.scales.x.min && one.start < u.scales.x.max;
    return {
      hooks: {
        drawClear: (u) => {
          u.ctx.fillStyle = colour("--incident");
          for (const one of view.incidents.filter((i) => visible(u, i))) {
            const [left, width] = across(u, one.start, one.end);
            u.ctx.fillRect(left, u.bbox.top, width, u.bbox.height);
          }
        },
        draw: (u) => {
          const height = 5 * devicePixelRatio;
          for (const one of view.alerts.filter((i) => visible(u, i))) {
            u.ctx.fillStyle = colour(one.incidents.length ? "--right" : "--wrong");
            const [left, width] = across(u, one.start, one.end);
            u.ctx.fillRect(left, u.bbox.top - height, width, height);
          }
        },
      },
    };
  }

  function axes(size, splits) {
    const stroke = colour("--quiet");
    const grid = { stroke: colour("--line"), width: 1 };
    const font = "12px system-ui, sans-serif";
    const common = { stroke, grid, ticks: { show: false }, font };
    const values = (u, list) => list.map((value) => (value === null ? "" : short(value)));
    return [{ ...common, size: 26, space: 64, grid: { show: false }, values: times }, { ...common, size, values, ...splits }];
  }

  function points(curve) {
    return (u) => curve.state.flatMap((state, i) => (state === 1 && curve.observed[i] !== null ? [i] : []));
  }

  function build(view, place, width) {
    const { curve } = view;
    const size = 58;
    const on = { focus: { alpha: 1 }, cursor: { sync: { key: view.key }, points: { size: 7 }, drag: { x: true, y: false } } };
    const x = { time: true, range: (u, min, max) => [min, max] };
    const common = { width, tzDate: utc, legend: { show: false }, ...on };
    const line = { stroke: colour("--ink"), width: 1.4, points: { show: false } };
    const none = { stroke: "transparent", width: 0, points: { show: false } };
    const value = new uPlot(
      {
        ...common,
        height: view.height,
        padding: [10, 8, 0, 0],
        scales: { x },
        axes: axes(size),
        bands: [{ series: [1, 2], fill: colour("--band") }],
        plugins: [shading(view)],
        series: [
          {}, none, none,
          { stroke: colour("--expected"), width: 1.2, dash: [4, 3], points: { show: false } },
          line,
          {
            stroke: "transparent", width: 0,
            points: { show: true, size: 5, width: 0, fill: colour("--anomaly"), filter: points(curve) },
          },
        ],
        hooks: { setScale: [(u, key) => key === "x" && zoomed(view, u)] },
      },
      [curve.times, ...bounds(curve), curve.expected, curve.observed, curve.observed],
      place,
    );
    const top = Math.max(1.2, ...curve.score.filter((one) => one !== null));
    const bars = uPlot.paths.stepped({ align: 1 });
    const score = new uPlot(
      {
        ...common,
        height: 62,
        padding: [2, 8, 8, 0],
        scales: { x, y: { range: [0, Math.min(top, 6)] } },
        axes: [
          { show: false },
          axes(size, { splits: () => [0, 1], space: 8 })[1],
        ],
        series: [{}, { stroke: colour("--score"), fill: colour("--score-fill"), width: 1, paths: bars, points: { show: false } }],
        hooks: {
          setScale: [(u, key) => key === "x" && zoomed(view, u)],
          draw: [(u) => {
            const y = Math.round(u.valToPos(1, "y", true));
            u.ctx.strokeStyle = colour("--anomaly");
            u.ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
            u.ctx.beginPath();
            u.ctx.moveTo(u.bbox.left, y);
            u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
            u.ctx.stroke();
            u.ctx.setLineDash([]);
          }],
        },
      },
      [curve.times, curve.score],
      place,
    );
    view.plots = [value, score];
    if (view.zoom) zoom(view, ...view.zoom);
  }

  /** Lower and upper bound; where one does not exist the band ends at the edge of what is shown. */
  function bounds(curve) {
    const known = [...curve.observed, ...curve.expected, ...curve.lower, ...curve.upper].filter((v) => v !== null);
    const low = Math.min(...known);
    const high = Math.max(...known);
    const either = (bound, instead) => bound.map((v, i) => v ?? (curve.expected[i] === null ? null : instead));
    return [either(curve.upper, high), either(curve.lower, low)];
  }

  function zoomed(view, u) {
    const { min, max } = u.scales.x;
    for (const other of view.plots ?? []) {
      const same = other.scales.x.min === min && other.scales.x.max === max;
      if (other !== u && !same) other.setScale("x", { min, max });
    }
    if (view.plots) view.zoom = [min, max];
  }

  function zoom(view, min, max) {
    view.plots[0].setScale("x", { min, max });
  }

  function whole(view) {
    const { times } = view.curve;
    zoom(view, times[0], times[times.length - 1]);
  }

  /** Arrows move the cursor, plus and minus zoom around it, 0 shows everything again. */
  function keys(view, said) {
    let at = Math.floor(view.curve.times.length / 2);
    return (event) => {
      const { times } = view.curve;
      const [plot] = view.plots;
      const { min, max } = plot.scales.x;
      const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -25, PageDown: 25, Home: -Infinity, End: Infinity };
      if (event.key in moves) {
        at = Math.min(Math.max(at + moves[event.key], 0), times.length - 1);
        if (times[at] < min || times[at] > max) {
          const shift = times[at] < min ? times[at] - min : times[at] - max;
          zoom(view, min + shift, max + shift);
        }
      } else if (event.key === "+" || event.key === "=" || event.key === "-") {
        const half = ((max - min) / 2) * (event.key === "-" ? 2 : 0.5);
        const middle = Math.min(Math.max(times[at], min), max);
        zoom(view, Math.max(middle - half, times[0]), Math.min(middle + half, times[times.length - 1]));
      } else if (event.key === "0" || event.key === "Escape") {
        whole(view);
      } else return;
      event.preventDefault();
      plot.setCursor({ left: plot.valToPos(times[at], "x"), top: 10 });
      said.textContent = reading(view.curve, at);
    };
  }

  function reading(curve, i) {
    const state = ["", "anomalous", "warming up", "no data", "masked"][curve.state[i]];
    const parts = [
      `${moment(curve.times[i])} UTC`,
      `observed ${number(curve.observed[i])}`,
      `expected ${number(curve.expected[i])}`,
      `normal ${number(curve.lower[i])} to ${number(curve.upper[i])}`,
      `score ${number(curve.score[i])}`,
    ];
    return [...parts, state, curve.firing[i] ? "alert fires" : ""].filter(Boolean).join(" · ");
  }

  function table(curve) {
    const box = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = "Values as a table";
    box.append(summary);
    box.addEventListener("toggle", () => {
      if (!box.open || box.children.length > 1) return;
      const shell = document.createElement("div");
      shell.className = "scroll tall";
      shell.tabIndex = 0;
      const grid = document.createElement("table");
      const head = grid.createTHead().insertRow();
      for (const name of ["Time (UTC)", "Observed", "Expected", "Lower", "Upper", "Score", "State", "Alert"]) {
        const cell = document.createElement("th");
        cell.scope = "col";
        cell.textContent = name;
        head.append(cell);
      }
      const body = grid.createTBody();
      curve.times.forEach((time, i) => {
        const row = body.insertRow();
        const states = ["ok", "anomalous", "warming up", "no data", "masked"];
        const numbers = ["observed", "expected", "lower", "upper", "score"].map((name) => number(curve[name][i]));
        for (const text of [moment(time), ...numbers, states[curve.state[i]], curve.firing[i] ? "fires" : ""])
          row.insertCell().textContent = text;
      });
      shell.append(grid);
      box.append(shell);
    });
    return box;
  }

  /**
   * Put a picture into an element. `view` has curve, incidents and alerts (of its series), label
   * (what it shows, in a sentence) and height. It is drawn when it comes into sight.
   */
  function show(view, element) {
    view.key = `picture-${Math.random()}`;
    const place = document.createElement("div");
    place.className = "chart";
    place.tabIndex = 0;
    place.setAttribute("role", "application");
    place.setAttribute("aria-label", `${view.label} Arrow keys read values, plus and minus zoom, 0 shows all.`);
    const said = document.createElement("p");
    said.className = "reading";
    said.setAttribute("aria-live", "polite");
    element.append(place, said, table(view.curve));
    view.place = place;
    view.draw = () => {
      for (const plot of view.plots ?? []) plot.destroy();
      view.plots = null;
      build(view, place, Math.max(place.clientWidth, 280));
      for (const plot of view.plots)
        plot.over.addEventListener("mousemove", () => {
          if (plot.cursor.idx !== null && plot.cursor.idx !== undefined)
            said.textContent = reading(view.curve, plot.cursor.idx);
        });
    };
    place.addEventListener("keydown", (event) => view.plots && keysOf(event));
    const keysOf = keys(view, said);
    drawn.add(view);
    place.style.minHeight = `${view.height + 62}px`;
    seen.observe(place);
    return view;
  }

  const seen = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        seen.unobserve(target);
        for (const view of drawn) if (view.place === target && !view.plots) view.draw();
      }
    },
    { rootMargin: "400px" },
  );

  /** Draw again what was drawn, in the colours and sizes of now; everything when `every`. */
  function redraw(every = false) {
    for (const view of drawn) {
      if (!view.place.isConnected) drawn.delete(view);
      else if (every || view.plots) view.draw();
    }
  }

  return { show, redraw, number, moment };
})();
