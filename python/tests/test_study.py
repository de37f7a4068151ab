"""Plans and comparisons: what the command line says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import tokentide as tt

TOP_K = "class.rag.prompt.retrieved.top_k"


def printed(*arguments: str | Path) -> str:
    binary = os.environ.get("TOKENTIDE_BIN")
    if not binary:
        pytest.skip("TOKENTIDE_BIN names no tokentide to compare with")
    run = subprocess.run([binary, *arguments, "--format", "json"], capture_output=True, text=True)
    assert run.returncode in (0, 1), run.stderr
    return run.stdout


def test_a_plan_is_that_of_the_command_line(small_file: Path) -> None:
    plan = tt.plan(
        tt.Scenario.load(small_file), {"ttft_p95": "600ms"}, {"gpu.name": ["h100-sxm", "l40s"], "gpu.tensor_parallel": [1, 2]}
    )
    assert plan.to_json(pretty=True) + "\n" == printed(
        "plan", small_file, "--slo", "ttft_p95=600ms", "--gpu", "h100-sxm,l40s", "--tp", "1,2"
    )


def test_a_plan_has_an_answer(small: tt.Scenario) -> None:
    plan = tt.plan(small, {"ttft.p95": 600}, {"gpu.name": ["h100-sxm", "l40s"]})
    assert plan.replicas == plan.options["replicas"][0] == plan.best["replicas"] >= 1
    prices = [price for price in plan.options["usd_per_hour"] if price is not None]
    assert len(plan.options) == 2 and prices == sorted(prices)
    assert plan.verdict in ("holds", "fragile", "uncertain") and repr(plan).startswith("Plan('small': ")
    assert plan._repr_html_().startswith("<table><caption>small: ")
    assert plan.to_json() == tt.plan(small, {"ttft_p95": "600ms"}, {"gpu.name": ["h100-sxm", "l40s"]}, threads=1).to_json()


def test_a_plan_without_an_answer_says_why(small: tt.Scenario) -> None:
    plan = tt.plan(small, {"ttft_p95": "1ms"}, max_replicas=4)
    assert plan.best is None and plan.replicas is None and "no answer" in repr(plan)


def test_a_difference_is_that_of_the_command_line(small_file: Path) -> None:
    base = tt.Scenario.load(small_file)
    compared = tt.diff(base, base.with_({TOP_K: 12}))
    assert compared.to_json(pretty=True) + "\n" == printed("diff", small_file, "--set", f"{TOP_K}=12")
    assert compared.changed and "retrieved" in compared.headline and len(compared.rows) > 5
    grown = dict(zip(compared.sources["source"], zip(compared.sources["base"], compared.sources["head"])))
    assert grown["retrieved"][1] == pytest.approx(3 * grown["retrieved"][0])
    assert "<p>Input tokens" in compared._repr_html_()


def test_nothing_changed_is_no_change(small: tt.Scenario) -> None:
    assert not tt.diff(small, small, replications=2).changed


def test_a_check_is_that_of_the_command_line(small_file: Path, tmp_path: Path) -> None:
    budget = "input_tokens.p95 <= +10%"
    (tmp_path / "tokentide.toml").write_text(f'[[check]]\nassert = "{budget}"\n')
    base = tt.Scenario.load(small_file)
    checked = tt.check(base, base.with_({TOP_K: 12}), [budget])
    theirs = printed("check", small_file, "--set", f"{TOP_K}=12")
    # But for where the budget stands.
    assert checked.to_json(pretty=True) + "\n" == theirs.replace(str(tmp_path / "tokentide.toml"), "budgets")


def test_budgets_are_kept_or_broken(small: tt.Scenario) -> None:
    more = small.with_({TOP_K: 12})
    broken = tt.check(small, more, ["input_tokens.p95 <= +10%", {"id": "queue", "assert": "queue.p95 <= 600s"}])
    assert not broken and not broken.passed and broken.verdicts == {"fail": 1, "pass": 1}
    assert broken.checks["id"][1] == "queue" and broken.checks["verdict"] == ["fail", "pass"]
    kept = tt.check(small, small, ["input_tokens.p95 <= +10%"], replications=2)
    assert kept and kept.strictly_passed
    alone = tt.check(None, more, ["input_tokens.p95 <= +10%", "input_tokens.p95 <= 100000"], replications=2)
    assert alone.verdicts == {"pass": 1, "skipped": 1}
    own = tt.Scenario.parse(small.text + '\n[[check]]\nassert = "ttft.p95 <= 1us"\n')
    assert not tt.check(None, own), "the scenario's own"


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda s: tt.plan(s, {"ttft": "1s"}), ValueError, "such as ttft_p95=800ms"),
        (lambda s: tt.plan(s.with_({"class.rag.slo": {}})), ValueError, "no class has a target"),
        (lambda s: tt.plan(s, options={"gpu.nmae": ["l4"]}), tt.ScenarioError, "did you mean `name`"),
        (lambda s: tt.plan(s, options={"model.name": ["llama-3.1-70b"]}), tt.ScenarioError, "."),
        (lambda s: tt.plan(s, options={"cluster.replicas": range(2000)}), ValueError, "more than 1000 combinations"),
        (lambda s: tt.plan(s, confidence=95), ValueError, "confidence"),
        (lambda s: tt.plan(s, options={"gpu.name": []}), ValueError, "no values"),
        (lambda s: tt.diff(s, s, replications=1), ValueError, "nothing of chance"),
        (lambda s: tt.check(s, s), ValueError, "nothing to check"),
        (lambda s: tt.check(s, s, ["ttft.p95 < fast"]), tt.ScenarioError, "budgets"),
        (lambda s: tt.check(s, s, [{"assert": "ttft.p95 <= 1s", "where": {"class": "absent"}}]), tt.ScenarioError, "absent"),
    ],
)
def test_wrong_questions_are_refused(small: tt.Scenario, call, error: type[Exception], says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=says):
        call(small)
