"""Charts: what they are made of, and that Vega-Lite takes them."""

from __future__ import annotations

import json

import pytest

import tokentide as tt
from tokentide.plot import MIME


@pytest.fixture(scope="module")
def result(small: tt.Scenario) -> tt.Result:
    return tt.simulate(small)


@pytest.fixture(scope="module")
def study(small: tt.Scenario) -> tt.Sweep:
    grid = {"class.rag.prompt.retrieved.top_k": [2, 8], "cluster.replicas": range(1, 4)}
    return tt.sweep(small.with_({"class.rag.arrivals.rate": 12.0, "duration": "30s", "warmup": "0s"}), grid)


RUN = [
    "ttft_cdf",
    "tpot_cdf",
    "itl_cdf",
    "e2e_cdf",
    "queue_cdf",
    "kv_timeline",
    "requests_timeline",
    "throughput_timeline",
    "tokens_by_source",
]


@pytest.mark.parametrize("name", RUN)
def test_vega_lite_takes_charts_of_runs(result: tt.Result, name: str) -> None:
    altair = pytest.importorskip("altair")
    chart = getattr(result.plot, name)()
    assert isinstance(chart.to_altair(), altair.TopLevelMixin), "Altair validates it against the schema"
    bundle = chart._repr_mimebundle_()
    assert bundle[MIME] == chart.spec == json.loads(chart.to_json()) and bundle["text/plain"].startswith("Chart('")
    assert len(chart.to_json()) < 200_000, "small enough to inline"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("heatmap", ("top_k", "replicas")),
        ("heatmap", ("top_k", "cluster.replicas", "cost_usd_per_hour")),
        ("line", ("replicas",)),
        ("line", ("replicas", "tpot_ms_p95", "top_k")),
        ("throughput_latency", ()),
        ("throughput_latency", ("e2e_ms_p95", "top_k")),
        ("pareto", ()),
    ],
)
def test_vega_lite_takes_charts_of_sweeps(study: tt.Sweep, name: str, arguments: tuple[str, ...]) -> None:
    altair = pytest.importorskip("altair")
    assert isinstance(getattr(study.plot, name)(*arguments).to_altair(), altair.TopLevelMixin)


def test_a_curve_ends_at_the_maximum_and_passes_the_percentiles(result: tt.Result) -> None:
    points = result.plot.ttft_cdf().spec["data"]["values"]
    ttft = result.summary["ttft_ms"]
    assert points[-1]["share"] == 1 and points[-1]["ms"] == pytest.approx(ttft["max"])
    for percentile in (0.5, 0.95):
        at = next(i for i, point in enumerate(points) if point["share"] >= percentile)
        assert points[at - 1]["ms"] <= ttft[f"p{percentile * 100:.0f}"] <= points[at]["ms"]
        assert points[at]["share"] - points[at - 1]["share"] < 0.05, "some hundred points"
    groups = {point["requests"] for point in result.plot.ttft_cdf(by="class").spec["data"]["values"]}
    assert groups == {"rag", "chat"}
    buckets = {point["requests"] for point in result.plot.ttft_cdf(by="input_bucket").spec["data"]["values"]}
    assert buckets == set(result.buckets["name"])


def test_a_doubtful_result_says_so_in_the_picture(small: tt.Scenario) -> None:
    changes = {"cluster.replicas": 1, "class.rag.arrivals.rate": 100.0, "cost.profile": "roofline"}
    subtitle = tt.simulate(small.with_(changes)).plot.ttft_cdf().spec["title"]["subtitle"]
    assert [line.split(":")[0] for line in subtitle[:2]] == ["Overloaded", "Not calibrated"]


def test_overloaded_points_are_no_latencies(study: tt.Sweep) -> None:
    assert "overloaded" in study.frame["capacity_state"]
    spec = study.plot.line("replicas", colour="top_k").spec
    values = spec["data"]["values"]
    assert any(value["overloaded"] for value in values) and "overloaded" in spec["title"]["subtitle"][0]
    assert all((value["figure"] is None) == value["overloaded"] for value in values)
    cost = study.plot.line("replicas", "cost_usd_per_hour").spec["data"]["values"]
    assert all(value["figure"] is not None for value in cost), "what GPUs cost is known anyhow"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda r, s: r.plot.ttft_cdf(by="tenant"), "input_bucket"),
        (lambda r, s: r.plot.itl_cdf(by="input_bucket"), "nothing was observed"),
        (lambda r, s: s.plot.heatmap("top_k", "replica"), "no setting of class.rag"),
        (lambda r, s: s.plot.line("replicas", "ttft_p95"), "no column `ttft_p95`"),
        (lambda r, s: r.plot.replicas_timeline(), "nothing was observed"),
    ],
)
def test_charts_that_are_not_are_told(result: tt.Result, study: tt.Sweep, call, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=says):
        call(result, study)
