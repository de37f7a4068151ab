"""What the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

import tokentide as tt

#: A small cluster with two classes, one of them with a target.
TEXT = """\
name = "small"
duration = "2m"
warmup = "10s"

[model]
name = "llama-3.1-8b"

[gpu]
name = "h100-sxm"

[cluster]
replicas = 2
router = "least-tokens"

[[class]]
name = "rag"
arrivals = { process = "gamma", rate = 4.0, cv = 1.5 }
slo = { ttft_p95 = "800ms" }

[class.prompt]
system = 700
retrieved = { top_k = 4, chunk = 500 }
user = { median = 25, p95 = 120 }

[class.output]
max_tokens = 1024
tokens = { median = 220, p95 = 900 }

[[class]]
name = "chat"
tenant = "acme"
arrivals = { process = "poisson", rate = 2.0 }

[class.prompt]
user = { median = 400, p95 = 2000 }

[class.output]
tokens = { median = 100, p95 = 400 }
"""


@pytest.fixture(scope="session")
def root() -> Path:
    """The workspace."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def small() -> tt.Scenario:
    return tt.Scenario.parse(TEXT, filename="small.toml")


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(TEXT)
    return path
