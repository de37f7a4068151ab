#!/usr/bin/env python3
"""A real vLLM on the CPU with a tiny model of random weights, to calibrate against.

Installs vLLM once, starts it, waits until it answers, and prints `ready URL CORES` on stdout: CORES are those that its model does not
compute on, and where clients belong. It serves until stdin ends (with --with-parent), or until interrupted, and leaves no process
behind. server.toml says to tokentide what server this is.

Exit codes: 0 it served; 1 it broke; 3 this machine cannot have it.
"""

import argparse
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import vllm_cpu

HERE = Path(__file__).resolve().parent
START_S = 300
STOP_S = 20


def say(text):
    print(f"serve: {text}", file=sys.stderr, flush=True)


def write_model(into):
    """The model without its weights, which vLLM makes up: its shape, and a tokenizer of one word per token id."""
    into.mkdir()
    shutil.copy(HERE / "model/config.json", into)
    size = json.loads((HERE / "model/config.json").read_text())["vocab_size"]
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    words = special + [f"w{i}" for i in range(len(special), size)]
    # Without a decoder words are joined by spaces, so that text and ids are the same thing in both directions.
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {word: i for i, word in enumerate(words)}, "unk_token": "<unk>"},
    }
    (into / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    settings |= {"pad_token": "<pad>", "clean_up_tokenization_spaces": False}
    (into / "tokenizer_config.json").write_text(json.dumps(settings))


def command(venv, run, port):
    """The server's command line. server.toml says the same to tokentide; the test holds them together."""
    profiler = {"profiler": "torch", "torch_profiler_dir": str(run / "traces"), "ignore_frontend": True}
    profiler |= {"torch_profiler_record_shapes": True, "torch_profiler_with_stack": False}
    flags = {
        "served-model-name": "tiny-llama",
        "host": "127.0.0.1",
        "port": port,
        "load-format": "dummy",
        "dtype": "bfloat16",
        "max-model-len": 4096,
        "max-num-seqs": 32,
        "max-num-batched-tokens": 512,
        "block-size": 32,
        "num-gpu-blocks-override": 4096,
        "profiler-config": json.dumps(profiler),
    }
    options = [text for flag, value in flags.items() for text in (f"--{flag}", str(value))]
    switches = ["--enforce-eager", "--enable-prefix-caching", "--disable-uvicorn-access-log"]
    return [str(venv / "bin/vllm"), "serve", str(run / "model"), *switches, *options]


def environment(run, worker_core):
    """Offline, one thread for the model, all temporary files in one folder."""
    new = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": str(worker_core),
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(run / "tmp"),
        "VLLM_RPC_BASE_PATH": str(run / "tmp"),
    }
    return os.environ | new


def members(session):
    """The processes of a session, whoever their parents are by now; none that has ended."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold anything; behind it come state, parent, group and session.
            state, _, _, its_session = status.read_text().rpartition(")")[2].split()[:4]
            # A process reads as a zombie as soon as its first thread has ended, whatever the others do.
            ended = state == "Z" and len(os.listdir(status.parent / "task")) <= 1
            if int(its_session) == session and not ended:
                found.append(int(status.parent.name))
    return found


def pin(session, worker_core, other_cores):
    """The model's worker alone on its core, the rest of the server on the others: the engine spins while it waits."""
    for process in members(session):
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
            cores = {worker_core} if "Worker" in name else other_cores
            for thread in os.listdir(f"/proc/{process}/task"):
                os.sched_setaffinity(int(thread), cores)


def answers(url):
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def wait_until_ready(server, url, log, asked):
    end = time.monotonic() + START_S
    while not answers(url):
        if asked:
            return False
        if server.poll() is not None or time.monotonic() > end:
            how = "did not answer" if server.poll() is None else f"ended with {server.returncode}"
            last = "\n  ".join(log.read_text(errors="replace").splitlines()[-25:])
            raise RuntimeError(f"the server {how}; the end of its log:\n  {last}")
        time.sleep(0.5)
    return True


def wait_for_the_end(server, with_parent, asked):
    while not asked:
        if server.poll() is not None:
            raise RuntimeError(f"the server ended by itself with {server.returncode}")
        if not with_parent:
            time.sleep(0.2)
        elif select.select([sys.stdin], [], [], 0.2)[0] and not os.read(sys.stdin.fileno(), 4096):
            return


def stop(server):
    """Asks, then insists; afterwards nothing of the server is left."""
    for sent, wait_s in ((signal.SIGINT, STOP_S), (signal.SIGTERM, STOP_S), (signal.SIGKILL, STOP_S)):
        for process in members(server.pid) if sent == signal.SIGKILL else [server.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, sent)
        end = time.monotonic() + wait_s
        while time.monotonic() < end:
            if server.poll() is not None and not members(server.pid):
                return
            time.sleep(0.1)
    raise RuntimeError(f"processes of the server are left: {members(server.pid)}")


def free_port(wanted):
    """A port that nobody listens on: the one wanted, or, for 0, any."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", wanted))
        except OSError as why:
            raise RuntimeError(f"port {wanted} cannot be had ({why.strerror}): give another --port") from why
        return trial.getsockname()[1]


def serve(arguments):
    venv = vllm_cpu.ensure(say)
    if arguments.install_only:
        return
    cores = sorted(os.sched_getaffinity(0))
    port = free_port(arguments.port)
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="tokentide-live-") as temporary:
        run = Path(arguments.keep).absolute() if arguments.keep else Path(temporary)
        (run / "tmp").mkdir(parents=True)
        write_model(run / "model")
        log = run / "server.log"
        # Signals are noted and not raised: nothing may come between the server and its end.
        asked = []
        for end in (signal.SIGINT, signal.SIGTERM):
            signal.signal(end, lambda number, _: asked.append(number))
        with log.open("wb") as out:
            started = time.monotonic()
            # A session of its own: Ctrl-C at a terminal reaches this program alone, which then stops the server in order.
            server = subprocess.Popen(
                command(venv, run, port), env=environment(run, cores[0]), stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
            )
        try:
            if wait_until_ready(server, url, log, asked):
                # With one core they share it.
                others = cores[1:] or cores
                pin(server.pid, cores[0], set(others))
                say(f"vLLM {vllm_cpu.VERSION} answers after {time.monotonic() - started:.0f} s, its log is {log}")
                print(f"ready {url} {','.join(map(str, others))}", flush=True)
                wait_for_the_end(server, arguments.with_parent, asked)
        finally:
            stop(server)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="where to listen; a free one by default")
    parser.add_argument("--keep", metavar="DIR", help="keep the model, the log and the profiler's traces in this new folder")
    parser.add_argument("--with-parent", action="store_true", help="stop when stdin ends")
    parser.add_argument("--install-only", action="store_true", help="install and end")
    try:
        serve(parser.parse_args())
    except vllm_cpu.Unavailable as why:
        say(why)
        sys.exit(3)
    except RuntimeError as why:
        say(why)
        sys.exit(1)


if __name__ == "__main__":
    main()
