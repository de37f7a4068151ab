"""What a run reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _html
from ._frame import Frame
from ._report import Report
from ._tokentide import milliseconds
from .plot import RunPlots

if TYPE_CHECKING:
    from ._tokentide import Run


@dataclass(frozen=True)
class Target:
    """A limit and what was measured against it."""

    metric: str
    #: [ms]
    limit_ms: float
    #: [ms]; None where nothing was observed.
    value_ms: float | None
    #: The run is overloaded: its latencies grow with its length, and no limit is met.
    overloaded: bool

    @property
    def met(self) -> bool:
        """Whether the limit holds."""
        return not self.overloaded and self.value_ms is not None and self.value_ms <= self.limit_ms

    @property
    def margin(self) -> float | None:
        """Share of the limit that is left, below 0 if it is missed; None where nothing was observed."""
        return None if self.value_ms is None else 1 - self.value_ms / self.limit_ms


@dataclass(frozen=True)
class Slo:
    """Limits against a run; true if all hold."""

    targets: tuple[Target, ...]

    def __bool__(self) -> bool:
        return all(target.met for target in self.targets)

    @property
    def margin(self) -> float | None:
        """The smallest of the targets' margins; None if one has none."""
        margins = [target.margin for target in self.targets]
        known = [margin for margin in margins if margin is not None]
        return min(known) if known and len(known) == len(margins) else None


class Result(Report):
    """The report of a run.

    Its fields are those of ``tokentide simulate --format json``: times in milliseconds unless the name ends otherwise, shares from 0
    to 1, None where nothing was observed.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._run = run

    @property
    def summary(self) -> dict[str, Any]:
        """Figures over all requests: latencies, tokens, load and headroom (``capacity``), service levels, cost."""
        summary: dict[str, Any] = self._report["summary"]
        return summary

    @property
    def classes(self) -> Frame:
        """A row per class, in the scenario's order: ``name``, ``requests``, ``ttft_ms_p95``, ..."""
        return Frame(self._run.groups("classes"))

    @property
    def buckets(self) -> Frame:
        """A row per bucket of input tokens, ascending, with the columns of ``classes``."""
        return Frame(self._run.groups("buckets"))

    @property
    def output_buckets(self) -> Frame:
        """A row per bucket of output tokens, ascending, with the columns of ``classes``."""
        return Frame(self._run.groups("output_buckets"))

    @property
    def replicas(self) -> Frame:
        """A row per replica."""
        return Frame(self._run.groups("replicas"))

    @property
    def timeline(self) -> Frame:
        """A row per bin of time: ``t_s``, when it begins [s], what arrived in it, and mean levels in it (``running``, ``kv_use``)."""
        return Frame(self._run.timeline())

    @property
    def requests(self) -> Frame:
        """A row per request of the first replication, the warm-up included, in the order of their ends.

        Columns, units and nulls are those of the command line's ``--records`` (``tokentide explain records``). Raises ValueError
        unless the run was made with ``simulate(..., records=True)``.
        """
        requests = self._run.requests()
        if requests is None:
            raise ValueError("the requests were not kept: use simulate(..., records=True)")
        return Frame(requests)

    @property
    def plot(self) -> RunPlots:
        """Charts: ``result.plot.ttft_cdf(by="class")``."""
        return RunPlots(self._run)

    def slo(self, **limits: str | float) -> Slo:
        """Hold the run to limits: ``result.slo(ttft_p95="800ms", tpot_p95=60)``, a number being milliseconds.

        The names are a latency (queue, ttft, tpot, itl, e2e) and p50, p90, p95, p99, mean or max. True if all hold; a run that is
        overloaded holds none. Raises ValueError for other names and texts that are no time.
        """
        overloaded = self.summary["capacity"]["state"] == "overloaded"
        return Slo(tuple(self._target(name, limit, overloaded) for name, limit in limits.items()))

    def _target(self, name: str, limit: str | float, overloaded: bool) -> Target:
        metric, _, statistic = name.rpartition("_")
        latency = self.summary.get(f"{metric}_ms")
        if not isinstance(latency, dict) or statistic not in latency or statistic == "count":
            raise ValueError(f"there is no latency `{name}`: expected such as ttft_p95, tpot_mean")
        return Target(name, _milliseconds(limit), latency[statistic], overloaded)

    def __repr__(self) -> str:
        summary = self.summary
        p95 = summary["ttft_ms"]["p95"]
        ttft = "none" if p95 is None else f"{p95:.0f} ms"
        capacity = summary["capacity"]
        return (
            f"Result({self._report['scenario']!r}: {summary['requests']['total']} requests, {capacity['state']}, "
            f"load {capacity['load']:.0%}, TTFT p95 {ttft})"
        )

    def _repr_html_(self) -> str:
        return _html.table(self._report)


def _milliseconds(time: str | float) -> float:
    if isinstance(time, str):
        time = milliseconds(time)
    if not time > 0:
        raise ValueError(f"a limit must be longer than 0, not {time}")
    return float(time)
