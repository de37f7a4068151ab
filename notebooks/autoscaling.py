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
# # Flat requests, growing tokens: which autoscaler sees it?
#
# Twelve requests a second, all hour long. From the tenth minute on, more and more of them carry twelve retrieved chunks: prompts grow four
# times as long, and a dashboard of requests stays flat. One autoscaler counts requests, one counts tokens; everything else is the same,
# to the single request.

# %%
from pathlib import Path

import tokentide as tt

here = Path(__file__).parent if "__file__" in globals() else Path()
base = tt.Scenario.load(here.joinpath("../scenarios/flat-requests.toml").resolve())
policies = {
    "requests": {"autoscaler.policy": "rps", "autoscaler.target": 4.5},
    "tokens": {"autoscaler.policy": "token-rate", "autoscaler.target": 15000},
}
results = {name: tt.simulate(base.with_(change)) for name, change in policies.items()}
for name, result in results.items():
    summary, fleet = result.summary, result.to_dict()["fleet"]
    print(
        f"{name:>9}: {fleet['ready_min']} to {fleet['ready_max']} replicas, {fleet['scale_ups']} scale-ups, TTFT p95 "
        f"{summary['ttft_ms']['p95']:,.0f} ms, targets missed for {fleet['slo_missed_s'] / 60:.0f} minutes, {fleet['usd']:.0f} USD"
    )

# %% [markdown]
# ## What each of them sees
#
# The same requests, the same tokens.

# %%
results["requests"].plot.throughput_timeline()

# %%
assert results["requests"].summary["requests"]["total"] == results["tokens"].summary["requests"]["total"]
for name in ("arrivals", "input_tokens"):
    # By bin they differ: the run of the drowned pool lasts longer, and so do its bins.
    assert sum(results["requests"].timeline[name]) == sum(results["tokens"].timeline[name])
timeline = results["tokens"].timeline
quarter = len(timeline) // 4
requests, tokens = timeline["arrivals"], timeline["input_tokens"]
early, late = slice(0, quarter), slice(-quarter, None)
growth = sum(tokens[late]) / sum(tokens[early])
print(
    f"requests of the last quarter over those of the first: {sum(requests[late]) / sum(requests[early]):.2f}, tokens: {growth:.2f}"
)
assert abs(sum(requests[late]) / sum(requests[early]) - 1) < 0.1 and growth > 2

# %% [markdown]
# ## What each of them does

# %%
results["requests"].plot.replicas_timeline()

# %%
results["tokens"].plot.replicas_timeline()

# %%
results["requests"].plot.requests_timeline()

# %%
results["tokens"].plot.requests_timeline()

# %% [markdown]
# Counting requests, nothing happens until the pool drowns and answers come back more slowly than requests go in; counting tokens, replicas
# come while the mix shifts.

# %%
by_requests, by_tokens = (results[name].to_dict()["fleet"] for name in ("requests", "tokens"))
assert by_tokens["ready_max"] > by_requests["ready_max"]
assert by_tokens["slo_missed_s"] < by_requests["slo_missed_s"] / 2
assert results["tokens"].summary["ttft_ms"]["p95"] < results["requests"].summary["ttft_ms"]["p95"] / 5

# %% [markdown]
# ## Is it the policy, or its threshold?
#
# Another threshold makes a request-based policy hold, and at no higher cost: so many requests per replica *of this mix* can be carried.
# The threshold is the mix, written as a number. So change the mix once more and leave the thresholds as they are: `top_k` from 8 to 24.

# %%
TOP_K = "class.after.prompt.retrieved.top_k"
tuned = {
    "requests, tuned": {"autoscaler.policy": "rps", "autoscaler.target": 3.5},
    "tokens": {"autoscaler.policy": "token-rate", "autoscaler.target": 15000},
}
missed = {}
for name, change in tuned.items():
    study = tt.sweep(base.with_(change), {TOP_K: [8, 12, 16, 20, 24]}, seeds="common")
    for row in map(study.frame.row, range(len(study))):
        missed[name, row[TOP_K]] = row["fleet_slo_missed_s"]
        print(
            f"{name:>16}, top_k {row[TOP_K]:>2}: {row['fleet_usd']:5.1f} USD, targets missed for {row['fleet_slo_missed_s'] / 60:4.1f} min"
        )

# %%
assert missed["requests, tuned", 12] < 60, "tuned to this mix, it holds"
assert missed["requests, tuned", 24] > 600, "and not to another one"
assert all(missed["tokens", top_k] < missed["requests, tuned", top_k] + 60 for top_k in (8, 12, 16, 20, 24))
