"""What all reports have in common."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any, Protocol


class Native(Protocol):
    """The compiled half of a report."""

    def to_json(self, pretty: bool) -> str:
        """As JSON."""


class Report:
    """A report of the command line's, as JSON."""

    def __init__(self, native: Native) -> None:
        self._as_json = native

    def to_json(self, pretty: bool = False) -> str:
        """The report as JSON: in one line, or ``pretty``, as the command line prints it."""
        return self._as_json.to_json(pretty)

    def to_dict(self) -> dict[str, Any]:
        """The whole report; a new dict each time."""
        report: dict[str, Any] = json.loads(self.to_json())
        return report

    @cached_property
    def _report(self) -> dict[str, Any]:
        return self.to_dict()

    @property
    def notes(self) -> list[str]:
        """Assumptions, approximations and warnings to know before trusting a figure."""
        notes: list[str] = self._report["notes"]
        return notes
