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
# # How many replicas, of which GPU, and what is the next dollar worth?
#
# A plan answers the first question and proves the answer from both sides: so many replicas meet every target, one fewer does not. A sweep
# over the same options shows what lies around the answer, and which points no other one beats in both cost and latency.

# %%
import tokentide as tt

base = tt.Scenario.from_dict(
    {
        "name": "assistant",
        "duration": "5m",
        "warmup": "30s",
        "model": {"name": "llama-3.1-8b"},
        "gpu": {"name": "h100-sxm"},
        "cluster": {"router": "least-tokens"},
        "class": [
            {
                "name": "rag",
                "arrivals": {"process": "gamma", "rate": 12.0, "cv": 1.5},
                "slo": {"ttft_p95": "800ms", "tpot_p95": "60ms"},
                "prompt": {"system": 700, "retrieved": {"top_k": 6, "chunk": 500}, "user": {"median": 25, "p95": 120}},
                "output": {"max_tokens": 1024, "tokens": {"median": 220, "p95": 900}},
            }
        ],
    }
)
GPUS = ["h100-sxm", "h200-sxm", "l40s"]

# %% [markdown]
# ## The answer
#
# `verdict` says how it stands: *holds*; *fragile* if a server that is slower by the model's error needs more; *uncertain* if chance could
# decide. The cheapest comes first.

# %%
plan = tt.plan(base, options={"gpu.name": GPUS})
plan

# %%
for option in map(plan.options.row, range(len(plan.options))):
    needs = "no answer" if option["replicas"] is None else f"{option['replicas']} replicas, {option['usd_per_hour']:.2f} USD/h"
    print(f"{option['option']:>10}: {needs}, {option['verdict']}, load {option['load'] or 0:.0%}")

# %%
answered = [row for row in map(plan.options.row, range(len(plan.options))) if row["replicas"] is not None]
assert answered and plan.replicas == answered[0]["replicas"]
assert [row["usd_per_hour"] for row in answered] == sorted(row["usd_per_hour"] for row in answered), "the cheapest first"
for row in answered:
    # The load, which needs no simulation, agrees: what meets its targets is below the knee.
    assert row["load"] < 1

# %% [markdown]
# ## What lies around it
#
# Each option with one to eight replicas, three runs each. Overloaded points are crossed out: their latency grows with the length of the run.

# %%
study = tt.sweep(base, {"gpu.name": GPUS, "cluster.replicas": range(1, 9)}, replications=3, seeds="common")
study.plot.line("replicas", colour="gpu.name")

# %%
study.plot.pareto("cost_usd_per_hour", "ttft_ms_p95")

# %%
front = study.pareto("cost_usd_per_hour", "ttft_ms_p95")
for point in map(front.row, range(len(front))):
    print(
        f"{point['cost_usd_per_hour']:6.2f} USD/h  TTFT p95 {point['ttft_ms_p95']:6.0f} ms  {point['cluster.replicas']} x {point['gpu.name']}"
    )

# %%
costs, latencies = front["cost_usd_per_hour"], front["ttft_ms_p95"]
assert costs == sorted(costs) and latencies == sorted(latencies, reverse=True), (
    "more money buys less latency, or is not on the front"
)
# The plan's answer meets its targets in the sweep, too, and one replica fewer of the same GPU does not.
means = study.means("slo_attainment", "ttft_ms_p95")
rows = {(row["gpu.name"], row["cluster.replicas"]): row for row in map(means.row, range(len(means)))}
for row in answered:
    gpu, replicas = row["option"], row["replicas"]
    if 1 < replicas <= 8:
        fewer, enough = rows[gpu, replicas - 1], rows[gpu, replicas]
        assert fewer["overloaded"] or fewer["slo_attainment"] < enough["slo_attainment"]
