"""How many replicas, and what a change does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Literal

from ._frame import Frame
from ._report import Report
from ._tokentide import Scenario, Study
from ._tokentide import compare as _compare
from ._tokentide import plan as _plan

#: A budget: an assertion, or a dict with the keys of ``[[check]]``.
Budget = str | Mapping[str, Any]


class _Studied(Report):
    """A report whose lists can be had as tables."""

    def __init__(self, study: Study) -> None:
        super().__init__(study)
        self._study = study


class Plan(_Studied):
    """How many replicas of each option meet every target: what ``tokentide plan --format json`` says."""

    @property
    def options(self) -> Frame:
        """A row per option, those with an answer first, the cheapest first: ``option``, ``verdict``, ``replicas``, ``usd_per_hour``,
        ``load``, and on a faster and a slower server ``band_faster``, ``band_slower``."""
        return Frame(self._study.rows("/options"))

    @property
    def best(self) -> dict[str, Any] | None:
        """The cheapest option that has an answer; None if none has."""
        first: dict[str, Any] = self._report["options"][0]
        return None if first["replicas"] is None else first

    @property
    def replicas(self) -> int | None:
        """Least replicas of the best option; None if no option has an answer."""
        return None if self.best is None else self.best["replicas"]

    @property
    def verdict(self) -> str:
        """How the answer of the first option stands: holds, fragile, uncertain, or why there is none."""
        verdict: str = self._report["options"][0]["verdict"]
        return verdict

    def __repr__(self) -> str:
        return f"Plan({self._report['scenario']!r}: {self._words()})"

    def _words(self) -> str:
        if self.best is None:
            return f"no answer, {self.verdict}: {self._report['options'][0]['reason']}"
        return f"{self.replicas} x {self.best['deployment']}, {self.verdict}"

    def _repr_html_(self) -> str:
        shown = ("option", "verdict", "replicas", "usd_per_hour", "load", "reason")
        options = self.options
        columns = [name for name in shown if name in options.columns]
        head = "".join(f"<th>{name}</th>" for name in columns)
        cells = ([_shown(options.row(i)[name]) for name in columns] for i in range(len(options)))
        rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells)
        return f"<table><caption>{escape(self._report['scenario'])}: {escape(self._words())}</caption><tr>{head}</tr>{rows}</table>"


class Comparison(_Studied):
    """A change and its base, side by side: what ``tokentide diff --format json`` says."""

    @property
    def headline(self) -> str:
        """One sentence: what changed, why, and what it does."""
        headline: str = self._report["headline"]
        return headline

    @property
    def rows(self) -> Frame:
        """A row per figure: its value on both sides, the difference and its interval, and whether it surely ``changed``."""
        return Frame(self._study.rows("/scenarios/0/rows"))

    @property
    def sources(self) -> Frame:
        """A row per source of input tokens: tokens per request on both sides."""
        return Frame(self._study.rows("/scenarios/0/sources"))

    @property
    def changed(self) -> bool:
        """Whether any figure surely changed."""
        return any(row["changed"] for row in self._report["scenarios"][0]["rows"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.headline!r})"

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.headline)}</p>{self.rows._repr_html_()}"


class Check(Comparison):
    """A change held to budgets: what ``tokentide check --format json`` says. True if none is broken."""

    @property
    def checks(self) -> Frame:
        """A row per budget: ``id``, ``assert``, ``verdict``, the limit, and the value with its interval."""
        return Frame(self._study.rows("/checks"))

    @property
    def verdicts(self) -> dict[str, int]:
        """Checks by verdict: pass, warn, fail, inconclusive where chance could decide, fragile where the server's speed could."""
        verdicts: dict[str, int] = self._report["verdicts"]
        return verdicts

    @property
    def passed(self) -> bool:
        """Whether no check failed. Inconclusive and fragile ones do not fail: ``strictly_passed``."""
        return "fail" not in self.verdicts

    @property
    def strictly_passed(self) -> bool:
        """Whether no check failed, and none could have."""
        return not {"fail", "inconclusive", "fragile"} & set(self.verdicts)

    def __bool__(self) -> bool:
        return self.passed

    def _repr_html_(self) -> str:
        return f"{super()._repr_html_()}{self.checks._repr_html_()}"


def plan(
    scenario: Scenario,
    slo: Mapping[str, str | float] | None = None,
    options: Mapping[str, Iterable[Any]] | None = None,
    *,
    confidence: float = 0.95,
    model_error: float = 0.15,
    max_replicas: int = 256,
    max_seeds: int = 12,
    zones: int | None = None,
    threads: int | None = None,
) -> Plan:
    """Find the least replicas that meet every target, proved from both sides: ``tokentide plan``.

    slo: targets for every class, ``{"ttft_p95": "800ms"}`` (or ``"ttft.p95"``), in place of the scenario's own for that figure; a
        number is milliseconds.
    options: what to compare, every combination: ``{"gpu.name": ["h100-sxm", "l40s"], "gpu.tensor_parallel": [1, 2]}``.
    confidence, model_error: shares. max_seeds: an answer that is still open then is called uncertain. zones: how many the replicas
        are spread over.

    The GIL is released meanwhile. Ctrl-C ends it once the runs under way have ended. Raises ScenarioError if an option is wrong, or
    none fits; ValueError if no class has a target.
    """
    named = {figure.replace(".", "_"): limit for figure, limit in (slo or {}).items()}
    targets = [f"{figure}={limit if isinstance(limit, str) else f'{limit}ms'}" for figure, limit in named.items()]
    axes = {path: list(values) for path, values in (options or {}).items()}
    if empty := next((path for path, values in axes.items() if not values), None):
        raise ValueError(f"`{empty}` has no values")
    return Plan(_plan(scenario, targets, axes, (confidence, model_error, max_replicas, max_seeds, zones), threads))


def diff(
    base: Scenario,
    head: Scenario,
    *,
    replications: int | Literal["auto"] = 8,
    confidence: float = 0.99,
    model_error: float = 0.15,
    tokens_only: bool = False,
    threads: int | None = None,
) -> Comparison:
    """Compare a change with its base, both simulated on the same requests: ``tokentide diff``.

    replications: paired runs of each side, or "auto": as many as the intervals need, 64 at most.
    confidence, model_error: shares. tokens_only: count tokens and bound the load, without any simulation.

    The GIL is released meanwhile. Ctrl-C ends it once the runs under way have ended.
    """
    how = (None if replications == "auto" else replications, confidence, model_error, tokens_only)
    return Comparison(_compare(base, head, None, how, threads))


def check(
    base: Scenario | None,
    head: Scenario,
    budgets: Iterable[Budget] = (),
    *,
    replications: int | Literal["auto"] = 8,
    confidence: float = 0.99,
    model_error: float = 0.15,
    tokens_only: bool = False,
    threads: int | None = None,
) -> Check:
    """Hold a change to budgets: ``tokentide check``.

    base: what it is compared with; None: with nothing, so that relative budgets are skipped.
    budgets: assertions such as ``"input_tokens.p95 <= +10%"``, or dicts with the keys of ``[[check]]``; the head's own are judged
        too. ``tokentide explain checks`` lists the metrics.

    For the others see ``diff``. Raises ScenarioError for a budget that cannot be read or measures nothing, ValueError without any.
    """
    asked = [{"assert": budget} if isinstance(budget, str) else dict(budget) for budget in budgets]
    how = (None if replications == "auto" else replications, confidence, model_error, tokens_only)
    return Check(_compare(base, head, asked, how, threads))


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:,.3g}" if isinstance(value, float) else escape(str(value))
