"""Charts of results: Vega-Lite specifications, which notebooks draw by themselves and Altair takes over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from ._tokentide import sweep_chart

if TYPE_CHECKING:
    from ._tokentide import Run
    from .sweep import Sweep

#: What Jupyter draws without a plotting package.
MIME = "application/vnd.vegalite.v5+json"

#: Columns of a sweep that say what is to be said of a picture.
DOUBTS = ("capacity_state", "calibrated", "out_of_range")

#: How requests are told apart in a distribution.
By = Literal["all", "class", "input_bucket"]


class Chart:
    """A chart. A notebook shows it; ``spec`` is its Vega-Lite specification, ``to_altair()`` an Altair chart to change."""

    def __init__(self, spec: str) -> None:
        self._spec = spec

    @property
    def spec(self) -> dict[str, Any]:
        """The specification; a new dict each time."""
        spec: dict[str, Any] = json.loads(self._spec)
        return spec

    def to_json(self) -> str:
        """The specification as JSON in one line."""
        return self._spec

    def to_altair(self) -> Any:
        """As an Altair chart."""
        try:
            import altair
        except ImportError as error:
            raise ImportError("altair is not installed: pip install altair") from error
        return altair.Chart.from_dict(self.spec)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {MIME: self.spec, "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"Chart({self.spec['title']['text']!r})"


class RunPlots:
    """Charts of a run. Of several replications they show the first. ``by`` tells requests apart."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def ttft_cdf(self, by: By = "all") -> Chart:
        """Share of requests up to a time to first token [ms], with the targets it is held to."""
        return self._chart("ttft_cdf", by)

    def tpot_cdf(self, by: By = "all") -> Chart:
        """Share of requests up to a time per output token [ms], with the targets it is held to."""
        return self._chart("tpot_cdf", by)

    def e2e_cdf(self, by: By = "all") -> Chart:
        """Share of requests up to a time from arrival to last token [ms], with the targets it is held to."""
        return self._chart("e2e_cdf", by)

    def queue_cdf(self, by: By = "all") -> Chart:
        """Share of requests up to a queue time [ms], with the targets it is held to."""
        return self._chart("queue_cdf", by)

    def itl_cdf(self, by: Literal["all", "class"] = "all") -> Chart:
        """Share of the gaps between tokens up to one [ms]."""
        return self._chart("itl_cdf", by)

    def kv_timeline(self) -> Chart:
        """KV blocks in use over time [s], the mean of the replicas and the fullest."""
        return self._chart("kv_timeline")

    def requests_timeline(self) -> Chart:
        """Requests that run and wait, over time [s]."""
        return self._chart("requests_timeline")

    def waiting_tokens_timeline(self) -> Chart:
        """Prompt tokens that no replica has begun with, over time [s]."""
        return self._chart("waiting_tokens_timeline")

    def replicas_timeline(self) -> Chart:
        """Replicas wanted, ready, starting and draining over time [s], where they change."""
        return self._chart("replicas_timeline")

    def throughput_timeline(self) -> Chart:
        """Tokens per second that come and go, over time [s]."""
        return self._chart("throughput_timeline")

    def tokens_by_source(self) -> Chart:
        """Input tokens per request by where they come from, for each class."""
        return self._chart("tokens_by_source")

    def _chart(self, name: str, by: str = "all") -> Chart:
        return Chart(self._run.chart(name, by))


class SweepPlots:
    """Charts of a sweep: means over the runs of each point. Latencies of overloaded points are crossed out, not drawn."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep

    def heatmap(self, x: str, y: str, figure: str = "ttft_ms_p95") -> Chart:
        """A figure over two settings. Names are those of the columns, or the last key of a setting's path."""
        return self._chart("heatmap", [self._setting(x), self._setting(y), figure])

    def line(self, x: str, figure: str = "ttft_ms_p95", colour: str | None = None) -> Chart:
        """A figure over a setting, a line for each value of another."""
        settings = [self._setting(x)] + ([] if colour is None else [self._setting(colour)])
        return self._chart("line", [settings[0], figure, *settings[1:]])

    def throughput_latency(self, latency: str = "ttft_ms_p95", colour: str | None = None) -> Chart:
        """A latency against the output tokens per second, in the colours of a setting's values."""
        settings = [] if colour is None else [self._setting(colour)]
        return self._chart("scatter", ["output_tokens_per_s", latency, *settings])

    def pareto(self, cost: str = "cost_usd_per_hour", latency: str = "ttft_ms_p95") -> Chart:
        """All points by two figures, those marked of which no other has less of both."""
        return self._chart("pareto", [cost, latency])

    def _setting(self, name: str) -> str:
        paths = [path for path in self._sweep.settings if path == name or path.endswith(f".{name}")]
        if len(paths) != 1:
            raise ValueError(f"`{name}` is {'no' if not paths else 'more than one'} setting of {', '.join(self._sweep.settings)}")
        return paths[0]

    def _chart(self, kind: str, columns: list[str]) -> Chart:
        sweep = self._sweep
        known = ["point", "replication", "seed", *sweep.settings, "error", *DOUBTS]
        missing = next((column for column in columns if column not in sweep.columns), None)
        if missing is not None:
            raise ValueError(f"the sweep has no column `{missing}`")
        # The settings stand between the seed and the error, as in the table.
        table = {name: sweep[name] for name in dict.fromkeys([*known, *columns])}
        return Chart(sweep_chart(json.dumps(table), kind, columns))
