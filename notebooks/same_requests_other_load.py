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
# # The same number of requests, another load
#
# Two windows of a service, a thousand requests each, at the same rate: a dashboard of requests shows one flat line. Then the same with
# requests that people really sent: chat and code completion of Azure's traces of 2023.

# %%
from pathlib import Path

import tokentide as tt

here = Path(__file__).parent if "__file__" in globals() else Path()
scenarios = here.joinpath("../scenarios").resolve()
window_a, window_b = (tt.Scenario.load(scenarios / f"window-{which}.toml") for which in "ab")
a, b = tt.simulate(window_a), tt.simulate(window_b)


def tokens(result: tt.Result) -> int:
    """Input and output tokens of all requests."""
    return result.summary["input_tokens"] + result.summary["output_tokens"]


for name, result in (("A", a), ("B", b)):
    summary = result.summary
    print(
        f"window {name}: {summary['requests']['total']:,} requests, {tokens(result):,} tokens, {summary['capacity']['state']}, "
        f"load {summary['capacity']['load']:.0%}"
    )
assert a.summary["requests"]["total"] == b.summary["requests"]["total"] == 1000
assert (tokens(a), tokens(b)) == (650_000, 9_000_000)

# %%
compared = tt.diff(window_a, window_b)
compared

# %% [markdown]
# ## How many replicas does either take?

# %%
SLO = {"ttft_p95": "2s", "tpot_p95": "80ms"}
plans = {name: tt.plan(scenario, SLO) for name, scenario in (("A", window_a), ("B", window_b))}
for name, plan in plans.items():
    print(f"window {name}: {plan}")
assert plans["B"].replicas > plans["A"].replicas

# %% [markdown]
# ## Requests that people sent
#
# The first 3,000 requests of chat and of code completion (Azure LLM inference traces 2023, CC-BY 4.0, to be had at
# github.com/Azure/AzurePublicDataset). Both arrive as they did; only the lengths tell them apart.

# %%
traces = here.joinpath("../../shared/data/traces").resolve()
files = {"chat": traces / "azure2023_conv.csv.gz", "code": traces / "azure2023_code.csv.gz"}
REQUESTS = 3000


def replay(path: Path) -> tt.Scenario:
    """The first requests of a trace on one replica."""
    return tt.Scenario.from_dict(
        {
            "name": path.stem.split(".")[0],
            "requests": REQUESTS,
            "model": {"name": "llama-3.1-8b"},
            "gpu": {"name": "h100-sxm"},
            "trace": {"path": str(path)},
            "class": [{"name": "all", "slo": {"ttft_p95": "2s"}}],
        }
    )


replayed = {name: tt.simulate(replay(path), records=True) for name, path in files.items() if path.exists()}
if not replayed:
    print("skipped: the traces are not at hand")
for name, result in replayed.items():
    length = result.summary["input_length"]
    print(
        f"{name}: {result.summary['requests']['total']:,} requests, {tokens(result):,} tokens, prompts p50 {length['p50']:,.0f}, "
        f"p95 {length['p95']:,.0f}, load {result.summary['capacity']['load']:.0%}"
    )

# %%
replayed["chat"].plot.ttft_cdf(by="input_bucket") if replayed else None

# %%
replayed["code"].plot.ttft_cdf(by="input_bucket") if replayed else None

# %%
for name, result in replayed.items():
    requests = result.requests
    assert len(requests) == REQUESTS == result.summary["requests"]["total"]
    assert sum(requests["input_tokens"]) == result.summary["input_tokens"]
if replayed:
    chat, code = (replayed[name].summary for name in ("chat", "code"))
    per_request = [summary["input_tokens"] / summary["output_tokens"] for summary in (chat, code)]
    print(f"input tokens for each output token: chat {per_request[0]:.1f}, code {per_request[1]:.1f}")
    assert per_request[1] > 10 * per_request[0], "one waits for prefill, the other for decode, and a request is a request"
