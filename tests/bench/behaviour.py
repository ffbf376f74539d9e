"""What the detector does on seasonal traffic and slow drifts, beside both Grafana strategies.

    python tests/bench/behaviour.py [--seeds 2] [--quick] [--out behaviour.json]

The cases are those of tests/scenarios.py: one-minute steps, a day of +-50 %, weekends at 70 %, 5 %
correlated noise. The peers see the same samples, at most the nine days they can look back on.
A cell reads `found delay/left`: share of the incidents told of, median steps from the first bad
sample to the alert, most steps from recovery until the alert was off. The detector's alert is
its state (its rules add `for: 2m` for traffic, 5m for drifts); the strategies' is their own rule.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from shared_bench import Detect, add_argument, open_bench
from table import show

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scenarios import (
    DAY,
    HOUR,
    MINUTE,
    WEEK,
    Bools,
    Case,
    Floats,
    Incident,
    Times,
    Verdict,
    at,
    drift,
    episodes,
    judge,
    memory,
    replayed,
    stacked,
    traffic,
    traffic_matrix,
    usual_traffic,
)

OURS = "detector"
HISTORIES = (3, 8, 15, 28)
LONG = 28
HOUR_LONG = {
    "-30 %": 0.7,
    "-45 %": 0.55,
    "-50 %": 0.5,
    "-60 %": 0.4,
    "to zero": 0.0,
    "+30 %": 1.3,
    "+50 %": 1.5,
    "+100 %": 2.0,
}
# Trough, morning, peak, evening.
HOURS = (4, 10, 16, 22)
WEEKDAYS = ("Wed", "Sat", "Sun")
# Both strategies are complete with this much: a week, an hour and their widest window.
PEER_LEAD = 9 * DAY


@dataclass(frozen=True)
class Said:
    """What one detector said of S series: times int64[T], alerts bool[S, T]."""

    times: Times
    on: Bools


class Bench:
    """Runs every detector over the same series."""

    def __init__(self, peers: dict[str, Detect], seeds: int) -> None:
        self.peers = peers
        self.seeds = range(seeds)
        self.names = (OURS, *peers)

    def say(self, times: Times, rows: Floats, kind: str, start: int, end: int) -> dict[str, Said]:
        """Return what each detector says in [start, end); NaN in a row is absence."""
        own = replayed(stacked(times, rows), kind, start, end)
        said = {OURS: Said(own.times, own.on)}
        lead = np.searchsorted(times, start - PEER_LEAD)
        first = np.searchsorted(times, start)
        for name, detect in self.peers.items():
            alerts = [detect(times[lead:], row[lead:])["alert"][first - lead :] for row in rows]
            said[name] = Said(times[first:], np.array(alerts))
        return said

    def verdicts(self, cases: Sequence[Case], start: int, end: int) -> dict[str, list[Verdict]]:
        """Return each detector's verdict on the first incident of each case."""
        samples = traffic_matrix(cases, end)
        said = self.say(samples.times, samples.values, "traffic", start, end)
        return {
            name: [
                judge(one.times, on, case.incidents[0])
                for on, case in zip(one.on, cases, strict=True)
            ]
            for name, one in said.items()
        }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_argument(parser)
    parser.add_argument("--seeds", type=int, default=2, help="series of each case")
    parser.add_argument("--quick", action="store_true", help="15 days of history only")
    parser.add_argument("--out", type=Path, help="JSON with every case")
    options = parser.parse_args()
    bench = Bench(open_bench(options.bench).grafana, options.seeds)
    histories = (15,) if options.quick else HISTORIES

    table, cases = incidents(bench, histories)
    show(
        "Incidents on traffic: found delay/left (steps of a minute)",
        ["incident", "history", *bench.names, f"{OURS} missed at"],
        table,
    )
    behaviours: list[list[Any]] = []
    for part in (repeats, eight_hours, two_incidents, leaving, lasting_change, slow, quiet):
        behaviours += part(bench)
    show(f"Behaviour with {LONG} days of history", ["", *bench.names], behaviours)
    if options.out:
        content = {"incidents": cases, "behaviour": behaviours}
        options.out.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return 0


def incidents(
    bench: Bench, histories: Iterable[int]
) -> tuple[list[list[Any]], list[dict[str, Any]]]:
    """Return the table of incidents by history, and every case with its verdicts."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    kinds = {name: (factor, HOUR) for name, factor in HOUR_LONG.items()}
    kinds["+40 % for a day"] = (1.4, DAY)
    for history in histories:
        for day in WEEKDAYS:
            marks, cases = [], []
            for number, (name, (factor, seconds)) in enumerate(kinds.items()):
                for hour in HOURS:
                    for seed in bench.seeds:
                        begin = at(day, hour)
                        one = Incident(begin, seconds, factor)
                        noise = 1000 * number + 10 * hour + seed
                        cases.append(Case(begin - history * DAY, (one,), noise))
                        marks.append((name, hour))
            verdicts = bench.verdicts(cases, at(day, 0), at(day, 48))
            for i, (name, hour) in enumerate(marks):
                row = {"incident": name, "history": history, "day": day, "hour": hour}
                row |= {who: vars(verdicts[who][i]) for who in bench.names}
                found.setdefault((name, history), []).append(row)
    table: list[list[Any]] = []
    for name in kinds:
        for i, history in enumerate(histories):
            rows = found[name, history]
            cells = (_cell([row[who] for row in rows]) for who in bench.names)
            missed = _missed(rows)
            table.append(["" if i else name, f"{history} d", *cells, missed])
    return table, [row for rows in found.values() for row in rows]


def _cell(verdicts: Sequence[dict[str, Any]]) -> str:
    delays = [one["delay"] for one in verdicts if one["delay"] is not None]
    if not delays:
        return "0 %"
    left = max(one["left"] for one in verdicts)
    share = 100 * len(delays) / len(verdicts)
    return f"{share:.0f} % {np.median(delays):.0f}/{left}"


def _missed(rows: Sequence[dict[str, Any]]) -> str:
    """Return at which hours of which days an incident was missed by the detector."""
    hours: dict[str, list[int]] = {}
    for row in rows:
        if row[OURS]["delay"] is None and row["hour"] not in hours.setdefault(row["day"], []):
            hours[row["day"]].append(row["hour"])
    return ", ".join(
        f"{day} {'all' if len(missed) == len(HOURS) else ' '.join(map(str, missed))}"
        for day, missed in hours.items()
        if missed
    )


def repeats(bench: Bench) -> list[list[Any]]:
    """The same burst, three times the traffic for an hour, again next day and next week."""
    offsets = {"first": 0, "next day": DAY, "next week": 7 * DAY}
    cases = [
        Case(
            WEEK - LONG * DAY,
            tuple(Incident(at("Tue", hour) + offset, HOUR, 3.0) for offset in offsets.values()),
            seed,
        )
        for hour in HOURS
        for seed in bench.seeds
    ]
    end = at("Tue", 24) + 7 * DAY + 6 * HOUR
    samples = traffic_matrix(cases, end)
    said = bench.say(samples.times, samples.values, "traffic", at("Tue", 0), end)
    rows: list[list[Any]] = []
    for i, name in enumerate(offsets):
        cells = []
        for one in said.values():
            verdicts = [
                vars(judge(one.times, on, case.incidents[i]))
                for on, case in zip(one.on, cases, strict=True)
            ]
            cells.append(_cell(verdicts))
        rows.append([f"burst x3 for an hour, {name}", *cells])
    return rows


def eight_hours(bench: Bench) -> list[list[Any]]:
    """An incident of eight hours must not be learnt: what is expected after it, and a day later."""
    rows: list[list[Any]] = []
    for factor in (0.5, 2.0):
        cases = [
            Case(WEEK - LONG * DAY, (Incident(at("Wed", hour), 8 * HOUR, factor),), seed)
            for hour in (2, 8, 14)
            for seed in bench.seeds
        ]
        end = at("Fri", 0)
        samples = traffic_matrix(cases, end)
        own = replayed(samples, "traffic", at("Wed", 0), end)
        usual = usual_traffic(own.times)
        after, later = [], []
        for expected, case in zip(own.expected, cases, strict=True):
            over = np.searchsorted(own.times, case.incidents[0].end)
            off = 100 * (expected / usual - 1)
            after.append(np.nanmean(off[over : over + 120]))
            later.append(np.nanmean(off[over + 960 : over + 1200]))
        said = bench.say(samples.times, samples.values, "traffic", at("Wed", 0), end)
        held, again = [], []
        for one in said.values():
            during, false = 0.0, 0
            for on, case in zip(one.on, cases, strict=True):
                begin, end_of_it = np.searchsorted(
                    one.times, [case.incidents[0].begin, case.incidents[0].end]
                )
                during += on[begin:end_of_it].mean()
                false += len(episodes(on[end_of_it + 60 :]))
            held.append(f"{100 * during / len(cases):.0f} %")
            again.append(f"{false / len(cases):.2f}")
        name = f"8 hours at x{factor:g}"
        rows.append([f"{name}: time in alert", *held])
        rows.append(
            [f"{name}: expected off in the 2 h after it", f"{np.mean(after):+.1f} %", "", ""]
        )
        rows.append([f"{name}: the same hours of next day", f"{np.mean(later):+.1f} %", "", ""])
        rows.append([f"{name}: false episodes in the day after", *again])
    return rows


def two_incidents(bench: Bench) -> list[list[Any]]:
    """A surge, and an outage three hours after it."""
    cases = []
    for day in WEEKDAYS:
        for hour in (1, 7, 13):
            for seed in bench.seeds:
                surge = Incident(at(day, hour), HOUR, 3.0)
                outage = Incident(surge.end + 3 * HOUR, HOUR, 0.0)
                cases.append(Case(surge.begin - LONG * DAY, (surge, outage), 100 * hour + seed))
    end = at("Sun", 24)
    samples = traffic_matrix(cases, end)
    said = bench.say(samples.times, samples.values, "traffic", at("Wed", 0), end)
    cells = []
    for one in said.values():
        right = 0
        for on, case in zip(one.on, cases, strict=True):
            begins = [int(one.times[a]) for a, _ in episodes(on)]
            surge, outage = case.incidents
            of_surge = [t for t in begins if surge.begin <= t < outage.begin]
            of_outage = [t for t in begins if outage.begin <= t < outage.end]
            right += len(of_surge) == 1 and len(of_outage) == 1
        cells.append(f"{100 * right / len(cases):.0f} %")
    return [["a surge, an outage 3 h later: one episode each", *cells]]


def leaving(bench: Bench) -> list[list[Any]]:
    """How long the alert stays after incidents of five minutes to four hours, x0 to x6."""
    cases = [
        Case(at(day, hour) - LONG * DAY, (Incident(at(day, hour), 60 * minutes, factor),), hour)
        for day in ("Wed", "Sun")
        for hour in HOURS[:3]
        for minutes in (5, 15, 60, 240)
        for factor in (0.0, 0.3, 2.0, 4.0, 6.0)
    ]
    cells = []
    verdicts = bench.verdicts(cases, at("Wed", 0), at("Sun", 24))
    for ones in verdicts.values():
        left = [one.left for one in ones if one.delay is not None]
        cells.append(f"{max(left)} steps, {100 * np.mean(np.array(left) <= 6):.0f} % within 6")
    return [["5 min to 4 h, x0 to x6: the alert stays at most", *cells]]


def lasting_change(bench: Bench) -> list[list[Any]]:
    """A permanent change: the hours until the alert is off for good, and until it is expected."""
    rows: list[list[Any]] = []
    for factor in (0.6, 1.4):
        cases = [
            Case(WEEK - LONG * DAY, (Incident(at("Tue", hour), 10 * DAY, factor),), seed)
            for hour in HOURS
            for seed in bench.seeds
        ]
        end = at("Tue", 0) + 6 * DAY
        samples = traffic_matrix(cases, end)
        said = bench.say(samples.times, samples.values, "traffic", at("Tue", 0), end)
        cells = []
        for one in said.values():
            hours, share = [], 0
            for on, case in zip(one.on, cases, strict=True):
                since = on[np.searchsorted(one.times, case.incidents[0].begin) :]
                share += bool(since.any())
                if since.any():
                    hours.append(np.flatnonzero(since)[-1] / 60)
            lasts = f", off after {np.median(hours):.0f} h" if hours else ""
            cells.append(f"{100 * share / len(cases):.0f} %{lasts}")
        rows.append([f"x{factor:g} for good: found", *cells])
        own = replayed(samples, "traffic", at("Tue", 0), end)
        usual = factor * usual_traffic(own.times)
        taken = []
        for expected, case in zip(own.expected, cases, strict=True):
            begin = np.searchsorted(own.times, case.incidents[0].begin)
            taken.append(_taken_over(expected[begin:] / usual[begin:]))
        known = [hours for hours in taken if hours is not None]
        said_so = (
            f"{np.median(known):.0f} h ({min(known):.0f} to {max(known):.0f})" if known else ""
        )
        if len(known) < len(taken):
            said_so += f" {len(taken) - len(known)} of {len(taken)} never"
        rows.append([f"x{factor:g} for good: expected within 10 %", said_so.strip(), "", ""])
    return rows


def _taken_over(ratio: Floats) -> float | None:
    """Return the hours after which expected is within 10 % of usual for 90 % of the next day."""
    near = np.concatenate([[0], np.cumsum(np.abs(ratio - 1) < 0.1)])
    taken = np.flatnonzero(near[1440:] - near[:-1440] >= 0.9 * 1440)
    return float(taken[0]) / 60 if len(taken) else None


def slow(bench: Bench) -> list[list[Any]]:
    """A PSI that climbs from .05 to .20 in six days, a leak from 40 to 95 % in five."""
    rows: list[list[Any]] = []
    count = 4 * len(bench.seeds)
    for name, kind, made, days, marks in (
        ("PSI .05 to .20 in 6 days", "drift", drift, 6, {"day 4": 4.0, "the end": 6.0}),
        ("leak 40 to 95 % in 5 days", "saturation", memory, 5, {"half": 2.5, "the end": 5.0}),
    ):
        end = WEEK + days * DAY
        times = np.arange(WEEK - LONG * DAY, end, MINUTE)
        made_rows = np.array([made(times, seed, (WEEK, days * DAY)) for seed in range(count)])
        said = bench.say(times, made_rows, kind, WEEK, end)
        for mark, day in marks.items():
            cells = []
            for one in said.values():
                here = min(np.searchsorted(one.times, WEEK + round(day * DAY)), one.on.shape[1] - 1)
                cells.append(f"{100 * one.on[:, here].mean():.0f} %")
            rows.append([f"{name}: open at {mark}", *cells])
        opened = []
        for one in said.values():
            first = [on.argmax() / 1440 for on in one.on if on.any()]
            many = np.mean([len(episodes(on)) for on in one.on])
            opened.append(f"day {np.median(first):.1f}, {many:.1f} episodes" if first else "never")
        rows.append([f"{name}: opened on", *opened])
    return rows


def quiet(bench: Bench) -> list[list[Any]]:
    """False episodes per series-week where nothing happens."""
    weeks = 2
    end = WEEK + weeks * 7 * DAY
    times = np.arange(WEEK - LONG * DAY, end, MINUTE)
    count = 10 * len(bench.seeds)
    sources: dict[str, tuple[str, Callable[[Times, int], Floats]]] = {
        "traffic": ("traffic", traffic),
        "PSI": ("drift", drift),
        "memory": ("saturation", memory),
    }
    rows: list[list[Any]] = []
    for name, (kind, made) in sources.items():
        made_rows = np.array([made(times, 1000 + seed) for seed in range(count)])
        said = bench.say(times, made_rows, kind, WEEK, end)
        cells = []
        for one in said.values():
            total = sum(len(episodes(on)) for on in one.on)
            cells.append(f"{total / (count * weeks):.2f}")
        rows.append([f"quiet {name}: false episodes a series-week", *cells])
    return rows


if __name__ == "__main__":
    sys.exit(main())
