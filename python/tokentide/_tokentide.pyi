"""The compiled half of the package."""

import os
from collections.abc import Mapping
from typing import Any, Final, TypedDict, final, type_check_only

__all__ = ["Run", "Scenario", "ScenarioError", "__version__", "simulate"]

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
class Run:
    """A finished run; ``Result`` is its public face."""

    def to_json(self, pretty: bool) -> str:
        """The report as JSON."""
    def requests(self) -> dict[str, list[Any]] | None:
        """A list per column in the order of arrival; None if the requests were not kept."""

def simulate(scenario: Scenario, seed: int | None, replications: int, threads: int | None, records: bool) -> Run:
    """See ``tokentide.simulate``."""
