"""Simulate LLM serving on GPUs: what a prompt change does to latency, load and cost.

import tokentide as tt

base = tt.Scenario.load("scenarios/support-rag.toml")
result = tt.simulate(base.with_({"class.rag.prompt.retrieved.top_k": 12}), seed=1)
result.summary["ttft_ms"]["p95"]
study = tt.sweep(base, {"class.rag.prompt.retrieved.top_k": [4, 8, 12], "cluster.replicas": range(1, 9)})
study.to_polars()
"""

from __future__ import annotations

from . import calibrate
from ._frame import Frame
from ._tokentide import Scenario, ScenarioError, __version__
from ._tokentide import simulate as _simulate
from .plot import Chart
from .result import Result, Slo, Target
from .study import Check, Comparison, Plan, check, diff, plan
from .sweep import Sample, Sweep, load_sweep, sweep

__all__ = [
    "Chart",
    "Check",
    "Comparison",
    "Frame",
    "Plan",
    "Result",
    "Sample",
    "Scenario",
    "ScenarioError",
    "Slo",
    "Sweep",
    "Target",
    "__version__",
    "calibrate",
    "check",
    "diff",
    "load_sweep",
    "plan",
    "simulate",
    "sweep",
]


def simulate(
    scenario: Scenario,
    seed: int | None = None,
    replications: int = 1,
    threads: int | None = None,
    *,
    records: bool = False,
) -> Result:
    """Run a scenario and report what happened.

    seed: replaces the scenario's own; 0 to 2**64 - 1.
    replications: runs with the seeds seed, seed + 1, ...; figures are then their means, with half-widths of 95 % confidence
        intervals in ``to_dict()["ci95"]``.
    threads: workers for the replications; None is one per core. Results do not depend on it.
    records: keep every request of the first replication, some 300 bytes each, for ``Result.requests``.

    The GIL is released meanwhile. Ctrl-C ends the run.

    Raises ScenarioError if a trace of the scenario cannot be read, ValueError for replications or threads below 1, OverflowError for
    numbers out of range.
    """
    return Result(_simulate(scenario, seed, replications, threads, records))
