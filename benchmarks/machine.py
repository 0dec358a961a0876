"""The facts of the machine that figures depend on, and its limits."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import devlxd

#: The memory of a simulated container, with a reserve, in KiB.
KIB_OF_CONTAINER = 1500

#: How many files the benchmarks and each server should be able to open: those of 10 000
#: connections, and two for each of their containers.
OPEN_FILES = 65536

#: Commands that print the version of a program, by its name.
_VERSIONS = {
    "LXD": ("lxd", "--version"),
    "nginx": ("nginx", "-v"),
    "h2load": ("h2load", "--version"),
    "LXC": ("lxc-start", "--version"),
}


def facts() -> Mapping[str, str]:
    """Return the facts, without anything that identifies the machine."""
    packages = ("Twisted", "autobahn", "attrs")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{_total_memory():.0f} GiB",
        "kernel": f"Linux {platform.release().partition('-')[0]}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "devlxd": f"{devlxd.__version__} with {', '.join(versions)}",
        **{name: _version(*command) for name, command in _VERSIONS.items()},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _total_memory() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _version(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return "not installed"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    words = (done.stdout or done.stderr).split()
    return words[-1].rpartition("/")[2] if words else "unknown"


def raise_limits() -> None:
    """Let this process and its children open as many files as the system permits."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (most, max(most, OPEN_FILES)):
        # Without CAP_SYS_RESOURCE, only the first is permitted.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))


def open_files() -> int:
    """Return how many files this process and its children may open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def most_containers() -> int:
    """Return how many simulated containers the free memory is enough for."""
    text = Path("/proc/meminfo").read_text().partition("MemAvailable:")[2]
    return int(text.split()[0]) // KIB_OF_CONTAINER


def python_of_containers() -> str:
    """Return a Python that is also in containers with the programs of the host."""
    return shutil.which("python3", path="/usr/bin:/bin") or sys.executable
