"""Cost profiles fitted to what was measured of a server."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from ._frame import Frame
from ._report import Report
from ._tokentide import Study
from ._tokentide import fit_server as _fit_server

#: A path, as text or as such.
PathLike = str | os.PathLike[str]


class Fit(Report):
    """A profile, and what it is worth: what ``tokentide calibrate fit --report`` writes."""

    def __init__(self, study: Study, profile: str) -> None:
        super().__init__(study)
        self._study = study
        self._profile = profile

    @property
    def profile(self) -> str:
        """The profile as TOML: what a scenario's ``cost.profile`` names."""
        return self._profile

    @property
    def coefficients(self) -> Frame:
        """A row per ``term``: ``ms``, beyond what memory and arithmetic need at the least, half its 95 % interval ``half_width_ms``,
        and why the data do not tell it, ``unidentified``."""
        return Frame(self._study.rows("/coefficients"))

    @property
    def points(self) -> Frame:
        """A row per ``point``, like steps put together: ``measured_ms``, their mean, and ``predicted_ms`` by a fit without it."""
        return Frame(self._study.rows("/points"))

    @property
    def errors(self) -> dict[str, Any]:
        """Errors of step times at points left out of the fit [%], for decode, prefill and mixed steps."""
        errors: dict[str, Any] = self._report["errors"]
        return errors

    def write(self, path: PathLike) -> None:
        """Write the profile. Raises OSError."""
        Path(path).write_text(self._profile, encoding="utf-8")

    def __repr__(self) -> str:
        worst = ", ".join(f"{kind} {error['mean_percent']:.1f} %" for kind, error in self.errors.items() if error)
        return f"Fit({self._report['profile']!r}: {self._report['samples']} samples, mean errors {worst})"

    def _repr_html_(self) -> str:
        beware = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return f"<p>{escape(repr(self))}</p>{self.coefficients._repr_html_()}<ul>{beware}</ul>"


def fit(
    files: PathLike | Iterable[PathLike], server: PathLike, *, set: Mapping[str, Any] | None = None, kernels: PathLike | None = None
) -> Fit:
    """Fit a profile of a server to what was measured of it: ``tokentide calibrate fit``.

    files: logs of ``tokentide calibrate probe``, or benchmarks with the times of each token (``vllm bench serve --save-detailed``,
        AIPerf, inference-perf).
    server: a scenario file, of which the model, the GPU and the engine are used; ``set`` changes values of it.
    kernels: steps of the same server's kernels (``tokentide calibrate kernels -o``): host and GPU time are then fitted apart.

    The GIL is released meanwhile. Raises OSError for files that cannot be read, ScenarioError for a server that is wrong, ValueError
    if the files do not suffice or cannot be of this server.
    """
    paths = [files] if isinstance(files, (str, os.PathLike)) else list(files)
    return Fit(*_fit_server(paths, server, dict(set or {}), kernels))
