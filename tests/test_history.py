"""The seeded past: laid out as asked, consistent in itself, the same for the same seed."""

from __future__ import annotations

import itertools
from collections import deque
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from detector.errors import ConfigError, SourceError
from detector.remote_write import RemoteWriter
from detector.write_request import TimeSeries, encode
from simulator import cli, history, population
from simulator.calibrate import Measurement, measure
from simulator.churn import artefact, binning, distances, featurestore, quality, window
from simulator.churn import reference as references
from simulator.churn import train as training
from simulator.churn.quality import CHECKS, DUPLICATE, RANGE, SCHEMA
from simulator.curve import DAY_SECONDS, requests_per_second
from simulator.episodes import Episode, sizes_at, spread
from simulator.faults import FAULTS
from simulator.past import Past
from simulator.plan import SERIES, plan
from simulator.pools import Pool, pool_codes
from simulator.serving import background_server
from simulator.windows import SlidingCounts

UNTIL = 1_790_000_000.0
COST = Measurement(
    idle_cpu_ratio=0.01,
    request_cpu_seconds=0.004,
    overhead_seconds=0.006,
    wake_late_seconds=0.001,
    resident_bytes=2e8,
)


@pytest.fixture(scope="module")
def reference() -> references.Reference:
    return binning.make_reference(population.synthetic_customers(np.random.default_rng(1), 4000))


@pytest.fixture(scope="module")
def pools(reference: references.Reference) -> list[Pool]:
    """Everyday customers, and those of a drift fault, with made-up scores."""
    out = []
    for size in (0.0, 2.0):
        rng = np.random.default_rng(2)
        customers = list(itertools.islice(population.customer_stream(rng), 3000))
        if size:
            customers = [population.feature_drift(rng, one, size) for one in customers]
        codes = pool_codes(reference, customers)
        scores = rng.beta(1, 4, len(customers))
        never_seen = quality.never_seen(reference, reference.place(customers, scores))
        churned = rng.random(len(scores)) < scores
        out.append(Pool(codes, scores, scores >= 0.5, never_seen, churned))
    return out


def make(
    reference: references.Reference,
    pools: list[Pool],
    start: float,
    episodes: list[Episode] | None = None,
    seed: int = 5,
    phase: float = 0.0,
) -> Past:
    episodes = episodes or []
    return Past(
        start=start,
        end=start + 30 * DAY_SECONDS,
        reference=reference,
        version="abc",
        pools=pools,
        episodes=episodes,
        episode_pools={one: 1 for one in episodes if one.fault == "feature_drift"},
        measurement=COST,
        phase=phase,
        peak=24.0,
        maturity_seconds=30.0,
        window_seconds=60.0,
        rng=np.random.default_rng(seed),
    )


def find(series: list[TimeSeries], name: str, **labels: str) -> np.ndarray:
    found = [
        one.values
        for one in series
        if one.labels["__name__"] == name and labels.items() <= one.labels.items()
    ]
    assert len(found) == 1, (name, labels, len(found))
    return found[0]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=12),
    st.integers(1, 30),
    st.integers(0, 1000),
)
def test_sliding_counts_equal_a_plain_deque(per_interval: list[int], size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool = rng.integers(0, 5, (50, 3)).astype(np.uint8)
    window = SlidingCounts(size, features=3, bins=5)
    plain: deque[int] = deque(maxlen=size)
    for part in (per_interval, per_interval[::-1]):
        customers = rng.integers(0, 50, sum(part)).astype(np.int32)
        counts = window.advance(pool, customers, np.array(part))
        position = 0
        for i, many in enumerate(part):
            plain.extend(customers[position : position + many].tolist())
            position += many
            expected = np.zeros((3, 5), int)
            for customer in plain:
                for feature in range(3):
                    expected[feature, pool[customer, feature]] += 1
            np.testing.assert_array_equal(counts[i], expected)
        assert window.rows == len(plain)


def test_the_plan_ends_one_interval_before_and_gets_dense_at_the_end() -> None:
    made = plan(UNTIL, 4, 30, 3 * 3600, 5, None)
    times = np.concatenate(made.chunks)
    assert made.end == UNTIL - 5
    assert made.steps == len(times)
    gaps = np.diff(times)
    assert set(gaps.tolist()) == {30.0, 5.0}
    assert (gaps == 5.0).sum() == 3 * 3600 / 5 - 1
    assert (np.diff(gaps) <= 0).all()
    assert UNTIL - made.start == pytest.approx(28 * DAY_SECONDS, abs=60)
    assert max(map(len, made.chunks)) <= 2880
    for chunk in made.chunks:
        assert len(set(np.diff(chunk).tolist())) <= 1
    assert made.episodes == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, 5, 3 * 3600, 5), "more than 14 million"),
        ((4, 30, 86400 * 5, 1), "more than 14 million"),
        ((0.01, 30, 3 * 3600, 5), "longer than --recent"),
        ((0, 30, 1, 5), "longer than --recent"),
        ((float("nan"), 30, 1, 5), "longer than --recent"),
        ((float("inf"), 30, 1, 5), "longer than --recent"),
    ],
)
def test_impossible_plans_are_refused(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(UNTIL, *arguments, None)


def test_faults_are_spread_one_or_two_a_day_without_overlap() -> None:
    start = UNTIL - 28 * DAY_SECONDS
    episodes = spread(start, UNTIL, np.random.default_rng(3))
    assert 28 <= len(episodes) <= 56
    assert {one.fault for one in episodes} == set(FAULTS)
    assert all(a.end <= b.start for a, b in itertools.pairwise(episodes))
    assert all(start <= one.start and one.end <= UNTIL for one in episodes)
    assert all(600 <= one.end - one.start <= 3600 for one in episodes)
    for one in episodes:
        assert 0.5 <= one.size / FAULTS[one.fault].default_size <= 1.0
    assert len({int(one.start % DAY_SECONDS // 3600) for one in episodes}) > 8
    assert episodes == spread(start, UNTIL, np.random.default_rng(3))
    assert spread(UNTIL - 3600, UNTIL, np.random.default_rng(3)) == []


def test_sizes_at_the_edges_of_an_episode() -> None:
    sizes = sizes_at([Episode("errors", 0.05, 10, 20)], "errors", np.array([9.9, 10, 19.9, 20]))
    assert sizes.tolist() == [0, 0.05, 0.05, 0]


def test_faults_never_reach_the_recent_part() -> None:
    made = plan(UNTIL, 1, 30, 3 * 3600, 5, np.random.default_rng(1))
    assert made.episodes
    assert max(one.end for one in made.episodes) <= UNTIL - 3 * 3600


@pytest.fixture(scope="module")
def day(reference: references.Reference, pools: list[Pool]) -> tuple[np.ndarray, list[TimeSeries]]:
    times = UNTIL + 30.0 * np.arange(1, 2881)
    return times, make(reference, pools, UNTIL).samples(times)


def test_traffic_follows_the_curve(day: tuple[np.ndarray, list[TimeSeries]]) -> None:
    times, series = day
    ok = find(series, "http_requests_total", status="200")
    bad = find(series, "http_requests_total", status="503")
    per_hour = np.diff(ok + bad, prepend=0).reshape(24, 120).sum(axis=1)
    expected = 30 * requests_per_second(times - 15).reshape(24, 120).sum(axis=1)
    # Poisson: the deviations are of the size of the square root.
    z = (per_hour - expected) / np.sqrt(expected)
    assert np.abs(z).max() < 4
    assert 0.5 < z.std() < 1.6
    assert bad[-1] / (ok + bad)[-1] == pytest.approx(featurestore.ERROR_PROBABILITY, rel=0.1)
    assert find(series, "http_requests_total", status="422")[-1] == 0
    np.testing.assert_allclose(
        find(series, "traffic_target_requests_per_second"), requests_per_second(times)
    )


def test_everything_that_counts_the_same_requests_agrees(
    day: tuple[np.ndarray, list[TimeSeries]],
) -> None:
    _, series = day
    ok = find(series, "http_requests_total", status="200")
    total = ok + find(series, "http_requests_total", status="503")
    np.testing.assert_array_equal(find(series, "http_request_duration_seconds_count"), total)
    np.testing.assert_array_equal(
        find(series, "http_request_duration_seconds_bucket", le="+Inf"), total
    )
    np.testing.assert_array_equal(
        find(series, "feature_store_request_duration_seconds_count"), total
    )
    np.testing.assert_array_equal(find(series, "churn_score_count"), ok)
    classes = [find(series, "churn_predictions_total", **{"class": c}) for c in ("churn", "stay")]
    np.testing.assert_array_equal(sum(classes), ok)
    np.testing.assert_array_equal(find(series, "traffic_requests_sent_total", outcome="ok"), ok)
    np.testing.assert_array_equal(find(series, "churn_quality_checked_total"), ok)
    violations = {c: find(series, "churn_quality_violations_total", check=c) for c in CHECKS}
    # Everyday customers hardly leave the range of the training data, and none comes twice.
    assert 0 < violations[RANGE][-1] < 0.05 * ok[-1]
    assert violations[SCHEMA][-1] == violations[DUPLICATE][-1] == 0


def test_counters_never_fall_and_buckets_are_cumulative(
    day: tuple[np.ndarray, list[TimeSeries]],
) -> None:
    times, series = day
    endings = ("_total", "_bucket", "_count", "_sum")
    for one in series:
        if one.labels["__name__"].endswith(endings):
            assert (np.diff(one.values) >= 0).all(), one.labels
        assert one.labels["job"] in ("churn", "traffic")
        assert one.labels["instance"] == one.labels["job"] + "-0"
        np.testing.assert_array_equal(one.timestamps_ms, (times * 1000).astype(np.int64))
    buckets = [
        one.values
        for one in series
        if one.labels["__name__"] == "http_request_duration_seconds_bucket"
    ]
    assert (np.diff(np.stack(buckets), axis=0) >= 0).all()
    labels = [tuple(sorted(one.labels.items())) for one in series]
    assert len(set(labels)) == len(labels)
    assert len(series) <= SERIES


def test_durations_are_look_up_plus_overhead(day: tuple[np.ndarray, list[TimeSeries]]) -> None:
    _, series = day
    total = find(series, "http_request_duration_seconds_count")[-1]
    lookup = find(series, "feature_store_request_duration_seconds_sum")[-1] / total
    duration = find(series, "http_request_duration_seconds_sum")[-1] / total
    mean = featurestore.MEDIAN_SECONDS * np.exp(featurestore.SIGMA**2 / 2)
    assert lookup == pytest.approx(mean + 0.001, rel=0.005)
    assert duration - lookup == pytest.approx(0.006, rel=0.1)
    below = find(series, "http_request_duration_seconds_bucket", le="0.075")[-1] / total
    draws = featurestore.draw_seconds(np.random.default_rng(0), 200_000) + 0.007
    assert below == pytest.approx((draws <= 0.075).mean(), abs=0.01)


def test_saturation_follows_the_measurement(day: tuple[np.ndarray, list[TimeSeries]]) -> None:
    times, series = day
    rate = requests_per_second(times)
    in_flight = find(series, "http_requests_in_flight")
    expected = rate * (0.0674 + 0.006)
    assert in_flight.mean() == pytest.approx(expected.mean(), rel=0.05)
    cpu = find(series, "process_cpu_seconds_total")[-1] / 86400
    assert cpu == pytest.approx(0.01 + 0.004 * rate.mean(), rel=0.15)
    memory = find(series, "process_resident_memory_bytes")
    assert memory.mean() == pytest.approx(2e8, rel=0.05)
    assert (memory % 4096 == 0).all()


def test_drift_is_the_real_statistic_on_overlapping_windows(
    day: tuple[np.ndarray, list[TimeSeries]], reference: references.Reference, pools: list[Pool]
) -> None:
    _, series = day
    rng = np.random.default_rng(11)
    for feature in reference.features:
        column = [one.name for one in reference.features].index(feature.name)
        seeded = find(series, "churn_feature_drift", feature=feature.name)
        windows = rng.choice(pools[0].codes[:, column], (300, window.WINDOW_SIZE))
        counts = (windows[:, :, None] == np.arange(feature.bins)).sum(axis=1)
        independent = distances.statistics_from_counts(feature, counts)
        assert np.nanmedian(seeded) == pytest.approx(np.nanmedian(independent), rel=0.15)
        missing = find(series, "churn_feature_missing_ratio", feature=feature.name)
        assert missing.mean() == pytest.approx((windows == pools[0].codes.max()).mean(), abs=0.01)
    # At night two windows 30 s apart share most of their customers, hours apart none.
    value = find(series, "churn_feature_drift", feature="MONTANT")
    centred = value - value.mean()
    night = requests_per_second(UNTIL + 30.0 * np.arange(1, 2881)) < 12
    together = np.corrcoef(centred[:-1][night[:-1]], centred[1:][night[:-1]])[0, 1]
    apart = np.corrcoef(centred[:-100], centred[100:])[0, 1]
    assert together > 0.35
    assert abs(apart) < 0.2


@pytest.mark.parametrize("fault", list(FAULTS))
def test_each_fault_changes_what_it_should(
    fault: str, reference: references.Reference, pools: list[Pool]
) -> None:
    episode = Episode(fault, FAULTS[fault].default_size, UNTIL + 3600, UNTIL + 7200)
    times = UNTIL + 30.0 * np.arange(1, 361)
    past = make(reference, pools, UNTIL, [episode])
    if fault == "missing_values":
        past = make(reference, [pools[0], without_amounts(reference, pools[0])], UNTIL, [episode])
        past._episode_pools = {episode: 1}
    series = past.samples(times)
    truth = find(series, "simulator_fault_active", fault=fault)
    assert truth.sum() == 120
    assert (
        find(series, "simulator_fault_active", fault=next(f for f in FAULTS if f != fault)).sum()
        == 0
    )
    before, during = slice(0, 119), slice(135, 238)

    def rate(name: str, part: slice, **labels: str) -> float:
        return float(np.diff(find(series, name, **labels)[part]).mean())

    def share(part: slice) -> float:
        name = "http_requests_total"
        bad = rate(name, part, status="503")
        return bad / (bad + rate(name, part, status="200"))

    def seconds(part: slice) -> float:
        name = "http_request_duration_seconds"
        return rate(f"{name}_sum", part) / max(rate(f"{name}_count", part), 1e-9)

    factor = rate("http_request_duration_seconds_count", during) / (
        rate("http_request_duration_seconds_count", before)
    )
    expected = {"traffic_zero": 0.0, "traffic_drop": 0.5, "traffic_surge": 2.0}.get(fault, 1.0)
    curve = requests_per_second(times)
    assert factor == pytest.approx(expected * curve[during].mean() / curve[before].mean(), abs=0.05)
    if fault == "latency":
        assert seconds(during) - seconds(before) == pytest.approx(0.2, abs=0.01)
    if fault == "errors":
        assert share(during) == pytest.approx(0.064, rel=0.15)
    else:
        assert share(before) == pytest.approx(0.004, abs=0.002)
    drifted = find(series, "churn_feature_drift", feature="MONTANT")
    drifts = drifted[during].mean() > 4 * drifted[before].mean()
    assert drifts == (fault == "feature_drift")
    missing = find(series, "churn_feature_missing_ratio", feature="MONTANT")
    assert (missing[during].mean() == 1.0) == (fault == "missing_values")
    auc = find(series, "churn_performance_score", measure="auc")
    if fault == "concept_drift":
        assert auc[during].mean() == pytest.approx(0.5, abs=0.02)
    if fault == "traffic_zero":
        assert np.isnan(auc[during]).all()


def without_amounts(reference: references.Reference, pool: Pool) -> Pool:
    codes = pool.codes.copy()
    codes[:, [one.name for one in reference.features].index("MONTANT")] = codes.max()
    return Pool(codes, pool.scores, pool.churns, pool.never_seen, pool.churned)


def test_same_seed_same_bytes_and_another_seed_others(
    reference: references.Reference, pools: list[Pool]
) -> None:
    episodes = [Episode("feature_drift", 1.0, UNTIL + 600, UNTIL + 1200)]
    chunks = np.split(UNTIL + 30.0 * np.arange(1, 201), [70])

    def run(seed: int) -> list[bytes]:
        past = make(reference, pools, UNTIL, episodes, seed=seed)
        return [encode(past.samples(chunk)) for chunk in chunks]

    assert run(5) == run(5)
    assert run(5) != run(6)


def test_the_whole_past_is_a_function_of_its_arguments(tmp_path: Path) -> None:
    training.train(out=tmp_path, data=None, rows=1500, seed=1, pushgateway=None)
    loaded = artefact.load(tmp_path)

    def run(seed: int) -> list[bytes]:
        fault_rng, pool_rng, past_rng = np.random.default_rng(seed).spawn(3)
        made = plan(UNTIL, 0.5, 300, 3600, 60, fault_rng)
        past = history.make_past(loaded, made, COST, 3600.0, 24.0, pool_rng, past_rng, 30.0, 60.0)
        return [encode(past.samples(chunk)) for chunk in made.chunks]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_service_that_does_not_start_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="did not start: .*cannot read"):
        measure(tmp_path / "no-model", 24.0, lambda: b"{}")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--model", "nowhere"], 2, "simulator train"),
        ([], 2, "--web.enable-remote-write-receiver"),
        (["--until", "99999999999"], 2, "in the future"),
        (["--interval", "often"], 2, "no duration"),
        (["--weeks", "520"], 2, "lengthen --interval"),
        (["--url", "nonsense"], 2, "no URL"),
    ],
)
def test_seed_refuses_what_cannot_work(
    options: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    training.train(out=tmp_path, data=None, rows=500, seed=1, pushgateway=None)
    with background_server(Starlette(), "127.0.0.1", 0) as port:
        arguments = ["--url", f"http://127.0.0.1:{port}", "--model", str(tmp_path), *options]
        monkeypatch.setattr("sys.argv", ["simulator", "seed", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
    assert caught.value.code == code
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_chunks_join_without_a_step(reference: references.Reference, pools: list[Pool]) -> None:
    times = UNTIL + 30.0 * np.arange(1, 201)
    past = make(reference, pools, UNTIL)
    first, second = past.samples(times[:100]), past.samples(times[100:])
    for one, two in zip(first, second, strict=True):
        assert one.labels == two.labels
        if one.labels["__name__"].endswith(("_total", "_count", "_bucket")):
            inside = max(np.diff(one.values).max(), np.diff(two.values).max())
            assert 0 <= two.values[0] - one.values[-1] <= 2 * inside + 5


def test_a_refusing_prometheus_is_explained(
    reference: references.Reference, pools: list[Pool]
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(500, text="too old sample"))
    writer = RemoteWriter("http://x.invalid/api/v1/write", httpx.Client(transport=transport))
    made = plan(UNTIL, 0.01, 30, 600, 5, None)
    with pytest.raises(ConfigError, match="out_of_order_time_window"):
        history.write_past(writer, make(reference, pools, UNTIL - 9e5), made, None)


def test_a_short_retention_is_explained() -> None:
    def client(retention: str) -> httpx.Client:
        answer = {"status": "success", "data": {"storageRetention": retention}}
        return httpx.Client(
            transport=httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
        )

    with pytest.raises(ConfigError, match=r"keeps 15d.*--storage.tsdb.retention.time"):
        history.check_retention(client("15d"), "http://x.invalid", 28 * DAY_SECONDS)
    for enough in ("60d", "60d or 1GiB", "1GiB"):
        history.check_retention(client(enough), "http://x.invalid", 28 * DAY_SECONDS)
