"""What ``simulate --metrics`` writes, to the parsers of Prometheus' own Python client."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text


def written(scenario: Path, page: Path, *options: str) -> str:
    binary = os.environ.get("TOKENTIDE_BIN")
    if not binary:
        pytest.skip("TOKENTIDE_BIN names no tokentide to ask")
    subprocess.run([binary, "simulate", scenario, "--quiet", "--metrics", page, *options], check=True, capture_output=True)
    return page.read_text()


def test_a_page_is_read(small_file: Path, tmp_path: Path) -> None:
    text = written(small_file, tmp_path / "end.prom")
    families = list(parse_text(text))
    assert sum(len(family.samples) for family in families) == sum(not line.startswith("#") for line in text.splitlines())
    assert {family.type for family in families} == {"counter", "gauge", "histogram"}
    engines = {(sample.labels["pod"], sample.labels["engine"]) for family in families for sample in family.samples}
    assert engines == {("replica-0", "0"), ("replica-1", "0")}


def test_series_are_read(small_file: Path, tmp_path: Path) -> None:
    text = written(small_file, tmp_path / "run.om", "--metrics-every", "10s")
    lines = text.splitlines()
    times = sorted({line.rsplit(" ", 1)[1] for line in lines if not line.startswith("#")})
    assert times[:3] == ["1767225600.000", "1767225610.000", "1767225620.000"]
    # The client takes samples of a histogram at a second time for repetitions of those at the first: it reads all, time by time.
    for time in times:
        page = [line for line in lines if line.startswith("#") or line.endswith(" " + time)]
        samples = [sample for family in parse_openmetrics("\n".join(page) + "\n") for sample in family.samples]
        assert len(samples) == sum(not line.startswith("#") for line in page)
        assert all(float(sample.timestamp) == float(time) for sample in samples)
