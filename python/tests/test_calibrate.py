"""Profiles fitted to what was measured of a server: of one whose step costs are known."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

import tokentide as tt

#: Costs of the server [ms]: a step, a prompt token, a decode, a token of context, a request, a chunk.
STEP, TOKEN, DECODE, CONTEXT, REQUEST, CHUNK = 8.0, 0.08, 0.05, 0.0006, 3.0, 1.0
SERVER = '[model]\nname = "llama-3.1-8b"\n[gpu]\nname = "h100-sxm"\n[engine]\nmax_num_batched_tokens = 2048\n'


def probe() -> list[dict]:
    """The log of a probe of that server, as `tokentide calibrate probe` writes it."""
    lines: list[dict] = [{"record": "server", "schema": 1, "url": "", "model": "m", "started": "", "seed": 0, "program": ""}]
    now = 0.0

    def point(kind: str, batch: int, context: int, rep: int, streams: list[list[float]], output: int) -> None:
        name = f"{kind}/{batch}x{context}"
        for index, times in enumerate(streams):
            request = {"record": "request", "point": name, "rep": rep, "index": index, "sent_ns": round(1e6 * now)}
            chunks = [(round(1e6 * (now + at)), i + 1) for i, at in enumerate(times)]
            lines.append(request | {"input": context, "output": output, "chunks": chunks, "counted": True})
        end = {"record": "point", "point": name, "rep": rep, "kind": kind, "batch": batch, "context": context}
        lines.append(end | {"start_ns": 0, "end_ns": 0})

    for rep in range(3):
        for tokens in (32, 64, 128, 256, 512, 1024, 2048):
            point("prefill", 0, tokens, rep, [[REQUEST + STEP + CHUNK + TOKEN * tokens]], 1)
            now += 1000
        for batch in (1, 4, 16, 32):
            for context in (32, 60):
                times = [REQUEST + STEP + CHUNK + TOKEN * context * batch]
                for step in range(30):
                    times.append(times[-1] + STEP + (DECODE + TOKEN) * batch + CONTEXT * batch * (context + step + 1))
                point("decode", batch, context, rep, [times] * batch, len(times))
                now += 1000
    return lines


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A log and the server's scenario."""
    folder = tmp_path_factory.mktemp("calibrate")
    log, server = folder / "probe.jsonl", folder / "server.toml"
    log.write_text("".join(json.dumps(line) + "\n" for line in probe()))
    server.write_text(SERVER)
    return log, server


def test_a_fit_tells_what_the_server_costs(files: tuple[Path, Path]) -> None:
    fit = tt.calibrate.fit(*files)
    points = [fit.points.row(i) for i in range(len(fit.points))]
    assert len(points) >= 15 and all(abs(p["predicted_ms"] / p["measured_ms"] - 1) < 0.05 for p in points)
    assert fit.errors["prefill"]["mean_percent"] < 2 and fit.errors["decode"]["mean_percent"] < 2
    assert set(fit.coefficients.columns) == {"term", "ms", "half_width_ms", "unidentified"}
    assert fit.profile.startswith("schema = 1\nname = ") and repr(fit).startswith("Fit('")
    assert "<table>" in fit._repr_html_()


def test_the_profile_can_be_simulated_with(files: tuple[Path, Path], tmp_path: Path, small: tt.Scenario) -> None:
    path = tmp_path / "mine.toml"
    tt.calibrate.fit([files[0]], files[1]).write(path)
    result = tt.simulate(small.with_({"cost.profile": path, "class.rag.arrivals.rate": 0.2, "class.chat.arrivals.rate": 0.2}))
    model = result.to_dict()["model"]
    assert model["calibrated"] and "live server" in model["source"]


def test_the_command_line_writes_the_same(files: tuple[Path, Path], tmp_path: Path) -> None:
    binary = os.environ.get("TOKENTIDE_BIN")
    if not binary:
        pytest.skip("TOKENTIDE_BIN names no tokentide to compare with")
    profile, report = tmp_path / "profile.toml", tmp_path / "report.json"
    command = [binary, "calibrate", "fit", files[0], "--scenario", files[1], "-o", profile, "--report", report]
    subprocess.run(command, check=True, capture_output=True)
    fit = tt.calibrate.fit(*files)
    assert fit.to_json(pretty=True) + "\n" == report.read_text()
    assert fit.profile == profile.read_text()


def test_what_cannot_be_fitted_is_told(files: tuple[Path, Path], tmp_path: Path) -> None:
    log, server = files
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n".join(log.read_text().splitlines()[:3]) + "\n")
    aggregate = tmp_path / "bench.json"
    request = {"start_times": [0.0], "input_lens": [10], "output_lens": [2], "ttfts": [0.1], "itls": [[0.01]], "errors": [""]}
    aggregate.write_text(json.dumps({"endpoint_type": "openai", "completed": 1, "mean_ttft_ms": 100.0} | request))
    for paths, settings, error, says in (
        ([], {}, ValueError, "nothing to fit to"),
        ([empty], {}, ValueError, "points"),
        ([aggregate], {}, ValueError, "no times of single tokens"),
        ([tmp_path / "absent.jsonl"], {}, ValueError, "absent.jsonl"),
        ([log], {"model.name": "llama"}, tt.ScenarioError, "llama"),
        ([log], {"gpu.pipeline_parallel": 2}, ValueError, "cannot be told apart"),
    ):
        with pytest.raises(error, match=says):
            tt.calibrate.fit(paths, server, set=settings)
    with pytest.raises(OSError, match=r"absent.toml"):
        tt.calibrate.fit(log, tmp_path / "absent.toml")
