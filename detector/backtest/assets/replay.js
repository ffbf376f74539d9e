// From packed scores to alerts, pages and figures at another sensitivity. The twin of
// detector/backtest/alerting.py, grouping.py and results.py, with which the tests compare it.
"use strict";

const Replay = (() => {
  const WEEK = 604800;
  const ANOMALOUS = 0x8000;
  const NORMAL = 0x4000;

  /** The codes of a series, as detector/backtest/packed.py describes them. */
  function decoded(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Uint16Array.from({ length: bytes.length / 2 }, (_, i) => view.getUint16(2 * i, true));
  }

  /** Steps [a, b) in which a series is anomalous when each sensitivity is multiplied by factor. */
  function episodes(series, factor, leave, calm) {
    const codes = (series.decoded ??= decoded(series.codes));
    const found = [];
    let at = 0;
    series.begins.forEach((begin, k) => {
      let inside = false;
      let before = false;
      let quiet = 0;
      let loud = 0;
      for (let t = begin; t < begin + series.lengths[k]; t++, at++) {
        const code = codes[at] & (NORMAL - 1);
        const on = codes[at] >= ANOMALOUS;
        let active = on;
        if (factor !== 1) {
          const score = code === 1 ? 0.99 : (code / 1000) * factor;
          if (code !== 0) {
            const calmed = code === 1 || (codes[at] & NORMAL) !== 0;
            quiet = calmed ? quiet + 1 : 0;
            loud += calmed ? 0 : 1;
            // The replay ended its episode though the score was not low: the value was normal.
            const ended = before && !on && (code === 1 || code / 1000 >= leave);
            // As episodes.follow: a short one is over after fewer calm steps.
            const enough = Math.min(loud + 1, calm);
            if (inside) inside = !(score < leave || ended || quiet >= enough);
            else if (code !== 1 && score > 1) {
              inside = true;
              quiet = 0;
              loud = 1;
            }
          }
          active = inside && code !== 0;
        }
        if (active) {
          if (found.length && found[found.length - 1][1] === t) found[found.length - 1][1] = t + 1;
          else found.push([t, t + 1]);
        }
        before = on;
      }
    });
    return found;
  }

  /** alerting.evaluated and alerting.firings, for evenly spaced steps. */
  function firings(series, active, step, every) {
    const count = step % every === 0 ? Math.max(step / every, 1) : 1;
    const spacing = step / count;
    const last = series.steps * count;
    const resolved = (end) => Math.min(end + Math.ceil(series.keep / spacing), last);
    const found = [];
    for (const [begin, end] of active) {
      const a = begin * count;
      const b = end * count;
      const newest = found[found.length - 1];
      const fires = a + Math.ceil(series.hold / spacing);
      if (newest && a <= newest.end) newest.end = b >= last ? last : resolved(b);
      else if (fires < b) found.push({ start: fires, end: b >= last ? last : resolved(b), begun: begin });
    }
    return found.map((one) => {
      const start = series.first + one.start * spacing;
      // As results._alert dates it: the run of anomalous steps that the first evaluation sees.
      const first = Math.ceil((one.start * spacing - step + 1) / step);
      const run = active.find(([a, b]) => a <= first && first < b);
      const begun = series.first + (run ? run[0] : one.begun) * step;
      return { start, end: series.first + one.end * spacing, begun };
    });
  }

  /** grouping.pages for one group. */
  function pagesOf(members, route) {
    const found = [];
    let told = new Set();
    let sent = 0;
    let waiting = [...members].sort((x, y) => x.start - y.start || x.end - y.end);
    while (waiting.length) {
      let flush = waiting[0].start + route.group_wait;
      for (;;) {
        const muted = (m) => m.series.muted.some(([a, b]) => a <= flush && flush < b);
        const firing = waiting.filter((m) => m.start <= flush && flush < m.end && !muted(m));
        const now = new Set(firing.map((m) => m.series));
        const fresh = [...now].some((one) => !told.has(one));
        const over = [...told].some((one) => !now.has(one));
        if (fresh || (now.size && flush - sent > route.repeat_interval)) {
          found.push({ time: flush, alerts: firing, repeated: !fresh });
          told = now;
          sent = flush;
        } else if (over) {
          told = now;
          sent = flush;
        }
        const moment = flush;
        waiting = waiting.filter((m) => m.end > moment);
        if (!waiting.some((m) => m.start <= moment)) break;
        flush += route.group_interval;
      }
    }
    return found;
  }

  function median(values) {
    if (!values.length) return null;
    const sorted = [...values].sort((a, b) => a - b);
    const half = sorted.length / 2;
    return (sorted[Math.ceil(half) - 1] + sorted[Math.floor(half)]) / 2;
  }

  function figures(alerts, pages, watched, delays, incidents, weeks, scored) {
    const found = watched.map((i) => delays[i]).filter((delay) => delay !== null);
    const wrong = alerts.filter((one) => !one.incidents.length);
    // Nothing is counted over time where no series was ever scored.
    const perWeek = (count) => (scored ? count / weeks : null);
    const wrongPages = pages.filter((page) => page.alerts.every((one) => !one.incidents.length));
    return {
      incidents: watched.length,
      found: found.length,
      missed: watched.length - found.length,
      recall: watched.length ? found.length / watched.length : null,
      alerts: alerts.length,
      false_alerts: wrong.length,
      precision: alerts.length && incidents.length ? 1 - wrong.length / alerts.length : null,
      delay_median_seconds: median(found),
      false_alerts_per_week: perWeek(wrong.length),
      pages: pages.length,
      pages_per_week: perWeek(pages.length),
      false_pages_per_week: perWeek(wrongPages.length),
    };
  }

  /** Alerts, pages, delays and figures with every signal's sensitivity multiplied by factor. */
  function at(report, scores, factor) {
    const { incidents, step } = report;
    const alerts = [];
    for (const series of scores.series) {
      const active = episodes(series, factor, scores.leave, scores.calm);
      for (const one of firings(series, active, step, scores.every)) {
        const start = one.start + scores.lag;
        const end = one.end + scores.lag;
        const mine = series.incidents.filter((i) => {
          const last = Math.max(incidents[i].end, incidents[i].start + scores.late * step);
          const near = incidents[i].start - scores.early * step <= one.begun && one.begun < last;
          return near && end > incidents[i].start;
        });
        alerts.push({ series, signal: series.signal, start, end, incidents: mine });
      }
    }
    alerts.sort((x, y) => x.start - y.start);
    const groups = new Map();
    for (const alert of alerts) {
      const key = JSON.stringify([alert.signal, alert.series.group]);
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(alert);
    }
    const pages = [...groups.values()].flatMap((members) => pagesOf(members, scores.route));
    pages.sort((x, y) => x.time - y.time);
    const delayAmong = (some) =>
      incidents.map((incident, i) => {
        let delay = null;
        for (const one of some) {
          if (one.incidents.includes(i)) {
            const own = Math.max(one.start - incident.start, 0);
            delay = delay === null ? own : Math.min(delay, own);
          }
          const before = one.start <= incident.start && incident.start < one.end;
          const concerned = one.series.incidents.includes(i);
          if (one.incidents.length && before && concerned && incident.end > incident.start) delay = 0;
        }
        return delay;
      });
    const weeks = (report.end - report.start) / WEEK;
    const every = new Set(Object.values(scores.watched).flat());
    const nobody = !Object.keys(scores.watched).length;
    const watched = incidents.map((_, i) => i).filter((i) => nobody || every.has(i));
    const delays = delayAmong(alerts);
    const scored = (f) => f.pages_per_week !== null;
    const told = new Map(report.signals.map((one) => [one.name, scored(one.figures)]));
    const signals = Object.create(null);
    for (const [name, own] of Object.entries(scores.watched)) {
      const mine = alerts.filter((one) => one.signal === name);
      const sent = pages.filter((page) => page.alerts[0].signal === name);
      signals[name] = figures(mine, sent, own, delayAmong(mine), incidents, weeks, told.get(name));
    }
    return {
      alerts, pages, delays, signals,
      figures: figures(alerts, pages, watched, delays, incidents, weeks, scored(report.figures)),
    };
  }

  return { at, episodes, firings };
})();
