"""Many variations of one scenario."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ._frame import Frame
from ._tokentide import Frame as NativeFrame
from ._tokentide import Kept, Scenario, Spec
from .plot import SweepPlots

if TYPE_CHECKING:
    import os

#: Values of a setting: a list, an array, or a range as of the command line: "1..8", "0.5..2:0.5", for samples "1.0..64.0:log".
Values = Iterable[Any] | str

#: Tasks that an executor is given, and the most points of one.
TASKS, POINTS_OF_TASK = 256, 64


@dataclass(frozen=True)
class Sample:
    """Points drawn at random.

    points: how many.
    over: setting to a range such as "1.0..64.0:log" or a list to choose from.
    method: "lhs", a Latin hypercube, spreads them evenly along each setting; "random" draws them independently.
    seed: of the draws, not of the runs.
    """

    points: int
    over: Mapping[str, Values]
    method: str = "lhs"
    seed: int = 1


class Sweep(Frame):
    """What came of a sweep: a table with a row per point and run.

    The columns are those of ``tokentide sweep -o`` (``tokentide explain sweep``): ``point``, ``seed``, the settings by their paths,
    ``error``, ``capacity_state``, and every figure of a report, ``ttft_ms_p95`` [ms] or ``cost_usd_per_hour``. ``write`` gives the
    bytes that ``tokentide sweep -o`` writes.
    """

    def __init__(self, native: NativeFrame, settings: Sequence[str]) -> None:
        super().__init__(native)
        self._settings = tuple(settings)

    @property
    def frame(self) -> Frame:
        """All rows, in the order of the design."""
        return self

    @property
    def settings(self) -> tuple[str, ...]:
        """Paths of what is varied."""
        return self._settings

    @property
    def failed(self) -> Frame:
        """The rows of runs that failed; ``error`` says why."""
        return self.take(i for i, error in enumerate(self["error"]) if error is not None)

    def means(self, *figures: str) -> Frame:
        """A row per point: its settings, ``runs``, ``overloaded`` (any run was), and the mean of each figure over its runs.

        A mean is None if a run failed or observed nothing: nothing is averaged over the runs that went well. Raises KeyError.
        """
        return _tidy(self._means(figures), (*self._settings, "runs", "overloaded", *figures))

    def _means(self, figures: Sequence[str]) -> list[dict[str, Any]]:
        columns = {name: self[name] for name in ("index", "capacity_state", *self._settings, *figures)}
        points: dict[int, list[int]] = {}
        for row, index in enumerate(columns["index"]):
            points.setdefault(index, []).append(row)
        return [
            {
                **{setting: columns[setting][rows[0]] for setting in self._settings},
                "runs": len(rows),
                "overloaded": any(columns["capacity_state"][row] == "overloaded" for row in rows),
                **{figure: _mean([columns[figure][row] for row in rows]) for figure in figures},
            }
            for rows in points.values()
        ]

    def pareto(self, cost: str = "cost_usd_per_hour", latency: str = "ttft_ms_p95") -> Frame:
        """The points of which no other one has less of one figure and no more of the other, by the first.

        Points that are overloaded are left out, since their latency grows with the length of the run, and those without a figure.
        """
        points = [p for p in self._means((cost, latency)) if not p["overloaded"] and p[cost] is not None and p[latency] is not None]
        front: list[dict[str, Any]] = []
        for point in sorted(points, key=lambda p: (p[cost], p[latency])):
            if not front or point[latency] < front[-1][latency]:
                front.append(point)
        return _tidy(front, (*self._settings, "runs", "overloaded", cost, latency))

    @property
    def plot(self) -> SweepPlots:
        """Charts: ``study.plot.heatmap("top_k", "replicas")``."""
        return SweepPlots(self)

    def __repr__(self) -> str:
        return f"Sweep({len(self):,} runs over {', '.join(self._settings)})"


def sweep(
    scenario: Scenario,
    grid: Mapping[str, Values] | None = None,
    *,
    points: Iterable[Mapping[str, Any]] = (),
    sample: Sample | None = None,
    replications: int = 1,
    seeds: str = "derived",
    threads: int | None = None,
    executor: Executor | None = None,
    out: str | os.PathLike[str] | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    progress: bool = True,
) -> Sweep:
    """Run many variations of a scenario: the points, seeds and rows of ``tokentide sweep``.

    grid: every combination of these: setting to values, ``{"cluster.replicas": range(1, 9)}``.
    points: points typed out, each a dict of settings; combined with the grid, if there is one.
    sample: points drawn at random; combined with the others.
    replications: runs of each point, a row each.
    seeds: "derived" from each point, so that points are independent, or "common": all points see the same requests, so that
        differences between them are due to their settings.
    threads: workers; None is one per core. Results do not depend on it.
    executor: any ``concurrent.futures.Executor`` runs the points instead: a process pool, ``client.get_executor()`` of Dask. Rows
        are the same, byte for byte.
    out: .parquet or .csv to write. If it is there, or an earlier call was interrupted, the sweep goes on from there.
    fresh: start anew, whatever ``out`` holds. retry_failed: run failed points again.
    progress: a bar, if tqdm is installed.

    The GIL is released meanwhile. Ctrl-C ends it; with ``out``, what is done is kept. A point that cannot be run has its reason in
    the column ``error``, and the others go on.

    Raises ScenarioError if the scenario, or every value of a setting, is wrong, ValueError for a design that is none or an ``out``
    of another sweep, OSError if that cannot be used.
    """
    drawn = None if sample is None else (sample.method, sample.points, sample.seed, _axes(sample.over))
    arguments = (scenario, _axes(grid or {}), list(points), drawn, replications, seeds)
    spec = Spec(*arguments)
    kept = Kept(spec, out, fresh, retry_failed)
    try:
        with _Bar(len(spec), shown=progress) as bar:
            if executor is None:
                kept.run(threads, bar.set)
            else:
                _elsewhere(kept, executor, pickle.dumps(arguments), bar, keeps=out is not None)
        return Sweep(kept.finish(), spec.settings)
    finally:
        kept.close()


def load_sweep(path: str | os.PathLike[str]) -> Sweep:
    """Read a table that ``tokentide sweep``, ``tokentide merge`` or ``sweep(out=)`` wrote. Raises ValueError if it is none."""
    native, settings = NativeFrame.read_sweep(path)
    return Sweep(native, settings)


def _axes(settings: Mapping[str, Values]) -> dict[str, list[Any] | str]:
    """Values as a list, whether they come as a range, an array or a series."""
    axes: dict[str, list[Any] | str] = {}
    for path, values in settings.items():
        try:
            axes[path] = values if isinstance(values, str) else list(values)
        except TypeError:
            raise ValueError(f'`{path}`: expected a list of values, or a range such as "1..8"') from None
    return axes


def _elsewhere(kept: Kept, executor: Executor, arguments: bytes, bar: _Bar, keeps: bool) -> None:
    """Runs what is to be run on an executor, and keeps each part as it comes."""
    todo = kept.todo()
    size = max(1, min(POINTS_OF_TASK, len(todo) // TASKS))
    futures: dict[Future[bytes], int] = {}
    failure: BaseException | None = None
    done = bar.total - len(todo)
    bar.set(done, 0)
    try:
        for part in _parts(todo, size):
            try:
                futures[executor.submit(_run_points, arguments, part)] = len(part)
            except Exception as broken:
                # A pool that has broken takes no more tasks; what it has done is still to be had.
                failure = broken
                _cancel(futures)
                break
        for future in as_completed(futures):
            # One that fails does not lose what the others have done.
            if (error := _error(future)) is None:
                kept.keep(future.result())
                done += futures[future]
                bar.set(done, 0)
            elif failure is None:
                failure = error
                _cancel(futures)
    finally:
        _cancel(futures)
    if failure is not None:
        why = str(failure) or type(failure).__name__
        missing = f"{bar.total - done} of {bar.total} points were not run, since a worker failed: {why}"
        hint = "the same call goes on from there" if keeps else "with out=FILE the others would have been kept"
        raise RuntimeError(f"{missing} ({hint})") from failure


def _error(future: Future[bytes]) -> BaseException | None:
    return RuntimeError("cancelled") if future.cancelled() else future.exception()


def _cancel(futures: Iterable[Future[bytes]]) -> None:
    for future in futures:
        future.cancel()


def _parts(indices: Sequence[int], size: int) -> list[list[int]]:
    return [list(indices[start : start + size]) for start in range(0, len(indices), size)]


def _run_points(arguments: bytes, indices: list[int]) -> bytes:
    """A task, in the process of a worker."""
    return _spec(arguments).run_points(indices)


@lru_cache(maxsize=4)
def _spec(arguments: bytes) -> Spec:
    return Spec(*pickle.loads(arguments))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _tidy(rows: list[dict[str, Any]], columns: Sequence[str]) -> Frame:
    """The rows as a table, which has its columns even without any."""
    empty = dict.fromkeys(columns)
    return Frame(NativeFrame.tidy(json.dumps(rows or [empty]))).take(range(len(rows)))


class _Bar:
    """A bar of tqdm, where it is installed."""

    def __init__(self, total: int, *, shown: bool) -> None:
        self.total = total
        self._bar: Any = None
        self._make: Callable[..., Any] | None = None
        if shown:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                return
            self._make = tqdm

    def __enter__(self) -> _Bar:
        if self._make is not None:
            # Work that is over at once needs no bar.
            self._bar = self._make(total=self.total, unit="point", desc="sweeping", delay=0.5, leave=False)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def set(self, done: int, failed: int) -> None:
        """So many points are there, of which so many failed now."""
        if self._bar is None:
            return
        if failed:
            self._bar.set_postfix(failed=failed, refresh=False)
        self._bar.update(done - self._bar.n)
