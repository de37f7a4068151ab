"""Tables as data frame libraries see them."""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import time
from pathlib import Path

import pytest

import tokentide as tt


@pytest.fixture(scope="module")
def result(small: tt.Scenario) -> tt.Result:
    return tt.simulate(small.with_({"engine.max_model_len": 4096}), records=True)


def test_polars_reads_it(result: tt.Result) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(result.requests)
    assert frame.shape == result.requests.shape and frame.columns == result.requests.columns
    assert frame["ttft_ms"].to_list() == result.requests["ttft_ms"]
    assert (
        frame.schema["id"] == polars.UInt64 and frame.schema["ttft_ms"] == polars.Float64 and frame.schema["class"] == polars.String
    )
    assert frame["ttft_ms"].null_count() > 0, "refused requests have no times"
    assert frame.equals(result.requests.to_polars())


def test_pyarrow_and_pandas_read_it(result: tt.Result) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pandas")
    table = pyarrow.table(result.requests)
    assert table.num_rows == len(result.requests) and table["id"].to_pylist() == result.requests["id"]
    frame = result.requests.to_pandas()
    assert list(frame.columns) == result.requests.columns and frame["input_tokens"].sum() == sum(result.requests["input_tokens"])


def test_duckdb_reads_it(result: tt.Result) -> None:
    duckdb = pytest.importorskip("duckdb")
    requests = result.requests  # noqa: F841  DuckDB finds it by its name
    counted = duckdb.sql("select class, count(*) from requests group by class order by class").fetchall()
    names = result.requests["class"]
    assert counted == [(name, names.count(name)) for name in sorted(set(names))]


def test_the_file_is_that_of_the_command_line(result: tt.Result, small_file: Path, tmp_path: Path) -> None:
    binary = os.environ.get("TOKENTIDE_BIN")
    if not binary:
        pytest.skip("TOKENTIDE_BIN names no tokentide to compare with")
    for extension in ("parquet", "csv"):
        ours, theirs = (tmp_path / f"{whose}.{extension}" for whose in ("ours", "theirs"))
        result.requests.write(ours)
        command = [binary, "simulate", small_file, "--set", "engine.max_model_len=4096", "--records", theirs]
        subprocess.run(command, check=True, capture_output=True)
        assert ours.read_bytes() == theirs.read_bytes()
    with pytest.raises(OSError, match=r"use `.parquet` or `.csv`"):
        result.requests.write(tmp_path / "ours.txt")


def test_rows_and_columns(result: tt.Result) -> None:
    frame = result.classes
    assert frame.shape == (2, len(frame.columns)) and frame["name"] == ["rag", "chat"]
    assert frame.row(-1) == frame.row(1) == {name: frame[name][1] for name in frame.columns}
    assert frame.take([1, 0])["name"] == ["chat", "rag"]
    for wrong in (lambda: frame.row(2), lambda: frame.row(-3), lambda: frame.take([2])):
        with pytest.raises(IndexError):
            wrong()
    with pytest.raises(KeyError, match="no column `nmae`"):
        frame["nmae"]
    assert repr(frame).startswith("Frame(2 x ") and frame._repr_html_().startswith("<table><caption>2 rows")


def test_names_are_escaped(small: tt.Scenario) -> None:
    hostile = tt.simulate(small.with_({"class.chat.tenant": "<script>alert(1)</script>"}), records=True)
    assert "<script>" not in hostile.requests.take(range(50))._repr_html_()


def test_a_stream_not_read_is_given_back(result: tt.Result) -> None:
    polars = pytest.importorskip("polars")

    def transfers(times: int) -> int:
        for _ in range(times):
            result.requests.__arrow_c_stream__()
            polars.DataFrame(result.timeline)
            polars.DataFrame(result.requests)
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = transfers(50)
    # 300 times some 200 kB would be 60 MB.
    assert transfers(300) - before < 20_000, "KiB"


def test_a_million_requests_cross_in_no_time(small: tt.Scenario) -> None:
    polars = pytest.importorskip("polars")
    changed = {
        "requests": 1_000_000,
        "duration": "1000h",
        "cluster.replicas": 4,
        "class.rag.arrivals.rate": 1.0,
        "class.chat.arrivals.rate": 20.0,
    }
    requests = tt.simulate(small.with_(changed), records=True).requests
    assert len(requests) == 1_000_000
    begun = time.perf_counter()
    frame = polars.DataFrame(requests)
    took = time.perf_counter() - begun
    print(f"1,000,000 rows x {frame.width} columns in {took:.3f} s")
    assert frame.height == 1_000_000
    # The mark is half a second; one object per cell would be ten times that.
    assert took < 1.5
