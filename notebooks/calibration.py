# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own server: fit, residuals, validation
#
# A profile is fitted to what a client saw of a server, and held against loads that the fit has not seen. The server is vLLM 0.32 on two
# cores of a CPU with a tiny model of random weights, recorded by its own client; yours would be measured by `tokentide calibrate probe`,
# whose format the recordings are put into here, or by `vllm bench serve --save-detailed`.

# %%
import csv
import gzip
import json
import statistics
import tempfile
from pathlib import Path

import tokentide as tt

here = Path(__file__).parent if "__file__" in globals() else Path()
server = here.joinpath("../tests/data/cpu-server/server.toml").resolve()
recordings = here.joinpath("../../shared/data/vllm_cpu").resolve()
work = Path(tempfile.mkdtemp())
at_hand = recordings.exists()
if not at_hand:
    print("skipped: the recordings are not at hand")


def requests(run: str) -> list[dict]:
    """What the client saw of each request of a recorded run: `chunk_t` [s after sending], `chunk_tokens` so far."""
    with gzip.open(recordings / run / "client.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


SERVER = {"record": "server", "schema": 1, "url": "", "model": "mini-llama", "engine": "vllm", "engine_version": "0.32.0"}
LIMITS = {"max_num_batched_tokens": 512, "max_num_seqs": 32, "started": "", "seed": 0, "program": ""}


def log(runs: dict[str, str]) -> Path:
    """Recorded probes in the format of `tokentide calibrate probe`: a line per request, and one for each repeat of a point."""
    lines = [SERVER | LIMITS]
    for run, kind in runs.items():
        repeats: dict[tuple, list[dict]] = {}
        for seen in requests(run):
            batch, context = (0, seen["input"]) if kind == "prefill" else (seen["conc"], seen["ctx"])
            repeats.setdefault((f"{kind}/{batch}x{context}", seen["rep"], batch, context), []).append(seen)
        for (point, rep, batch, context), of_point in repeats.items():
            for index, seen in enumerate(of_point):
                sent = seen["send"] - seen["t0"]
                chunks = [(round(1e9 * (sent + at)), has) for at, has in zip(seen["chunk_t"], seen["chunk_tokens"], strict=True)]
                request = {"record": "request", "point": point, "rep": rep, "index": index, "sent_ns": round(1e9 * sent)}
                lines.append(request | {"input": seen["input"], "output": seen["output"], "chunks": chunks, "counted": True})
            end = {"record": "point", "point": point, "rep": rep, "kind": kind, "batch": batch, "context": context}
            lines.append(end | {"start_ns": 0, "end_ns": 0})
    path = work / "probe.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


# %% [markdown]
# ## The fit
#
# Solo prompts, decodes at a grid of batch and context, and steps with both. Each coefficient has its interval; what the data do not tell is
# said, and not made up.

# %%
probes = {"probe_prefill": "prefill", "probe_decode": "decode", "probe_mixed": "mixed"}
fit = tt.calibrate.fit(log(probes), server) if at_hand else None
fit

# %%
if fit:
    for term in map(fit.coefficients.row, range(len(fit.coefficients))):
        doubt = f"  not identified: {term['unidentified']}" if term["unidentified"] else ""
        print(f"{term['term']:>24}: {term['ms']:9.5f} ± {term['half_width_ms']:.5f} ms{doubt}")
    for note in fit.notes:
        print("beware:", note)

# %% [markdown]
# ## Residuals
#
# Each point predicted by a fit without it.

# %%
points = [fit.points.row(i) for i in range(len(fit.points))] if fit else []
residuals = tt.Chart(
    json.dumps(
        {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            "title": {"text": "Step times, each predicted by a fit without it"},
            "data": {"values": points},
            "transform": [{"calculate": "100 * (datum.predicted_ms / datum.measured_ms - 1)", "as": "error"}],
            "mark": {"type": "point", "filled": True, "tooltip": {"content": "data"}},
            "encoding": {
                "x": {"field": "measured_ms", "type": "quantitative", "title": "measured [ms]", "scale": {"type": "log"}},
                "y": {"field": "error", "type": "quantitative", "title": "predicted less measured [%]"},
                "size": {"field": "samples", "type": "quantitative"},
            },
        }
    )
)
residuals

# %%
if fit:
    errors = sorted(abs(point["predicted_ms"] / point["measured_ms"] - 1) for point in points)
    print(f"{len(points)} points, median error {statistics.median(errors):.1%}, worst {errors[-1]:.1%}")
    assert statistics.median(errors) < 0.1

# %% [markdown]
# ## Validation
#
# Loads at 40 and 60 % of capacity, of which the fit has seen nothing: the same requests at the same times, simulated with the profile.
# The machine is shared, and in either minute some percent slower than while it was probed: the spread of such recordings is 10 to 20 %.


# %%
def predicted(run: str) -> tt.Result:
    """The requests of a recorded run, simulated with the fitted profile."""
    trace = work / f"{run}.csv"
    with trace.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["arrival_s", "input_tokens", "output_tokens"])
        seen = sorted(requests(run), key=lambda request: request["send"])
        rows.writerows([r["send"] - seen[0]["send"], r["input"], r["chunk_tokens"][-1]] for r in seen)
    profile = work / "profile.toml"
    fit.write(profile)
    return tt.simulate(tt.Scenario.load(server, {"cost.profile": profile, "trace.path": trace}))


def measured(run: str) -> dict[str, float]:
    """Medians that the client saw [ms]."""
    seen = requests(run)
    tpot = [(r["chunk_t"][-1] - r["chunk_t"][0]) / (r["chunk_tokens"][-1] - 1) for r in seen if r["chunk_tokens"][-1] > 1]
    columns = {"ttft_ms": [r["chunk_t"][0] for r in seen], "tpot_ms": tpot, "e2e_ms": [r["chunk_t"][-1] for r in seen]}
    return {name: 1000 * statistics.median(values) for name, values in columns.items()}


for run in ("poisson_40", "poisson_60") if at_hand else ():
    result, saw = predicted(run), measured(run)
    for figure, value in saw.items():
        says = result.summary[figure]["p50"]
        print(f"{run}: {figure[:-3]:>4} p50 {says:7.1f} ms predicted, {value:7.1f} ms measured ({says / value - 1:+.1%})")
        assert abs(says / value - 1) < 0.2, "within the spread of such recordings"
