#!/usr/bin/env bash
# Builds and installs the Python package into an environment of its own, checks its types, runs its tests and executes the notebooks
# as scripts. Needs Rust and Python 3.10 or later; PYTHON names another interpreter. The environment stays under the target folder for
# the next time. Ray is tested where it is installed: 80 MB that few need.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
venv=$target/python-check
[[ -x $venv/bin/python ]] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --force-reinstall --no-deps ./python
"$venv/bin/python" -c 'import altair, distributed, duckdb, mypy, numpy, pandas, polars, prometheus_client, pyarrow, pytest, ruff, tqdm' 2>/dev/null ||
    "$venv/bin/python" -m pip install --quiet 'tokentide[test]'

"$venv/bin/python" -m ruff format --check --quiet --config python/pyproject.toml python/tokentide python/tests notebooks
(cd python && "$venv/bin/python" -m mypy)
(cd "$venv" && bin/python -m mypy.stubtest tokentide._tokentide)
"$venv/bin/python" -m pytest --quiet python
for notebook in notebooks/*.py; do
    echo "== $notebook"
    "$venv/bin/python" "$notebook"
done
