#!/usr/bin/env bash
# Builds and installs the Python package into an environment of its own, runs its tests and executes the notebooks as scripts.
# Needs Rust and Python 3.10 or later; PYTHON names another interpreter. The environment stays under the target folder for the next time.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
venv=$target/python-check
[[ -x $venv/bin/python ]] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --force-reinstall --no-deps ./python
"$venv/bin/python" -c 'import pytest' 2>/dev/null || "$venv/bin/python" -m pip install --quiet 'pytest>=8'

"$venv/bin/python" -m pytest --quiet python
for notebook in notebooks/*.py; do
    echo "== $notebook"
    "$venv/bin/python" "$notebook"
done
