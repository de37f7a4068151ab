"""A report as a small table, for notebooks."""

from __future__ import annotations

from html import escape
from typing import Any

#: Label and field of the latencies, in the order of a request's life.
LATENCIES = (("queue", "queue_ms"), ("TTFT", "ttft_ms"), ("TPOT", "tpot_ms"), ("end to end", "e2e_ms"))
#: Percentiles shown.
QUANTILES = ("p50", "p95", "p99")


def table(report: dict[str, Any]) -> str:
    """HTML of a report: load first, since near the knee latency says little without it, then latencies, service levels and cost."""
    summary, model = report["summary"], report["model"]
    capacity, cost = summary["capacity"], summary["cost"]
    gpus = f"{model['replicas']} × {model['gpu']} {model['layout']}"
    rows = [
        _row(escape(capacity["state"]), f"load {capacity['load']:.0%}", f"headroom {capacity['headroom']:.0%}", ""),
        _row("", *QUANTILES, tag="th"),
        *(_row(f"{name} [ms]", *(_number(summary[field][q]) for q in QUANTILES)) for name, field in LATENCIES),
        _row("cost [USD]", f"{cost['usd_per_hour']:.2f} / h", f"{_number(cost['usd_per_thousand_requests'])} / 1k requests", ""),
        *(_target(target) for target in summary["slo"]["targets"]),
    ]
    title = f"{report['scenario']}: {summary['requests']['total']:,} requests, {model['name']} on {gpus}"
    notes = "".join(f"<li>{escape(note)}</li>" for note in (*_doubts(model), *report["notes"]))
    details = f"<details><summary>notes</summary><ul>{notes}</ul></details>" if notes else ""
    return f"<table><caption>{escape(title)}</caption>{''.join(rows)}</table>{details}"


def _doubts(model: dict[str, Any]) -> list[str]:
    """What makes the times themselves doubtful: the report says so in fields of their own."""
    formula = [] if model["calibrated"] else [f"uncalibrated: times are estimates ({model['kind']}: {model['source']})"]
    return [*formula, *(f"outside the profile's measured range: {what}" for what in model["out_of_range"])]


def _row(name: str, *cells: str, tag: str = "td") -> str:
    return f"<tr><th>{name}</th>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"


def _target(target: dict[str, Any]) -> str:
    verdict = "met" if target["met"] else "missed"
    name = escape(f"{target['class']} {target['target']}")
    return _row(name, f"{_number(target['value_ms'])} of {_number(target['limit_ms'])} ms", verdict, "")


def _number(value: float | None) -> str:
    """Three significant digits; a dash where nothing was observed."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
