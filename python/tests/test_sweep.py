"""Sweeps: one set of rows, wherever they are made."""

from __future__ import annotations

import _thread
import multiprocessing
import os
import pickle
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

import tokentide as tt
from tokentide.ray import RayExecutor

GRID = {"cluster.replicas": range(1, 4), "class.rag.prompt.retrieved.top_k": [2, 4, 8]}
BRIEF = {"duration": "20s", "warmup": "0s"}


@pytest.fixture(scope="module")
def brief(small: tt.Scenario) -> tt.Scenario:
    return small.with_(BRIEF)


@pytest.fixture(scope="module")
def alone(brief: tt.Scenario, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of the table, made in process by one thread."""
    return table(tt.sweep(brief, GRID, replications=2, threads=1), tmp_path_factory.mktemp("alone"))


def table(study: tt.Sweep, folder: Path) -> bytes:
    path = folder / "study.parquet"
    study.write(path)
    return path.read_bytes()


def test_rows_are_points_and_runs(brief: tt.Scenario) -> None:
    study = tt.sweep(brief, GRID, replications=2)
    assert len(study) == 3 * 3 * 2 and study.settings == tuple(GRID)
    frame = study.frame
    assert frame["cluster.replicas"][:6] == [1] * 6 and frame["class.rag.prompt.retrieved.top_k"][:6] == [2, 2, 4, 4, 8, 8]
    row = frame.row(7)
    changes = {setting: row[setting] for setting in GRID}
    summary = tt.simulate(brief.with_(changes), seed=row["seed"]).summary
    assert row["ttft_ms_p95"] == summary["ttft_ms"]["p95"] and row["capacity_load"] == summary["capacity"]["load"]
    assert len(study.failed) == 0
    assert repr(study) == "Sweep(18 runs over cluster.replicas, class.rag.prompt.retrieved.top_k)"
    assert study._repr_html_().startswith("<table><caption>18 rows")


def test_threads_change_nothing(brief: tt.Scenario, alone: bytes, tmp_path: Path) -> None:
    assert table(tt.sweep(brief, GRID, replications=2, threads=3), tmp_path) == alone


def test_the_command_line_writes_the_same_bytes(small_file: Path, alone: bytes, tmp_path: Path) -> None:
    binary = os.environ.get("TOKENTIDE_BIN")
    if not binary:
        pytest.skip("TOKENTIDE_BIN names no tokentide to compare with")
    out = tmp_path / "theirs.parquet"
    grid = ["--grid", "cluster.replicas=1..3", "--grid", "class.rag.prompt.retrieved.top_k=2,4,8", "--replications", "2"]
    changes = [word for path, value in BRIEF.items() for word in ("--set", f"{path}={value}")]
    subprocess.run([binary, "sweep", small_file, *changes, *grid, "-o", out], check=True, capture_output=True)
    # A changed scenario is the same scenario whoever changed it.
    assert out.read_bytes() == alone


@pytest.fixture(params=["threads", "processes", "dask", "ray"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    match request.param:
        case "threads":
            with ThreadPoolExecutor(2) as pool:
                yield pool
        case "processes":
            with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
                yield pool
        case "dask":
            distributed = pytest.importorskip("distributed")
            with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
                with distributed.Client(cluster) as client:
                    yield client.get_executor()
        case "ray":
            ray = pytest.importorskip("ray")
            ray.init(num_cpus=2, include_dashboard=False)
            yield RayExecutor()
            ray.shutdown()


@pytest.mark.filterwarnings("default")
def test_an_executor_changes_nothing(executor: Executor, brief: tt.Scenario, alone: bytes, tmp_path: Path) -> None:
    assert table(tt.sweep(brief, GRID, replications=2, executor=executor), tmp_path) == alone


def test_a_sweep_goes_on_where_it_was(brief: tt.Scenario, alone: bytes, tmp_path: Path) -> None:
    out = tmp_path / "study.parquet"
    some = GRID | {"cluster.replicas": [1, 2]}
    assert len(tt.sweep(brief, some, out=out)) == 6
    with ThreadPoolExecutor(2) as pool:
        study = tt.sweep(brief, GRID, replications=2, out=out, executor=pool)
    assert out.read_bytes() == alone == table(study, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["study.parquet"]
    again = tt.load_sweep(out)
    assert again.settings == study.settings and again.frame["ttft_ms_p95"] == study.frame["ttft_ms_p95"]
    with pytest.raises(ValueError, match=r"another sweep.*fresh=True|belong together.*fresh=True"):
        tt.sweep(brief.with_({"seed": 7}), GRID, out=out)
    assert len(tt.sweep(brief.with_({"seed": 7}), some, out=out, fresh=True)) == 6


def test_ctrl_c_keeps_what_is_done(small: tt.Scenario, tmp_path: Path) -> None:
    out = tmp_path / "study.parquet"
    long = small.with_({"duration": "2h"})
    grid = {"class.rag.prompt.retrieved.top_k": range(1, 400)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(1.0, _thread.interrupt_main)
    timer.start()
    begun = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        tt.sweep(long, grid, out=out)
    assert time.perf_counter() - begun < 3, "a run that is under way is not waited for"
    timer.join()
    journal = (tmp_path / "study.parquet.journal").read_text().splitlines()
    assert len(journal) > 1, "a header and some points"
    kept = tt.sweep(long, {"class.rag.prompt.retrieved.top_k": range(1, len(journal))}, out=tmp_path / "other.parquet")
    assert len(kept) == len(journal) - 1


class Dying(Executor):
    """Runs two tasks, and then all of its workers are gone."""

    def __init__(self) -> None:
        self.pool, self.left = ThreadPoolExecutor(1), 2

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        self.left -= 1
        return self.pool.submit(fn, *args, **kwargs) if self.left >= 0 else self.pool.submit(self.die)

    def die(self) -> None:
        raise BrokenProcessPool("a child process terminated abruptly")


def test_a_worker_that_dies_loses_nothing(brief: tt.Scenario, tmp_path: Path) -> None:
    out = tmp_path / "study.parquet"
    with pytest.raises(
        RuntimeError, match=r"7 of 9 points were not run, since a worker failed: a child process.*goes on from there"
    ):
        tt.sweep(brief, GRID, out=out, executor=Dying())
    assert len((tmp_path / "study.parquet.journal").read_text().splitlines()) == 3
    assert len(tt.sweep(brief, GRID, out=out)) == 9


class Broken(Executor):
    """Takes two tasks, and breaks."""

    def __init__(self) -> None:
        self.pool, self.left = ThreadPoolExecutor(1), 2

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        self.left -= 1
        if self.left < 0:
            raise MemoryError
        return self.pool.submit(fn, *args, **kwargs)


def test_a_pool_that_takes_no_more_tasks_loses_nothing(brief: tt.Scenario, tmp_path: Path) -> None:
    out = tmp_path / "study.parquet"
    with pytest.raises(RuntimeError, match=r"points were not run, since a worker failed: MemoryError"):
        tt.sweep(brief, GRID, out=out, executor=Broken())
    # The first has begun when the second is given up; which of them had is chance.
    kept = len((tmp_path / "study.parquet.journal").read_text().splitlines()) - 1
    assert 1 <= kept <= 2
    assert len(tt.sweep(brief, GRID, out=out)) == 9


def test_a_point_that_fails_is_recorded(brief: tt.Scenario) -> None:
    study = tt.sweep(
        brief,
        {"gpu.name": ["h100-sxm", "l4"], "model.name": ["llama-3.1-8b", "llama-3.1-70b"]},
        points=[{"gpu.tensor_parallel": 4}],
    )
    assert study.failed["gpu.name"] == ["l4"] and study.failed["model.name"] == ["llama-3.1-70b"]
    assert all(study.failed["error"]) and study.failed["ttft_ms_p95"] == [None]


def test_samples_and_listed_points(brief: tt.Scenario) -> None:
    sample = tt.Sample(5, {"class.chat.arrivals.rate": "1.0..8.0:log", "cluster.router": ["random", "least-tokens"]}, seed=3)
    study = tt.sweep(brief, sample=sample, points=[{"cluster.replicas": 1}, {"cluster.replicas": 2}])
    assert len(study) == 10
    rates = study.frame["class.chat.arrivals.rate"][:5]
    assert len(set(rates)) == 5 and all(1 <= rate <= 8 for rate in rates)
    other = tt.sweep(brief, sample=tt.Sample(5, sample.over, method="random", seed=3))
    assert other.frame["class.chat.arrivals.rate"] != rates


def test_values_may_be_an_array(brief: tt.Scenario) -> None:
    numpy = pytest.importorskip("numpy")
    study = tt.sweep(brief, {"cluster.replicas": numpy.arange(1, 3), "class.chat.arrivals.rate": numpy.linspace(1, 2, 3)})
    assert study.frame["cluster.replicas"] == [1, 1, 1, 2, 2, 2] and study.frame["class.chat.arrivals.rate"][:3] == [1.0, 1.5, 2.0]


def test_common_seeds_are_common(brief: tt.Scenario) -> None:
    study = tt.sweep(brief, GRID, replications=2, seeds="common")
    assert study.frame["seed"] == [brief.seed, brief.seed + 1] * 9


def test_means_and_pareto(brief: tt.Scenario) -> None:
    study = tt.sweep(brief.with_({"class.rag.arrivals.rate": 12.0}), {"cluster.replicas": range(1, 5)}, replications=2)
    means = study.means("ttft_ms_p95", "cost_usd_per_hour")
    values = study.frame["ttft_ms_p95"]
    assert means["ttft_ms_p95"] == [sum(values[i : i + 2]) / 2 for i in range(0, 8, 2)] and means["runs"] == [2] * 4
    front = study.pareto()
    states = study.frame["capacity_state"]
    overloaded = [states[i] == "overloaded" or states[i + 1] == "overloaded" for i in range(0, 8, 2)]
    assert any(overloaded) and not any(front["overloaded"])
    costs, latencies = front["cost_usd_per_hour"], front["ttft_ms_p95"]
    assert costs == sorted(costs) and latencies == sorted(latencies, reverse=True) and len(costs) >= 2
    with pytest.raises(KeyError):
        study.means("ttft_p95")
    drowned = tt.sweep(brief.with_({"class.rag.arrivals.rate": 300.0}), {"cluster.replicas": [1]})
    assert len(drowned.pareto()) == 0 and drowned.pareto()["ttft_ms_p95"] == []


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({}, ValueError, "nothing is varied"),
        ({"grid": {"cluster.replicsa": [1]}}, tt.ScenarioError, "did you mean `replicas`"),
        ({"grid": {"cluster.replicas": []}}, ValueError, "no values"),
        ({"grid": {"cluster.replicas": 4}}, ValueError, "expected a list of values"),
        ({"grid": {"cluster.replicas": ["many"]}}, tt.ScenarioError, "whole number"),
        ({"grid": GRID, "replications": 0}, ValueError, "1 to 10000"),
        ({"grid": GRID, "seeds": "same"}, ValueError, "derived"),
        ({"grid": GRID, "threads": 0}, ValueError, "at least 1"),
        ({"grid": GRID, "out": "study.txt"}, ValueError, "`.parquet` or `.csv`"),
        ({"sample": tt.Sample(3, {"cluster.replicas": "1..3"}, method="sobol")}, ValueError, "sobol"),
    ],
)
def test_wrong_sweeps_are_refused(brief: tt.Scenario, options: dict, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        tt.sweep(brief, **options)


def test_what_is_no_sweep_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="is no result of a sweep"):
        tt.load_sweep(path)


def test_scenarios_are_pickled(small: tt.Scenario) -> None:
    changed = small.with_({"cluster.replicas": 3})
    again = pickle.loads(pickle.dumps(changed))
    assert again.hash == changed.hash and again.overrides == changed.overrides
    assert tt.simulate(again).to_json() == tt.simulate(changed).to_json()


def test_a_dict_is_a_scenario(small: tt.Scenario) -> None:
    plain = {
        "name": "small",
        "duration": "1m",
        "model": {"name": "llama-3.1-8b"},
        "gpu": {"name": "h100-sxm"},
        "class": [
            {"name": "chat", "arrivals": {"process": "poisson", "rate": 2.0}, "prompt": {"user": 100}, "output": {"tokens": 50}}
        ],
    }
    scenario = tt.Scenario.from_dict(plain)
    assert scenario.classes == ["chat"] and tt.simulate(scenario).summary["requests"]["total"] > 50
    with pytest.raises(tt.ScenarioError, match="nmae"):
        tt.Scenario.from_dict(plain | {"nmae": "x"})
