"""Description of the machine and the software, for every result file."""

import datetime
import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

_CHECKOUT = Path(__file__).parents[1]
_PACKAGES = (
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "opencv-python-headless",
    "nvidia-pytriton",
    "tritonclient",
)


def describe() -> dict[str, Any]:
    """Return commit, date, processor, cores, GPUs, current load of the machine, and versions of packages."""
    return {
        "commit": _git("rev-parse", "--short", "HEAD") + ("+changes" if _git("status", "--porcelain") else ""),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpus": _gpus(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": {each.name: each.version for each in importlib.metadata.distributions() if each.name in _PACKAGES},
    }


def _gpus() -> list[str]:
    """Return name and driver of each GPU; empty without nvidia-smi."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")[:-1]


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=_CHECKOUT, capture_output=True, text=True, check=False
    ).stdout.strip()


def _processor() -> str:
    """Return the processor's name and the vector instructions on which the speed of networks depends."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    known = {*facts.get("flags", "").split()}
    flags = [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if flag in known]
    return f"{facts.get('model name', platform.processor())} ({', '.join(flags) or 'no AVX-512'})"
