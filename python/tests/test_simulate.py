"""Running scenarios: the same figures always, and Python goes on meanwhile."""

from __future__ import annotations

import _thread
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

import tokentide as tt


def test_the_same_run_is_the_same_json(small: tt.Scenario) -> None:
    first, second = (tt.simulate(small).to_json() for _ in range(2))
    assert first == second


def test_threads_change_nothing(small: tt.Scenario) -> None:
    texts = {tt.simulate(small, replications=5, threads=threads).to_json() for threads in (1, 2, 4, None)}
    assert len(texts) == 1
    report = json.loads(texts.pop())
    assert report["fingerprint"]["seeds"] == [42, 43, 44, 45, 46]
    assert report["ci95"]["summary.ttft_ms.p95"] > 0


def test_a_seed_given_is_a_seed_typed(small: tt.Scenario) -> None:
    given, typed = tt.simulate(small, seed=7), tt.simulate(small.with_({"seed": 7}))
    assert given.to_json() == typed.to_json() != tt.simulate(small).to_json()
    assert tt.simulate(small, seed=2**64 - 1).to_dict()["fingerprint"]["seeds"] == [2**64 - 1]


def test_concurrent_runs_do_not_mix(small: tt.Scenario) -> None:
    alone = [tt.simulate(small, seed=seed).to_json() for seed in range(4)]
    together = [""] * 4

    def run(seed: int) -> None:
        together[seed] = tt.simulate(small, seed=seed).to_json()

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"replications": 0}, ValueError),
        ({"threads": 0}, ValueError),
        ({"seed": -1}, OverflowError),
        ({"seed": 2**64}, OverflowError),
        ({"replications": 2**32}, OverflowError),
        ({"seed": "1"}, TypeError),
    ],
)
def test_wrong_options_are_refused(small: tt.Scenario, options: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        tt.simulate(small, **options)


def test_python_goes_on_while_it_runs(small: tt.Scenario) -> None:
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(0.001):
            ticks.append(time.perf_counter())

    ticker = threading.Thread(target=tick)
    long = small.with_({"duration": "6h"})
    ticker.start()
    start = time.perf_counter()
    tt.simulate(long)
    end = time.perf_counter()
    stop.set()
    ticker.join()
    # A call that held the GIL would leave none between its first and its last tenth, however long it took.
    margin = (end - start) / 10
    within = [t for t in ticks if start + margin < t < end - margin]
    assert end - start > 0.1, "long enough to tell"
    assert len(within) >= 20


def test_ctrl_c_ends_a_run(small: tt.Scenario) -> None:
    long = small.with_({"duration": "2000h"})  # 43 million requests: many times the limit below
    # A job in the background is started with the signal ignored, and Python then installs no handler.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        tt.simulate(long)
    assert time.perf_counter() - start < 10
    timer.join()
    assert tt.simulate(small).summary["requests"]["total"] > 0, "and the next one runs"


def test_the_command_line_prints_the_same_bytes(small: tt.Scenario, small_file: Path) -> None:
    binary = os.environ.get("TOKENTIDE_BIN")
    if not binary:
        pytest.skip("TOKENTIDE_BIN names no tokentide to compare with")
    command = [binary, "simulate", small_file, "--format", "json", "--replications", "3", "--set", "cluster.replicas=3"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result = tt.simulate(small.with_({"cluster.replicas": 3}), replications=3)
    assert result.to_json(pretty=True) + "\n" == printed
