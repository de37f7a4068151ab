"""The compiled half of the package."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypedDict, final, type_check_only

__all__ = [
    "Frame",
    "Kept",
    "Run",
    "Scenario",
    "ScenarioError",
    "Spec",
    "Study",
    "__version__",
    "_restore",
    "compare",
    "fit_server",
    "milliseconds",
    "plan",
    "simulate",
    "sweep_chart",
]

__version__: Final[str]

@type_check_only
class Problem(TypedDict):
    """One thing wrong with a scenario. Line and column count from 1; None where it has no place."""

    file: str
    line: int | None
    column: int | None
    message: str
    help: str | None

class ScenarioError(ValueError):
    """What is wrong with a scenario, one line per problem: ``file:line:column: message (help)``."""

    problems: list[Problem]

@final
class Scenario:
    """What to simulate. Immutable: ``with_`` makes a changed copy."""

    @staticmethod
    def load(path: str | os.PathLike[str], set: Mapping[str, Any] | None = None) -> Scenario:
        """Read a scenario file (TOML), with changes as of ``with_``. Raises ScenarioError."""

    @staticmethod
    def parse(
        text: str,
        set: Mapping[str, Any] | None = None,
        *,
        filename: str = "scenario.toml",
        base_dir: str | os.PathLike[str] | None = None,
    ) -> Scenario:
        """Read a scenario from its text (TOML).

        ``filename`` is for messages and the default name; paths in the scenario are relative to ``base_dir``, by default the working
        directory. Raises ScenarioError.
        """

    @staticmethod
    def from_dict(scenario: Mapping[str, Any], *, base_dir: str | os.PathLike[str] | None = None) -> Scenario:
        """Make a scenario of a dict with the keys of a scenario file: ``{"model": {"name": ...}, "class": [{"name": ...}]}``.

        Paths in it are relative to ``base_dir``, by default the working directory. Raises ScenarioError, TypeError for values that
        it cannot hold.
        """

    def with_(self, set: Mapping[str, Any]) -> Scenario:
        """A copy with values changed: ``{"class.rag.prompt.retrieved.top_k": 12}``.

        Paths are those of the command line's ``--set``, classes are addressed by name; values are bools, numbers, texts, paths,
        lists and dicts. Raises ScenarioError if the changed scenario is wrong, TypeError for values that it cannot hold.
        """

    @property
    def name(self) -> str:
        """Its name."""
    @property
    def seed(self) -> int:
        """Seed of every random stream."""
    @property
    def hash(self) -> str:
        """Identity of what was typed, changes included and the seed left out: 16 hex digits."""
    @property
    def classes(self) -> list[str]:
        """Names of the workload classes."""
    @property
    def notes(self) -> list[str]:
        """Assumptions made, values clamped, approximations."""
    @property
    def text(self) -> str:
        """The text as loaded, without changes."""
    @property
    def overrides(self) -> list[tuple[str, str]]:
        """The changes, in order, as (path, TOML)."""

@final
class Frame:
    """A table; ``tokentide.Frame`` is its public face."""

    @staticmethod
    def tidy(rows: str) -> Frame:
        """A row per object of a list in JSON."""
    @staticmethod
    def read_sweep(path: str | os.PathLike[str]) -> tuple[Frame, list[str]]:
        """The table of a sweep, and the paths of its settings."""
    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The table as an Arrow C stream."""
    def __len__(self) -> int: ...
    def __getitem__(self, name: str, /) -> list[Any]: ...
    @property
    def columns(self) -> list[str]:
        """Names, in order."""
    def take(self, rows: list[int]) -> Frame:
        """Some of the rows."""
    def row(self, number: int) -> dict[str, Any]:
        """A row as a dict."""
    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes .parquet or .csv."""

@final
class Run:
    """A finished run; ``Result`` is its public face."""

    def to_json(self, pretty: bool) -> str:
        """The report as JSON."""
    def requests(self) -> Frame | None:
        """A row per request; None if they were not kept."""
    def timeline(self) -> Frame:
        """A row per bin of the timeline."""
    def chart(self, name: str, by: str) -> str:
        """A chart as JSON: a Vega-Lite specification."""
    def groups(self, which: str) -> Frame:
        """A row per group: classes, buckets, output_buckets or replicas."""

@final
class Spec:
    """A scenario and points."""

    def __new__(
        cls,
        scenario: Scenario,
        grid: Mapping[str, Any],
        points: Sequence[Mapping[str, Any]],
        sample: tuple[str, int, int, Mapping[str, Any]] | None,
        replications: int,
        seeds: str,
    ) -> Spec: ...
    def __len__(self) -> int: ...
    @property
    def settings(self) -> list[str]:
        """Paths of what is varied."""
    def run_points(self, indices: Sequence[int]) -> bytes:
        """Runs some points on this thread: a line of JSON for each."""

@final
class Kept:
    """Where the results of a sweep are kept while it runs."""

    def __new__(cls, spec: Spec, out: str | os.PathLike[str] | None, fresh: bool, retry_failed: bool) -> Kept: ...
    def todo(self) -> list[int]:
        """Indices of the points that are still to be run."""
    def keep(self, lines: bytes) -> None:
        """Keeps what ``Spec.run_points`` gave."""
    def run(self, threads: int | None, progress: Callable[[int, int], object]) -> None:
        """Runs all that is to be run."""
    def finish(self) -> Frame:
        """Writes the table, if there is to be one, and gives it."""
    def close(self) -> None:
        """Lets go of the files."""

@final
class Study:
    """A report as JSON, of which lists can be had as tables."""

    def to_json(self, pretty: bool) -> str:
        """As the command line prints it, or in one line."""
    def rows(self, pointer: str) -> Frame:
        """A row per object of the list at a JSON pointer."""

def fit_server(
    files: Sequence[str | os.PathLike[str]],
    server: str | os.PathLike[str],
    changes: Mapping[str, Any],
    kernels: str | os.PathLike[str] | None,
) -> tuple[Study, str]:
    """See ``tokentide.calibrate.fit``."""

def milliseconds(text: str) -> float:
    """A time such as ``800ms`` [ms], as in scenarios. Raises ValueError."""

def plan(
    scenario: Scenario,
    slo: Sequence[str],
    options: Mapping[str, Any],
    limits: tuple[float, float, int, int, int | None],
    threads: int | None,
) -> Study:
    """See ``tokentide.plan``."""

def compare(
    base: Scenario | None,
    head: Scenario,
    budgets: Sequence[Mapping[str, Any]] | None,
    how: tuple[int | None, float, float, bool],
    threads: int | None,
) -> Study:
    """See ``tokentide.diff`` and ``tokentide.check``."""

def sweep_chart(table: str, kind: str, columns: Sequence[str]) -> str:
    """A chart of a table, an object of columns in JSON, as JSON: heatmap, line, scatter or pareto."""

def simulate(scenario: Scenario, seed: int | None, replications: int, threads: int | None, records: bool) -> Run:
    """See ``tokentide.simulate``."""

def _restore(text: str, filename: str, base_dir: str | os.PathLike[str], overrides: list[tuple[str, str]]) -> Scenario:
    """A pickled scenario."""
