"""What a result says, and in which form."""

from __future__ import annotations

import json
import re
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
    parts = {"summary": result.summary, "classes": result.classes, "buckets": result.buckets}
    parts |= {"timeline": result.timeline, "notes": result.notes}
    assert parts == {name: report[name] for name in parts}
    report["summary"].clear()
    assert result.to_dict()["summary"] == result.summary != {}, "a dict of one's own"


def test_classes_and_buckets_partition_the_requests(result: tt.Result) -> None:
    total = result.summary["requests"]["total"]
    assert [group["name"] for group in result.classes] == ["rag", "chat"]
    for groups in (result.classes, result.buckets):
        assert sum(group["requests"] for group in groups) == total
        assert sum(group["input_tokens"] for group in groups) == result.summary["input_tokens"]
    # The timeline shows the warm-up too, which the summary leaves out.
    assert sum(result.timeline["arrivals"]) >= total
    assert len({len(values) for values in result.timeline.values() if isinstance(values, list)}) == 1


def test_keeping_requests_changes_no_figure(result: tt.Result, small: tt.Scenario) -> None:
    plain = tt.simulate(small)
    assert plain.to_json() == result.to_json()
    with pytest.raises(ValueError, match="records=True"):
        plain.requests()


def test_requests_are_the_documented_columns(result: tt.Result, root: Path) -> None:
    columns = result.requests()
    source = root / "tables/src/columns.rs"
    if source.exists():
        listed = source.read_text().split("RECORD_COLUMNS")[1].split("];")[0]
        assert list(columns) == re.findall(r'column\(\s*"(\w+)"', listed)
    else:
        pytest.skip("not in a checkout: no list of columns to compare with")


def test_requests_add_up_to_the_report(result: tt.Result) -> None:
    columns = result.requests()
    ids = columns["id"]
    assert ids == list(range(len(ids))) and all(len(column) == len(ids) for column in columns.values())
    assert columns["arrival_s"] == sorted(columns["arrival_s"])
    counted = [i for i in ids if columns["arrival_s"][i] >= 10.0]
    summary = result.summary
    assert len(counted) == summary["requests"]["total"] < len(ids), "the warm-up is in the records only"
    for name in ("input_tokens", "output_tokens"):
        assert sum(columns[name][i] for i in counted) == summary[name]
    for name in ("ttft_ms", "queue_ms", "e2e_ms", "tpot_ms"):
        values = [columns[name][i] for i in counted if columns[name][i] is not None]
        assert len(values) == summary[name]["count"]
        assert sum(values) / len(values) == pytest.approx(summary[name]["mean"], rel=1e-6)
        assert max(values) == pytest.approx(summary[name]["max"], rel=1e-9)
    chat = [i for i in ids if columns["class"][i] == "chat"]
    assert {columns["tenant"][i] for i in chat} == {"acme"} and {columns["in_user"][i] for i in chat} != {None}
    assert all(columns["in_user"][i] == columns["input_tokens"][i] for i in chat)


def test_refused_requests_have_no_times(small: tt.Scenario) -> None:
    columns = tt.simulate(small.with_({"engine.max_model_len": 2048}), records=True).requests()
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
