"""What a result says, and in which form."""

from __future__ import annotations

import json
import os
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

import tokentide as tt


@pytest.fixture(scope="module")
def result(small: tt.Scenario) -> tt.Result:
    return tt.simulate(small, records=True)


def test_all_forms_hold_the_same_report(result: tt.Result) -> None:
    report = result.to_dict()
    assert json.loads(result.to_json()) == json.loads(result.to_json(pretty=True)) == report
    assert "\n" not in result.to_json() and result.to_json(pretty=True).startswith('{\n  "schema_version": ')
    parts = {"summary": result.summary, "notes": result.notes}
    assert parts == {name: report[name] for name in parts}
    for name, groups in (("classes", result.classes), ("buckets", result.buckets), ("replicas", result.replicas)):
        assert len(groups) == len(report[name]) > 0
        for number, group in enumerate(report[name]):
            row = groups.row(number)
            assert all(row[key] == value for key, value in group.items() if not isinstance(value, (dict, list)))
    assert result.classes["ttft_ms_p95"] == [group["ttft_ms"]["p95"] for group in report["classes"]]
    timeline = report["timeline"]
    assert result.timeline["t_s"] == [timeline["bin_s"] * i for i in range(len(timeline["kv_use"]))]
    assert all(result.timeline[name] == values for name, values in timeline.items() if isinstance(values, list))
    report["summary"].clear()
    assert result.to_dict()["summary"] == result.summary != {}, "a dict of one's own"


def test_classes_and_buckets_partition_the_requests(result: tt.Result) -> None:
    total = result.summary["requests"]["total"]
    assert result.classes["name"] == ["rag", "chat"]
    for groups in (result.classes, result.buckets):
        assert sum(groups["requests"]) == total
        assert sum(groups["input_tokens"]) == result.summary["input_tokens"]
    # The timeline shows the warm-up too, which the summary leaves out.
    assert sum(result.timeline["arrivals"]) >= total


def test_keeping_requests_changes_no_figure(result: tt.Result, small: tt.Scenario) -> None:
    plain = tt.simulate(small)
    assert plain.to_json() == result.to_json()
    with pytest.raises(ValueError, match="records=True"):
        _ = plain.requests


def test_requests_are_the_documented_columns(result: tt.Result) -> None:
    binary = os.environ.get("TOKENTIDE_BIN")
    if not binary:
        pytest.skip("TOKENTIDE_BIN names no tokentide to compare with")
    command = [binary, "explain", "records", "--format", "json"]
    documented = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert result.requests.columns == [column["name"] for column in documented]


def test_requests_add_up_to_the_report(result: tt.Result) -> None:
    requests = result.requests
    columns = {name: requests[name] for name in requests.columns}
    rows = range(len(requests))
    assert sorted(columns["id"]) == list(rows), "each once, in the order of their ends"
    counted = [i for i in rows if columns["arrival_s"][i] >= 10.0]
    summary = result.summary
    assert len(counted) == summary["requests"]["total"] < len(requests), "the warm-up is in the records only"
    for name in ("input_tokens", "output_tokens"):
        assert sum(columns[name][i] for i in counted) == summary[name]
    for name in ("ttft_ms", "queue_ms", "e2e_ms", "tpot_ms"):
        values = [columns[name][i] for i in counted if columns[name][i] is not None]
        assert len(values) == summary[name]["count"]
        assert sum(values) / len(values) == pytest.approx(summary[name]["mean"], rel=1e-6)
        assert max(values) == pytest.approx(summary[name]["max"], rel=1e-9)
    chat = [i for i in rows if columns["class"][i] == "chat"]
    assert {columns["tenant"][i] for i in chat} == {"acme"} and {columns["in_user"][i] for i in chat} != {None}
    assert all(columns["in_user"][i] == columns["input_tokens"][i] for i in chat)


def test_refused_requests_have_no_times(small: tt.Scenario) -> None:
    columns = tt.simulate(small.with_({"engine.max_model_len": 2048}), records=True).requests
    refused = [i for i, reason in enumerate(columns["finish_reason"]) if reason == "rejected_context"]
    assert refused and all(columns["input_tokens"][i] >= 2048 for i in refused)
    for name in ("replica", "queue_ms", "ttft_ms", "tpot_ms", "e2e_ms"):
        assert {columns[name][i] for i in refused} == {None}, name


class Tags(HTMLParser):
    """Open tags, which must close in order, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def test_the_html_is_a_table_and_names_are_escaped(small: tt.Scenario) -> None:
    result = tt.simulate(small.with_({"name": "<script>alert(1)</script>"}))
    html = result._repr_html_()
    tags = Tags()
    tags.feed(html)
    assert tags.open == [] and html.startswith("<table>") and "<script>" not in html
    assert "<script>alert(1)</script>" in tags.text
    assert f"{result.summary['capacity']['load']:.0%}" in tags.text and "rag ttft_p95" in tags.text


def test_an_empty_run_can_be_shown(small: tt.Scenario) -> None:
    empty = tt.simulate(small.with_({"requests": 1, "warmup": "100s"}), records=True)
    assert empty.summary["ttft_ms"]["p95"] is None
    assert "TTFT p95 none" in repr(empty) and "–" in empty._repr_html_()


def test_limits_are_held_to(small: tt.Scenario) -> None:
    result = tt.simulate(small)
    p95, mean = result.summary["ttft_ms"]["p95"], result.summary["tpot_ms"]["mean"]
    held = result.slo(ttft_p95=f"{2 * p95 / 1000}s", tpot_mean=2 * mean)
    assert held and held.margin == pytest.approx(0.5)
    missed = result.slo(ttft_p95=f"{p95 / 2}ms", tpot_mean=2 * mean)
    assert not missed and missed.margin == pytest.approx(-1) and [target.met for target in missed.targets] == [False, True]
    overloaded = tt.simulate(small.with_({"cluster.replicas": 1, "class.rag.arrivals.rate": 200.0}))
    assert not overloaded.slo(ttft_p95="10m"), "its latencies are those of a longer run tomorrow"
    for wrong, says in (
        ({"ttft": 1}, "no latency `ttft`"),
        ({"ttft_p96": 1}, "no latency"),
        ({"ttft_p95": "fast"}, "no time"),
        ({"ttft_p95": "1.2.3ms"}, "no time"),
        ({"ttft_p95": 0}, "longer than 0"),
    ):
        with pytest.raises(ValueError, match=says):
            result.slo(**wrong)
