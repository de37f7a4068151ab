"""What a run reports."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

from . import _html

if TYPE_CHECKING:
    from ._tokentide import Run


class Result:
    """The report of a run.

    Its fields are those of ``tokentide simulate --format json``: times in milliseconds unless the name ends otherwise, shares from 0
    to 1, None where nothing was observed.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def to_json(self, pretty: bool = False) -> str:
        """The report as JSON: in one line, or ``pretty``, as the command line prints it."""
        return self._run.to_json(pretty)

    def to_dict(self) -> dict[str, Any]:
        """The whole report; a new dict each time."""
        report: dict[str, Any] = json.loads(self.to_json())
        return report

    @cached_property
    def _report(self) -> dict[str, Any]:
        return self.to_dict()

    @property
    def summary(self) -> dict[str, Any]:
        """Figures over all requests: latencies, tokens, load and headroom (``capacity``), service levels, cost."""
        summary: dict[str, Any] = self._report["summary"]
        return summary

    @property
    def classes(self) -> list[dict[str, Any]]:
        """Figures per class, in the scenario's order."""
        classes: list[dict[str, Any]] = self._report["classes"]
        return classes

    @property
    def buckets(self) -> list[dict[str, Any]]:
        """Figures per bucket of input tokens, ascending."""
        buckets: list[dict[str, Any]] = self._report["buckets"]
        return buckets

    @property
    def timeline(self) -> dict[str, Any]:
        """Levels over time: lists with one entry per bin of ``bin_s`` seconds."""
        timeline: dict[str, Any] = self._report["timeline"]
        return timeline

    @property
    def notes(self) -> list[str]:
        """Assumptions, approximations and warnings to know before trusting a figure."""
        notes: list[str] = self._report["notes"]
        return notes

    def requests(self) -> dict[str, list[Any]]:
        """Each request of the first replication, in the order of arrival: one plain list per column.

        Columns, units and nulls are those of the command line's ``--records``. Raises ValueError unless the run was made with
        ``simulate(..., records=True)``.
        """
        columns = self._run.requests()
        if columns is None:
            raise ValueError("the requests were not kept: use simulate(..., records=True)")
        return columns

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
