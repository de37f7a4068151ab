#!/usr/bin/env python3
"""drive.py OUT [SEED ...]: the scheduler and the engine loop of an installed vLLM 0.32, driven on a virtual clock without a model.

Settings and requests are drawn from a seed, vLLM's own `Scheduler` or `AsyncScheduler` decides, vLLM's own `EngineCore.step` or
`step_with_batch_queue` calls it, and an executor without a model returns tokens after a drawn time. Every decision is written to
OUT/NAME/ as requests.csv.gz, steps.csv.gz and scheduler_config.json: for each of RUNS, or for each given seed.

env: MODEL, the folder of any checkpoint (its config is read, no weights)
     FORCE, settings in JSON that are not left to chance; HASTY, the share of runs in which clients give up (both for given seeds)
"""
import csv
import gzip
import io
import json
import os
import queue
import random
import sys
from collections import deque
from concurrent.futures import Future
from contextlib import nullcontext

import torch
from vllm.config import CacheConfig, DeviceConfig, ModelConfig, ParallelConfig, SchedulerConfig, VllmConfig
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine import core
from vllm.v1.engine.core import EngineCore
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request
from vllm.v1.structured_output import StructuredOutputManager

STOP, MODEL = 1, os.environ.get("MODEL", "tiny-llama")
# name: seed, share of runs in which clients give up, settings that are not drawn
RUNS = {
    "async_fcfs": (1, 0, dict(policy="fcfs", async_scheduling=True, prefix_caching=True, chunked_prefill=True, reserve_full_isl=True)),
    "async_gate_off": (1, 0, dict(policy="fcfs", async_scheduling=True, prefix_caching=True, chunked_prefill=True, reserve_full_isl=False, long_prefill=8)),
    "async_priority": (5, 0, dict(policy="priority", async_scheduling=True, prefix_caching=True, chunked_prefill=True)),
    "async_gives_up": (1, 1, dict(async_scheduling=True, prefix_caching=True)),
    "sync_priority": (6, 0, dict(policy="priority", async_scheduling=False, prefix_caching=True, reserve_full_isl=False)),
    "sync_gives_up": (1, 1, dict(async_scheduling=False, prefix_caching=True)),
    "no_chunks": (5, 0, dict(chunked_prefill=False, max_num_batched_tokens=256, prefix_caching=True)),
    "no_caching": (5, 0, dict(prefix_caching=False, watermark=0.1)),
}
init_none_hash(sha256)
US = 10**6


class Clock:
    now = 0     # microseconds

    def __init__(self, deadlines, told):
        self.deadlines, self.told, self.again = deque(sorted(deadlines)), told, []

    def tell_aborts(self):
        """Clients that gave up: the engine's input thread has put them into the queue of aborts by now."""
        while self.deadlines and self.deadlines[0][0] <= self.now:
            self.told.put([str(self.deadlines.popleft()[1])])
            self.again.append(self.told.queue[-1])


class Executor:
    """Runs one step after the other; a step's result is there when its drawn time has passed."""

    def __init__(self, rng, requests, clock):
        self.rng, self.requests, self.clock, self.free_at, self.log, self.calls = rng, requests, clock, 0, [], deque()

    def execute_model(self, so, non_block=False):
        out = ModelRunnerOutput(req_ids=[], req_id_to_index={})
        f = Result(self.clock)
        if so.total_num_scheduled_tokens:
            start = max(self.clock.now, self.free_at)
            self.free_at = f.at = start + self.rng.randrange(200, 3000)
            self.log[-1]["exec_end"] = f.at
            out.req_ids = list(so.num_scheduled_tokens)
            out.req_id_to_index = {r: i for i, r in enumerate(out.req_ids)}
            out.sampled_token_ids = [self.sample(r) for r in self.log[-1]["reqs"]]
        f.set_result(out)
        self.future = f
        return f

    def sample(self, r):
        rid, computed, n, known = r
        if computed + n < known:
            return []
        q = self.requests[rid]
        q["sampled"] += 1
        return [STOP if q["stops"] and q["sampled"] == q["output"] else 10**7 + self.rng.randrange(10**9)]

    def sample_tokens(self, grammar, non_block=False):
        return self.future


class Result(Future):
    at = 0

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def result(self, timeout=None):
        self.clock.now = max(self.clock.now, self.at)
        self.clock.tell_aborts()
        return super().result(timeout)


def logged(base):
    class Logged(base):
        def schedule(self, *a, **k):
            before = [r.request_id for r in self.running]
            done = {r.request_id for r in self.running if r.num_output_placeholders and (
                r.num_computed_tokens + 2 - r.num_output_placeholders >= r.num_prompt_tokens + r.max_tokens
                or r.num_computed_tokens + 1 >= self.max_model_len)}
            out = super().schedule(*a, **k)
            now = {r.request_id for r in self.running}
            preempted = [r for r in before if r not in now]
            ran = [k for k, r in enumerate(before) if r in out.num_scheduled_tokens]
            # victims that wanted nothing, in front of a request that ran
            self.shifted += sum(r in done and k < max(ran, default=0) for k, r in enumerate(before) if r not in now)
            if not out.total_num_scheduled_tokens:
                self.empty += 1
                self.empty_preempting += bool(preempted)
                return out
            reqs = []
            for rid, n in out.num_scheduled_tokens.items():
                r = self.requests[rid]
                # counted before this step's own placeholder
                pending = r.num_output_placeholders - (self.is_async and not r.is_prefill_chunk)
                reqs.append((rid, r.num_computed_tokens - n, n, r.num_tokens + pending))
            self.log.append(dict(start=self.clock.now, reqs=reqs, running=len(self.running), waiting=len(self.waiting), preempted=preempted,
                                 free=self.kv_cache_manager.block_pool.get_num_free_blocks()))
            return out

        def update_from_output(self, so, mo):
            before = set(self.requests)
            r = super().update_from_output(so, mo)
            if so.total_num_scheduled_tokens:
                self.log[self.done].update(end=self.clock.now, finished=sorted(before - set(self.requests), key=int))
                self.done += 1
            return r
    return Logged


def draw(rng):
    bs = rng.choice([4, 8, 16])
    chunked = rng.random() < 0.85
    max_len = rng.choice([96, 160, 256])
    seqs = rng.choice([2, 4, 8, 16, 32])
    c = dict(block_size=bs, max_model_len=max_len, max_num_seqs=seqs, max_num_batched_tokens=rng.choice([32, 64, 128]) if chunked else 256,
             num_gpu_blocks=max_len // bs + 1 + rng.randrange(1, rng.choice([2, 8, 3 * max_len // bs])), policy=rng.choice(["fcfs", "fcfs", "priority"]),
             long_prefill=rng.choice([0, 0, 0, 8, 24]), reserve_full_isl=rng.random() < 0.6, watermark=rng.choice([0.0, 0.0, 0.02, 0.1]),
             prefix_caching=rng.random() < 0.8, async_scheduling=rng.random() < 0.6, chunked_prefill=chunked)
    c["max_num_batched_tokens"] = max(c["max_num_batched_tokens"], seqs)
    return c


def load(rng, c, n, hasty):
    groups = rng.choice([0, 3, 6])
    heads = [[10**12 * (g + 1) + i for i in range(rng.randrange(4, c["max_model_len"] // 2))] for g in range(groups)]
    gap = rng.choice([1, 300, 1500, 4000])
    t, out = 0, []
    for i in range(n):
        t += int(rng.expovariate(1 / gap)) + 1      # distinct: vLLM's victim among equals of (priority, arrival) is another than the largest id
        g = rng.randrange(groups) if groups and rng.random() < 0.8 else None
        head = heads[g] if g is not None else []
        p = min(len(head) + 1 + int(rng.expovariate(1 / 20)), c["max_model_len"] - 1)
        head = head[:p]
        output = 1 + int(rng.expovariate(1 / rng.choice([5, 30])))
        stops = rng.random() < 0.4
        out.append(dict(id=i, at=t, prompt=head + [10**15 + 10**6 * i + k for k in range(p - len(head))], group=g, prefix=len(head), output=output, stops=stops,
                        max_tokens=output + rng.randrange(1, 20) if stops else output, priority=rng.randrange(-1, 3) if c["policy"] == "priority" else 0, sampled=0,
                        deadline=t + rng.randrange(1, 400_000) if hasty and rng.random() < 0.3 else None))
    return out


def run(seed, folder, force, hasty, n):
    rng = random.Random(seed)
    c = draw(rng) | force
    reqs = load(rng, c, n, rng.random() < hasty)
    aborts = queue.Queue()
    clock = Clock([(r["deadline"], r["id"]) for r in reqs if r["deadline"]], aborts)
    model = ModelConfig(model=MODEL, dtype="bfloat16", seed=0, max_model_len=c["max_model_len"], skip_tokenizer_init=True)
    sched = SchedulerConfig(max_num_seqs=c["max_num_seqs"], max_num_batched_tokens=c["max_num_batched_tokens"], max_model_len=c["max_model_len"],
                            long_prefill_token_threshold=c["long_prefill"], enable_chunked_prefill=c["chunked_prefill"], async_scheduling=c["async_scheduling"],
                            is_encoder_decoder=False, policy=c["policy"], watermark=c["watermark"], scheduler_reserve_full_isl=c["reserve_full_isl"])
    cache = CacheConfig(block_size=c["block_size"], cache_dtype="auto", enable_prefix_caching=c["prefix_caching"])
    cfg = VllmConfig(model_config=model, scheduler_config=sched, cache_config=cache, parallel_config=ParallelConfig(), device_config=DeviceConfig("cpu"))
    # the platform may turn these off: what is recorded is what runs
    cfg.scheduler_config.async_scheduling = c["async_scheduling"]
    assert cfg.scheduler_config.enable_chunked_prefill == c["chunked_prefill"] and cfg.cache_config.enable_prefix_caching == c["prefix_caching"]
    assert cfg.cache_config.block_size == c["block_size"] and cfg.scheduler_config.max_num_batched_tokens == c["max_num_batched_tokens"]
    assert cfg.max_concurrent_batches == 1 + c["async_scheduling"]
    cache.num_gpu_blocks = c["num_gpu_blocks"]
    spec = FullAttentionSpec(block_size=c["block_size"], num_kv_heads=1, head_size=1, dtype=torch.float32)
    kv = KVCacheConfig(num_blocks=c["num_gpu_blocks"], kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)])
    s = logged(AsyncScheduler if c["async_scheduling"] else Scheduler).__new__(logged(AsyncScheduler if c["async_scheduling"] else Scheduler))
    s.log, s.done, s.empty, s.empty_preempting, s.shifted, s.clock, s.is_async = [], 0, 0, 0, 0, clock, c["async_scheduling"]
    s.__init__(cfg, kv, StructuredOutputManager(cfg), block_size=c["block_size"], log_stats=False)
    e = EngineCore.__new__(EngineCore)
    e.vllm_config, e.scheduler, e.aborts_queue, e.async_scheduling = cfg, s, aborts, c["async_scheduling"]
    e.batch_queue_size = cfg.max_concurrent_batches
    e.batch_queue = deque(maxlen=e.batch_queue_size) if e.batch_queue_size > 1 else None
    e.is_mm_encoder_only = e.is_pooling_model = e.check_for_draft_tokens = False
    e._should_throttle_prefills = lambda: False
    e.capture_iteration_details = e.log_error_detail = lambda so: nullcontext()
    e._attach_iteration_details = e._attach_weight_version = lambda *a: None
    by = {str(r["id"]): r for r in reqs}
    e.model_executor = Executor(rng, by, clock)
    e.model_executor.log = s.log
    hasher = get_request_block_hasher(c["block_size"], sha256) if c["prefix_caching"] else None
    todo = deque(reqs)

    def add(r):
        p = SamplingParams(max_tokens=r["max_tokens"], temperature=0.0, ignore_eos=True, stop_token_ids=[STOP])
        s.add_request(Request(str(r["id"]), list(r["prompt"]), p, None, arrival_time=r["at"] / US, priority=r["priority"], block_hasher=hasher))

    step, sleeps = (e.step if e.batch_queue is None else e.step_with_batch_queue), 0
    while True:
        if not (s.has_requests() or e.batch_queue):         # has_work(): blocks for the next message
            if not todo:
                break
            clock.now = max(clock.now, todo[0]["at"])
            add(todo.popleft())
        while todo and todo[0]["at"] <= clock.now:
            add(todo.popleft())
        clock.tell_aborts()
        for r in clock.again:           # aborts come by the input queue too, behind the request itself
            aborts.put(r)
        clock.again = []
        e._process_aborts_queue()
        _, executed = step()
        sleeps += not executed and s.has_requests()
    assert s.done == len(s.log) and not s.requests
    write(folder, c, reqs, s.log)
    pre = sum(len(x["preempted"]) for x in s.log)
    print(folder, c, f"steps {len(s.log)} preemptions {pre} shifted {s.shifted} empty {s.empty} empty preempting {s.empty_preempting} sleeps {sleeps}", flush=True)


def write(d, c, reqs, log):
    os.makedirs(d, exist_ok=True)
    json.dump(dict(c, clock="virtual"), open(f"{d}/scheduler_config.json", "w"), indent=1)
    sec = lambda us: f"{us // US}.{us % US:06d}"
    table(f"{d}/requests.csv.gz", ["id", "queue_order", "queued_s", "input_tokens", "output_tokens", "max_tokens", "priority", "prefix_group", "prefix_tokens", "deadline_s"],
          [[r["id"], k, sec(r["at"]), len(r["prompt"]), r["output"], r["max_tokens"], r["priority"], "" if r["group"] is None else r["group"], r["prefix"], sec(r["deadline"]) if r["deadline"] else ""]
           for k, r in enumerate(reqs)])
    table(f"{d}/steps.csv.gz", ["step", "sched_start_s", "exec_end_s", "running", "waiting", "free_blocks", "preempted", "finished", "batch"],
          [[k, sec(x["start"]), sec(x["exec_end"]), x["running"], x["waiting"], x["free"], " ".join(x["preempted"]), " ".join(x["finished"]),
            " ".join(f"{r[0]}:{r[1]}:{r[2]}" for r in x["reqs"])] for k, x in enumerate(log)])


def table(path, head, rows):
    buf = io.StringIO()
    w = csv.writer(buf, lineterminator="\n")
    w.writerows([head] + rows)
    with open(path, "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=0) as g:
        g.write(buf.getvalue().encode())


def main():
    folder, seeds = sys.argv[1], sys.argv[2:]
    for seed in map(int, seeds):
        run(seed, f"{folder}/{seed}", json.loads(os.environ.get("FORCE", "{}")), float(os.environ.get("HASTY", "0")), 120)
    if not seeds:
        for name, (seed, hasty, force) in RUNS.items():
            run(seed, f"{folder}/{name}", force, hasty, 70)


if __name__ == "__main__":
    main()
