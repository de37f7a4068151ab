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
# # What does `top_k` do to latency, and how many replicas does it take?
#
# A retrieval assistant puts `top_k` chunks of 500 tokens into each prompt. Raising `top_k` changes no manifest, no model and no request
# count, and yet every chunk is prefilled before the first token comes. This notebook sweeps `top_k` and the number of replicas, and
# finds for each the knee: the largest `top_k` that still meets the target on the time to first token (TTFT).
#
# It runs in a notebook (`jupytext --to ipynb`) and as a script (`python notebooks/what_if_top_k.py`); the cells that begin with
# `assert` say what must hold, whatever the machine.

# %%
from itertools import pairwise

import tokentide as tt

SCENARIO = """
name = "support-rag"
duration = "5m"
warmup = "30s"

[model]
name = "llama-3.1-8b"

[gpu]
name = "h100-sxm"

[engine]
max_num_seqs = 256
max_num_batched_tokens = 8192
max_model_len = 32768

[cluster]
replicas = 2
router = "least-tokens"

[[class]]
name = "rag"
arrivals = { process = "poisson", rate = 8.0 }
slo = { ttft_p95 = "800ms" }

[class.prompt]
system = 700
developer = 400
history = { median = 900, p95 = 4000, max = 16000 }
retrieved = { top_k = 4, chunk = 500 }
user = { median = 25, p95 = 120 }

[class.output]
max_tokens = 1024
tokens = { median = 220, p95 = 900 }
"""

CHUNK = 500  # tokens
TARGET_MS = 800.0
TOP_K = range(2, 17)
REPLICAS = range(1, 5)

base = tt.Scenario.parse(SCENARIO, filename="support-rag.toml")
result = tt.simulate(base)
result

# %%
result.plot.ttft_cdf(by="input_bucket")

# %% [markdown]
# ## The sweep
#
# All points share a seed, so they see the same requests at the same times and differ in nothing but what was changed. The sweep uses
# every core; its result is a table that polars, pandas or DuckDB read.

# %%
study = tt.sweep(base, {"cluster.replicas": REPLICAS, "class.rag.prompt.retrieved.top_k": TOP_K}, seeds="common")
grid = [(top_k, replicas) for replicas in REPLICAS for top_k in TOP_K]
results = {
    (row["class.rag.prompt.retrieved.top_k"], row["cluster.replicas"]): row for row in map(study.frame.row, range(len(study)))
}
assert list(results) == grid
study.plot.heatmap("top_k", "replicas")

# %%
study.plot.line("top_k", colour="replicas")

# %%


def ttft_ms(top_k: int, replicas: int) -> float:
    """95th percentile of the time to first token [ms]."""
    return results[top_k, replicas]["ttft_ms_p95"]


def load(top_k: int, replicas: int) -> float:
    """Offered requests/s over the rate that the replicas can carry at most."""
    return results[top_k, replicas]["capacity_load"]


def cost_usd(top_k: int, replicas: int) -> float:
    """Per thousand completed requests [USD]."""
    return results[top_k, replicas]["cost_usd_per_thousand_requests"]


def table(title: str, cell) -> None:
    """Prints a row per top_k and a column per number of replicas."""
    print(f"\n{title}\n{'top_k':>7}" + "".join(f"{f'x{replicas}':>12}" for replicas in REPLICAS))
    for top_k in TOP_K:
        print(f"{top_k:>7}" + "".join(f"{cell(top_k, replicas):>12}" for replicas in REPLICAS))


table("TTFT p95 [ms]", lambda *at: f"{ttft_ms(*at):,.0f}" + ("" if ttft_ms(*at) <= TARGET_MS else " !"))
table("load (offered / knee)", lambda *at: f"{load(*at):.0%}")
table("cost [USD / 1,000 requests]", lambda *at: f"{cost_usd(*at):.3f}")

# %% [markdown]
# ## What a chunk is
#
# The prompt grows by exactly one chunk per step, and by nothing else: same requests, same answers.

# %%
for (top_k, replicas), result in results.items():
    first = results[TOP_K[0], replicas]
    requests = result["requests_total"]
    assert requests == first["requests_total"]
    assert result["input_tokens_by_source_retrieved"] == CHUNK * top_k * requests
    assert result["input_tokens"] - first["input_tokens"] == CHUNK * (top_k - TOP_K[0]) * requests
    assert result["output_tokens"] == first["output_tokens"]

# %% [markdown]
# ## Load says how far it is to the knee
#
# Load rises with every chunk and falls as one over the replicas. Latency follows it: slowly at first, then all at once.

# %%
for replicas in REPLICAS:
    for fewer, more in pairwise(TOP_K):
        assert load(fewer, replicas) < load(more, replicas)
        # A reported percentile is right to 0.8 %.
        assert ttft_ms(fewer, replicas) <= ttft_ms(more, replicas) * 1.016
for top_k in TOP_K:
    for fewer, more in pairwise(REPLICAS):
        assert abs(load(top_k, fewer) * fewer / (load(top_k, more) * more) - 1) < 0.02
        assert ttft_ms(top_k, more) <= ttft_ms(top_k, fewer) * 1.016

# %% [markdown]
# ## The knee
#
# For each number of replicas, the largest `top_k` that meets the target.


# %%
def knee(replicas: int) -> int | None:
    """The largest top_k of the sweep up to which every one meets the target; None if the first does not."""
    best = None
    for top_k in TOP_K:
        if ttft_ms(top_k, replicas) > TARGET_MS:
            break
        best = top_k
    return best


knees = {replicas: knee(replicas) for replicas in REPLICAS}
print(f"\nlargest top_k with TTFT p95 <= {TARGET_MS:.0f} ms")
for replicas, top_k in knees.items():
    if top_k is None:
        print(f"  x{replicas}: none of {TOP_K[0]} to {TOP_K[-1]}: load {load(TOP_K[0], replicas):.0%} at the first")
    else:
        last = " (the end of the sweep)" if top_k == TOP_K[-1] else ""
        at = f"load {load(top_k, replicas):.0%}, TTFT p95 {ttft_ms(top_k, replicas):,.0f} ms"
        print(f"  x{replicas}: {top_k}{last}: {at}, {cost_usd(top_k, replicas):.3f} USD / 1,000 requests")

# %%
for replicas, top_k in knees.items():
    # The load, which needs no simulation, and the latency, which does, tell one story: nothing overloaded meets the target.
    assert top_k is None or load(top_k, replicas) < 1
    if top_k is not None and top_k < TOP_K[-1]:
        assert ttft_ms(top_k, replicas) <= TARGET_MS < ttft_ms(top_k + 1, replicas)
        assert results[top_k + 1, replicas]["slo_met"] is False
found = [top_k or 0 for top_k in knees.values()]
assert found == sorted(found) and found[0] < found[-1], "more replicas carry more chunks"
assert any(TOP_K[0] <= top_k < TOP_K[-1] for top_k in found), "the sweep is wide enough to show a knee"

# %% [markdown]
# ## What it costs
#
# Below the knee the bill does not see `top_k` at all: the GPUs are paid by the hour. What more chunks use up is headroom, until they
# take another replica.

# %%
cheapest = {top_k: next((r for r in REPLICAS if ttft_ms(top_k, r) <= TARGET_MS), None) for top_k in TOP_K}
print("\nfewest replicas that meet the target")
for top_k, replicas in cheapest.items():
    print(f"  top_k {top_k:>2}: " + (f"x{replicas}, {cost_usd(top_k, replicas):.3f} USD / 1,000 requests" if replicas else "none"))

# %%
most = REPLICAS[-1]
for top_k in TOP_K:
    if load(top_k, most) < 0.8:
        assert abs(cost_usd(top_k, most) / cost_usd(TOP_K[0], most) - 1) < 0.05
needed = [replicas or most + 1 for replicas in cheapest.values()]
assert needed == sorted(needed)

# %% [markdown]
# ## How sure is the knee?
#
# One seed is one afternoon. Eight of them give a 95 % confidence interval for the step at which the target is missed.

# %%
shown = next(replicas for replicas, top_k in knees.items() if top_k is not None and top_k < TOP_K[-1])
for top_k in (knees[shown], knees[shown] + 1):
    change = {"class.rag.prompt.retrieved.top_k": top_k, "cluster.replicas": shown}
    report = tt.simulate(base.with_(change), replications=8).to_dict()
    mean, half = report["summary"]["ttft_ms"]["p95"], report["ci95"]["summary.ttft_ms.p95"]
    print(f"top_k {top_k:>2}, x{shown}: TTFT p95 {mean:,.0f} ± {half:,.0f} ms over {len(report['fingerprint']['seeds'])} seeds")
    assert len(report["fingerprint"]["seeds"]) == 8 and half > 0
